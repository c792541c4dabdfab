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

from contracts.commands import PROJECT_ROOT
from contracts.errors import MissingTable
from contracts.limits import MAX_VIEWS
from downstream.data.views import Views

_SCRIPT = PROJECT_ROOT / "benchmarks" / "peers" / "coles.py"
_TRAINING_SECONDS = 180  # about what the preset `small` takes on two cores


class RivalLeftOut(MissingTable):
    """A rival cannot be judged here, or is another one by another name; the message says why."""


def newest_vectors(past: Views, as_of: date, folder: Path, seed: int) -> NDArray[Any]:
    """(N, 256): CoLES of each user's newest 100 views, as many as a sequence of the paper has."""
    return _vectors(past, folder, seed)[0]


def all_vectors(past: Views, as_of: date, folder: Path, seed: int) -> NDArray[Any]:
    """(N, 256): CoLES of all views."""
    return _vectors(past, folder, seed)[1]


def _vectors(past: Views, folder: Path, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """The vectors of both, of one training of three minutes on all views."""
    python = _peer_python()
    given = folder / "coles-input.npz"
    outs = folder / "coles-newest-output.npy", folder / "coles-all-output.npy"
    if not all(out.exists() for out in outs):
        np.savez(
            given,
            offsets=past.offsets,
            titles=past.titles,
            hosts=past.catalog.hosts[past.titles],
            times=past.times,
        )
        numbers = (_TRAINING_SECONDS, MAX_VIEWS, seed)
        command = [str(each) for each in (python, _SCRIPT, given, *outs, *numbers)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise RivalLeftOut(f"{_SCRIPT} failed with: {last}")
        given.unlink()
    return np.load(outs[0]), np.load(outs[1])


def _peer_python() -> Path:
    named = os.environ.get("USERBERT_PEERS")
    python = Path(named or "peers-not-named") / "bin" / "python"
    if not named or not python.exists():
        raise RivalLeftOut(
            "CoLES was left out: make its environment with "
            "`benchmarks/peers/make_environment.sh FOLDER` and set USERBERT_PEERS=FOLDER"
        )
    return python
