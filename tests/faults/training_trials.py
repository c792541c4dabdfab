"""Trainings that are killed, run twice at once, lose a process or a checkpoint: the same weights?

    python -m tests.faults.training_trials [--first-seed 0] [--trials 16]

A trial disturbs a training of a tiny model by one of `DISTURBANCES`, by its seed modulo their
number, and calls the same command again. Its weights must be those of a training that nothing
disturbed, bit for bit; for two processes they are compared with those of two.
"""

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from tests.faults.damage_trials import DAMAGES, damaged_file
from tests.faults.processes import environment, finished
from tests.faults.trials import Ending, Trial, main_of_trials

STEPS = 12
FLAGS = [
    *("--preset", "tiny", "--steps", str(STEPS), "--width", "16", "--batch-size", "8"),
    *("--refresh-interval", "5", "--sequence-pool", "20", "--behavior-pool", "30"),
    *("--checkpoint-interval", "4", "--validation-interval", "6", "--threads", "1"),
]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
WEIGHTS = "weights.safetensors"


def train(root: Path, day: str, kill_after: int = 0) -> None:
    """In this process, which is killed as soon as it has logged the step `kill_after`."""
    from contracts.terminal.command_line import build_command, run_command
    from model.training.pretrain import main
    from model.training.run_log import RunLog

    os.environ["USERBERT_DATA"] = str(root)
    log_step = RunLog.step

    def log_and_die(log: Any, step: int, facts: Any) -> None:
        log_step(log, step, facts)
        if step == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)

    RunLog.step = log_and_die  # type: ignore[method-assign]
    sys.exit(run_command(build_command(main, None), ["--as-of", day, *FLAGS], "userbert"))


def forked(*arguments: Any) -> Any:
    """A training in a process of its own, forked from one that has imported torch and has read no
    table yet: delta-rs cannot be forked."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["model.training.pretrain"])
    process = context.Process(target=train, args=arguments)
    process.start()
    return process


def kill_at_a_step(root: Path, day: str, draw: random.Random) -> None:
    for step in sorted(draw.sample(range(1, STEPS), 2)):
        forked(root, day, step).join()


def damage_newest_checkpoint(root: Path, day: str, draw: random.Random) -> None:
    forked(root, day, draw.randrange(9, STEPS)).join()  # two checkpoints are there
    newest = max(root.glob("models/*.training/step-*"))
    what = draw.choice(sorted(DAMAGES))
    damaged_file(draw.choice(sorted(path for path in newest.iterdir())), DAMAGES[what], draw)


def damage_arrays(root: Path, day: str, draw: random.Random) -> None:
    forked(root, day, draw.randrange(1, STEPS)).join()
    what = draw.choice(sorted(DAMAGES))
    files = sorted(path for path in (root / "arrays").rglob("*") if path.is_file())
    damaged_file(draw.choice(files), DAMAGES[what], draw)


def two_at_once(root: Path, day: str, draw: random.Random) -> None:
    first = forked(root, day)
    time.sleep(draw.uniform(0, 0.5))
    second = forked(root, day)
    first.join()
    second.join()
    codes = sorted([first.exitcode, second.exitcode])
    if codes not in ([0, 0], [0, 1]):
        raise RuntimeError(f"they ended in {codes}")


def lose_a_process(root: Path, day: str, draw: random.Random) -> None:
    """Of torchrun's two, one is killed at a random moment."""
    command = [sys.executable, *TORCHRUN, "-m", "model.training.pretrain", "--as-of", day, *FLAGS]
    process = subprocess.Popen(
        command, env=environment(root), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and not any(root.glob("models/*.training")):
        time.sleep(0.05)
    time.sleep(draw.uniform(0, 1.5))
    with suppress(psutil.NoSuchProcess, IndexError):
        draw.choice(psutil.Process(process.pid).children()).kill()
    process.wait(120)


def again_by_two(root: Path, day: str) -> None:
    command = [sys.executable, *TORCHRUN, "-m", "model.training.pretrain", "--as-of", day, *FLAGS]
    ended = finished(command, root)
    if ended.returncode:
        raise RuntimeError(ended.stderr[-300:])


def again(root: Path, day: str) -> None:
    process = forked(root, day)
    process.join()
    if process.exitcode:
        raise RuntimeError(f"the same command again ended in {process.exitcode}")


Disturbance = Callable[[Path, str, random.Random], None]
DISTURBANCES: dict[str, tuple[Disturbance, Callable[[Path, str], None]]] = {
    "kill -9 in a training": (kill_at_a_step, again),
    "a damaged newest checkpoint": (damage_newest_checkpoint, again),
    "damaged training arrays": (damage_arrays, again),
    "two trainings of one model at once": (two_at_once, again),
    "a lost torchrun process": (lose_a_process, again_by_two),
}


def weights_of(root: Path) -> bytes:
    (path,) = root.glob(f"models/*/{WEIGHTS}")
    return path.read_bytes()


@dataclass(frozen=True)
class Quiet:
    """A lake to train on, and the weights of undisturbed trainings, made when first asked for."""

    folder: Path
    day: str
    made: dict[Any, bytes] = field(default_factory=dict)

    def weights(self, repeat: Callable[[Path, str], None]) -> bytes:
        if repeat not in self.made:
            root = self.folder / f"quiet {repeat.__name__}"
            shutil.rmtree(root, ignore_errors=True)
            shutil.copytree(self.folder / "lake", root)
            repeat(root, self.day)
            self.made[repeat] = weights_of(root)
        return self.made[repeat]


def run_trial(quiet: Quiet, kind: str, seed: int, root: Path) -> Ending:
    disturb, repeat = DISTURBANCES[kind]
    wanted = quiet.weights(repeat)
    shutil.copytree(quiet.folder / "lake", root)
    disturb(root, quiet.day, random.Random(seed))
    repeat(root, quiet.day)
    leftovers = [path.name for path in (root / "models").iterdir() if path.suffix == ".training"]
    is_same = weights_of(root) == wanted and not leftovers
    words = "" if is_same else f"other weights, or left: {leftovers}"
    return Ending("clean" if is_same else "wrong", detail=words)


def training_trials(seeds: range, scratch: Path) -> Iterator[Trial]:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import small_corpus  # type: ignore[import-not-found]

    from contracts.paths import Places

    quiet = Quiet(scratch, str(small_corpus.DAY))
    small_corpus.write_interests(Places(scratch / "lake"))
    kinds = list(DISTURBANCES)
    for seed in seeds:
        kind = kinds[seed % len(kinds)]
        yield Trial(kind, seed, partial(run_trial, quiet, kind, seed))


if __name__ == "__main__":
    sys.exit(main_of_trials("trainings", __doc__, training_trials, 16))
