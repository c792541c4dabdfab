"""CoLES by pytorch-lifestream, our nearest peer, in an environment of its own.

It brings pandas 3, which Feast does not take, so `benchmarks/peers/make_environment.sh` makes its
environment, and `benchmarks/peers/coles.py` runs there. USERBERT_PEERS names that folder.
"""

import os
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.commands import ROOT
from contracts.errors import MissingTable
from contracts.limits import MAX_VIEWS
from downstream.data.views import Views

_SCRIPT = ROOT / "benchmarks" / "peers" / "coles.py"
TRAINING_SECONDS = 180  # about what the preset `small` takes on two cores


class NoPeers(MissingTable):
    """The environment of the peers has not been made."""


def vectors(past: Views, as_of: date, folder: Path, seed: int) -> NDArray[Any]:
    """(N, 256): CoLES trained for three minutes on all views, embedding the newest 100."""
    python = _peer_python()
    given, out = folder / "coles-input.npz", folder / "coles-output.npy"
    np.savez(
        given,
        offsets=past.offsets,
        titles=past.titles,
        hosts=past.catalog.hosts[past.titles],
        times=past.times,
    )
    command = [
        str(python),
        str(_SCRIPT),
        str(given),
        str(out),
        str(TRAINING_SECONDS),
        str(MAX_VIEWS),
        str(seed),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise NoPeers(f"{_SCRIPT} failed with: {last}")
    made = np.load(out)
    given.unlink()
    out.unlink()
    return np.asarray(made)


def _peer_python() -> Path:
    named = os.environ.get("USERBERT_PEERS")
    python = Path(named or "peers-not-named") / "bin" / "python"
    if not named or not python.exists():
        raise NoPeers(
            "the rival coles was left out: make its environment with "
            "`benchmarks/peers/make_environment.sh FOLDER` and set USERBERT_PEERS=FOLDER"
        )
    return python
