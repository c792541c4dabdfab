"""Two nights whose driver is killed in every job: are the tables those of two quiet nights?

    python -m tests.faults.kill_trials [--seed 0] [--users 300] [--trials 2]

A trial runs the jobs of two nights in one process and ends it, JVM and Python workers too, by kill
-9 at a random moment of its first job; starts again from the first job and kills in the second; and
so on through all of them. Then it lets one run end, and compares every row of the tables with those
of a lake where nothing was killed. A line of JSON a trial, and one at the end; exit code 1 if any
tables differ.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from benchmarks.harness import benchmark_parser, print_line, print_result
from contracts.paths import Places
from contracts.tables import (
    BROWSING_LOGS,
    REJECTED_LOGS,
    SEQUENCE_PAIRS,
    SESSIONS,
    TITLES,
    USER_SEQUENCES,
)
from tests.faults.backfill_trials import kill_group

FIRST_DAY = date(2017, 1, 1)
NUM_NIGHTS = 2
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


def start_jobs(root: Path) -> "subprocess.Popen[str]":
    """All jobs, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", RUN_JOBS, json.dumps(night_jobs())],
        env=os.environ | {"USERBERT_DATA": str(root)},
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


def finish_jobs(root: Path) -> None:
    process = start_jobs(root)
    process.communicate()
    if process.returncode:
        raise SystemExit(f"the jobs failed in {root}")


def table_rows(
    root: Path, name: str, columns: list[str], key: tuple[str, ...]
) -> list[dict[str, Any]]:
    found = DeltaTable(f"{Places(root).lake}/{name}").to_pyarrow_table(columns=columns)
    return list(found.sort_by([(each, "ascending") for each in key]).to_pylist())


def equal_tables(one: Path, other: Path) -> dict[str, bool]:
    return {
        table.name: table_rows(one, table.name, table.names, table.key)
        == table_rows(other, table.name, table.names, table.key)
        for table in COMPARED_TABLES
    }


def run_trial(quiet: Path, root: Path, seed: int) -> dict[str, Any]:
    draw = random.Random(seed)
    shutil.copytree(quiet / "landing", root / "landing")
    killed = [
        kill_in(root, job, draw.uniform(0, MAX_SECONDS_TO_KILL)) for job in range(len(night_jobs()))
    ]
    finish_jobs(root)
    agree = equal_tables(quiet, root)
    return {"seed": seed, "killed": sum(killed), "jobs": len(killed), "agree": agree}


def main(seed: int, users: int, trials: int) -> int:
    from userbert import cli

    os.environ.setdefault("PYSPARK_SUBMIT_ARGS", "--master local[2] pyspark-shell")
    with tempfile.TemporaryDirectory() as scratch:
        quiet = Path(scratch) / "quiet"
        size = ["--users", str(users), "--days", str(NUM_NIGHTS), "--from", str(FIRST_DAY)]
        cli.main(["logs", "generate", *size, "--seed", "1", "--out", str(quiet)])
        finish_jobs(quiet)
        found = []
        for n in range(seed, seed + trials):
            found.append(run_trial(quiet, Path(scratch) / str(n), n))
            print_line(found[-1])
    agree = all(all(one["agree"].values()) for one in found)
    killed = sum(one["killed"] for one in found)
    print_result({"name": "kill_trials", "agree": agree, "killed": killed, "trials": trials})
    return 0 if agree else 1


def arg_parser() -> argparse.ArgumentParser:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the first trial (default: 0)")
    parser.add_argument("--users", type=int, default=300)
    parser.add_argument("--trials", type=int, default=2)
    return parser


if __name__ == "__main__":
    sys.exit(main(**vars(arg_parser().parse_args())))
