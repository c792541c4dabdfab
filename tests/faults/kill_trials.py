"""Two nights whose driver is killed in every job: are the tables those of two quiet nights?

    python -m tests.faults.kill_trials [--first-seed 0] [--trials 2]

A trial runs the jobs of two nights in one process and ends it, JVM and Python workers too, by kill
-9 at a random moment of its first job; starts again from the first job and kills in the second; and
so on through all of them. Then it lets one run end, and compares every row of the tables with those
of a lake where nothing was killed.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from functools import partial
from pathlib import Path

from contracts.tables import (
    BROWSING_LOGS,
    REJECTED_LOGS,
    SEQUENCE_PAIRS,
    SESSIONS,
    TITLES,
    USER_SEQUENCES,
)
from tests.faults.processes import environment, kill_group
from tests.faults.trials import Ending, Trial, compared, main_of_trials

FIRST_DAY = date(2017, 1, 1)
NUM_NIGHTS = 2
NUM_USERS = 300
MAX_SECONDS_TO_KILL = 6.0  # seconds from a job's beginning to its kill
COMPARED_TABLES = (BROWSING_LOGS, REJECTED_LOGS, TITLES, SESSIONS, USER_SEQUENCES, SEQUENCE_PAIRS)
RUN_JOBS = """
import json, sys
from userbert.cli import main
for n, words in enumerate(json.loads(sys.argv[1])):
    print("begins", n, flush=True)
    assert main(words) == 0, words
"""


def night_jobs() -> list[list[str]]:
    days = [FIRST_DAY + timedelta(days=n) for n in range(NUM_NIGHTS + 1)]
    found: list[list[str]] = []
    for day, as_of in zip(map(str, days), map(str, days[1:]), strict=False):
        found += [["browsing-logs", "--from-day", day, "--to-day", day], ["titles"], ["sessions"],
                  ["user-sequences", "--as-of", as_of]]  # fmt: skip
    return [*found, ["sequence-pairs", "--as-of", str(days[-1])]]


def start_jobs(root: Path, **more: str) -> "subprocess.Popen[str]":
    """All jobs, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", RUN_JOBS, json.dumps(night_jobs())],
        env=environment(root, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def kill_in(root: Path, job: int, wait: float) -> bool:
    """Kill everything `wait` seconds after that job began; whether it was still at work."""
    process = start_jobs(root)
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == f"begins {job}":
            break
    time.sleep(wait)
    return kill_group(process)


def finish_jobs(root: Path, **more: str) -> None:
    process = start_jobs(root, **more)
    process.communicate()
    if process.returncode:
        raise RuntimeError(f"the jobs failed in {root}")


def quiet_nights(folder: Path) -> Path:
    """A lake after two nights that nothing disturbed."""
    from userbert import cli

    os.environ.setdefault("PYSPARK_SUBMIT_ARGS", "--master local[2] pyspark-shell")
    size = ["--users", str(NUM_USERS), "--days", str(NUM_NIGHTS), "--from", str(FIRST_DAY)]
    cli.main(["logs", "generate", *size, "--seed", "1", "--out", str(folder)])
    finish_jobs(folder)
    return folder


def run_trial(quiet: Path, seed: int, jobs: Sequence[int], root: Path) -> Ending:
    draw = random.Random(seed)
    shutil.copytree(quiet / "landing", root / "landing")
    killed = sum(kill_in(root, job, draw.uniform(0, MAX_SECONDS_TO_KILL)) for job in jobs)
    finish_jobs(root)
    return compared(root, quiet, COMPARED_TABLES, len(jobs), f"{killed} were still at work")


def kill_trials(seeds: range, scratch: Path) -> Iterator[Trial]:
    quiet = quiet_nights(scratch)
    for seed in seeds:
        jobs = range(len(night_jobs()))
        yield Trial(
            "kill -9 in each job of two nights", seed, partial(run_trial, quiet, seed, jobs)
        )


if __name__ == "__main__":
    sys.exit(main_of_trials("kill trials", __doc__, kill_trials, 2))
