"""A night in one application, killed in each of its steps and tried again as Airflow would.

    python -m tests.faults.step_trials [--first-seed 0] [--trials 2]

A trial runs `userbert steps` over the tables of a night and ends it, JVM and Python workers too, by
kill -9 in its first step; tries again as Airflow would, and kills in the second; and so on through
all of them. Then it lets one try end, and compares every row of the tables with those of a night
that nothing disturbed. Trials with an even seed kill at a random moment of the step, those with an
odd one right after the step's commit, before the record of it can be written.
"""

import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from contracts.paths import Places
from contracts.tables import Table
from spark_jobs.spark.session import session
from tests.faults.nightly_lake import (
    NUM_HISTORY_DAYS,
    STEP_TABLES,
    TABLES,
    as_task,
    make_lake,
    night_steps,
)
from tests.faults.processes import environment, kill_group, userbert_command
from tests.faults.trials import Ending, Trial, compared, main_of_trials

NIGHT = NUM_HISTORY_DAYS  # the number of its landing day
MAX_SECONDS_TO_KILL = 5.0  # from a step's beginning
MAX_SECONDS_TO_COMMIT = 120.0


def start_night(root: Path) -> "subprocess.Popen[str]":
    """All steps, in a process group of its own."""
    return subprocess.Popen(
        userbert_command("steps", *night_steps(NIGHT)),
        env=environment(root),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def commits_of(root: Path, table: Table) -> set[str]:
    folder = Path(Places(root).lake) / table.name / "_delta_log"
    return {path.name for path in folder.glob("*.json")}


def kill_in_step(root: Path, number: int, table: Table, wait: float | None) -> tuple[bool, int]:
    """Kill everything `wait` seconds after the step began, or without one after its first commit.

    Whether it was still at work, and how many steps an earlier try had done.
    """
    process, num_done = start_night(root), 0
    assert process.stdout is not None
    for line in process.stdout:
        num_done += "done by an earlier try" in line
        if line.startswith(f"step {number} of "):
            break
    if wait is not None:
        time.sleep(wait)
        return kill_group(process), num_done
    before, end = commits_of(root, table), time.monotonic() + MAX_SECONDS_TO_COMMIT
    while commits_of(root, table) == before and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    return kill_group(process), num_done


def finish_night(root: Path) -> None:
    process = start_night(root)
    process.communicate()
    if process.returncode:
        raise RuntimeError(f"the night failed in {root}")


def run_trial(before: Path, quiet: Path, seed: int, root: Path) -> Ending:
    draw = random.Random(seed)
    shutil.copytree(before, root)
    found = []
    for number, table in enumerate(STEP_TABLES, start=1):
        wait = None if seed % 2 else draw.uniform(0, MAX_SECONDS_TO_KILL)
        found.append(kill_in_step(root, number, table, wait))
    finish_night(root)
    killed, skipped = sum(at_work for at_work, _ in found), [num for _, num in found]
    detail = f"{killed} were still at work; steps done before each try: {skipped}"
    return compared(root, quiet, TABLES, len(found), detail)


def step_trials(seeds: range, scratch: Path) -> Iterator[Trial]:
    before, quiet = scratch / "before", scratch / "quiet"
    with session("step trials", logged=False):
        make_lake(before, num_nights=1)
    as_task(NIGHT)
    shutil.copytree(before, quiet)
    finish_night(quiet)
    for seed in seeds:
        moment = "right after each step's commit" if seed % 2 else "in each step"
        run = partial(run_trial, before, quiet, seed)
        yield Trial(f"kill -9 {moment} of a night in one application", seed, run)


if __name__ == "__main__":
    sys.exit(main_of_trials("step trials", __doc__, step_trials, 2))
