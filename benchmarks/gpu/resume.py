"""A training that is killed on the device and goes on must end as the undisturbed one."""

import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.synthetic import NUM_WORDS, synthetic_corpus
from model.config import BASE_MODELS, PretrainConfig
from model.data.corpus import TrainingInput
from model.data.vocabulary import Vocabulary
from model.storage.checkpoint import read_tensors, write_checkpoint
from model.storage.checkpoint_files import WEIGHTS_FILE
from model.training.distributed import join_processes
from model.training.trainer import Training

STEPS, STOPPED_AFTER = 8, 4  # updates of the whole training, and of the one that is killed
_DAY = date(2021, 1, 1)
_NAME = "synthetic"  # of the model
_CONFIG = PretrainConfig(
    steps=STEPS,
    batch_size=16,
    learning_rate=1e-3,
    behavior_pool=200,
    sequence_pool=50,
    refresh_interval=3,
    validation_interval=0,
)


def train_and_kill(base_model: str, device: str, with_torchrun: bool) -> dict[str, Any]:
    """Train in processes of their own: undisturbed, killed by SIGKILL, and gone on with.

    On a CPU the weights must be equal to the bit. On a GPU sums by atomic additions round as they
    come, so two undisturbed trainings may differ: that difference stands beside the resumed one's.
    """
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for target in ("first", "second"):
            _run_child(root / target, base_model, device, STEPS, with_torchrun)
        killed = _run_child(root / "resumed", base_model, device, STOPPED_AFTER, with_torchrun)
        _run_child(root / "resumed", base_model, device, STEPS, with_torchrun)
        first, second, resumed = (
            read_tensors(root / target / f"step-{STEPS}", WEIGHTS_FILE)
            for target in ("first", "second", "resumed")
        )
    between, after = _largest_difference(first, second), _largest_difference(first, resumed)
    return {
        "killed_by": killed,
        "difference_of_two_undisturbed": between,
        "difference_after_resume": after,
        "agree": killed == "SIGKILL" and after <= (0.0 if device == "cpu" else 4 * between + 1e-6),
    }


def _run_child(
    folder: Path, base_model: str, device: str, steps: int, with_torchrun: bool
) -> str | None:
    """Train up to `steps` in a process; one that stops short of STEPS kills itself."""
    module = ["-m", "benchmarks.gpu.resume", str(folder), base_model, device, str(steps)]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1"]
    command = [sys.executable, *(torchrun if with_torchrun else []), *module]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    is_last = (folder / f"step-{steps}").exists()
    if not is_last or (steps == STEPS and done.returncode):
        raise RuntimeError(f"the training ended in {done.returncode}: {done.stderr[-2000:]}")
    if steps == STEPS:
        return None
    was_killed = done.returncode == -signal.SIGKILL or "Signal 9 (SIGKILL)" in done.stderr
    return "SIGKILL" if was_killed else None


def train_until(folder: Path, base_model: str, device: str, steps: int) -> None:
    """Go on from the newest checkpoint of `folder` until `steps` updates; leave a checkpoint."""
    folder.mkdir(exist_ok=True)
    with join_processes(device) as processes:
        torch.set_num_threads(1)
        training = Training(_training_input(), _config(base_model), processes, 1)
        if found := sorted(folder.glob("step-*")):
            training.restore(found[-1], training.manifest(_NAME))
        while training.progress.step < steps:
            training.update()
        manifest = training.manifest(_NAME)
        write_checkpoint(
            folder / f"step-{steps}", manifest, training.given.vocabulary, training.tensors()
        )
        if steps < STEPS:
            signal.raise_signal(signal.SIGKILL)


def _config(base_model: str) -> PretrainConfig:
    narrow = replace(BASE_MODELS[base_model], width=64, word_width=16, query_width=16)
    return replace(_CONFIG, model=narrow, ranking_dtype="float32")


def _training_input() -> TrainingInput:
    corpus = synthetic_corpus(num_users=400)
    pairs = np.arange(len(corpus.pairs), dtype=np.int32)
    words = tuple(str(number) for number in range(NUM_WORDS))
    held_out = pairs[-40:]
    return TrainingInput(
        corpus, Vocabulary(words), pairs[:-40], held_out, held_out, _DAY, {}, "synthetic"
    )


def _largest_difference(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    return max(float((found[name] - each).abs().max()) for name, each in expected.items())


if __name__ == "__main__":
    train_until(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
