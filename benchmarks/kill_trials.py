"""Two nights whose driver is killed in every job: are the tables those of two quiet nights?

    python -m benchmarks.kill_trials [--seed 0] [--users 300] [--trials 2]

A trial runs the jobs of two nights in one process and ends it, JVM and Python workers too, by
kill -9 at a drawn moment of its first job; starts again from the first job and kills in the second;
and so on through all of them. Then it lets one run end, and compares every row of the tables with
those of a lake where nothing was killed. A line of JSON a trial, and one at the end; exit code 1
if any tables differ.
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

from benchmarks.backfill_trials import kill
from contracts.paths import Places
from contracts.provenance import code_version
from contracts.tables import (
    BROWSING_LOGS,
    REJECTED_LOGS,
    SEQUENCE_PAIRS,
    SESSIONS,
    TITLES,
    USER_SEQUENCES,
)

FIRST = date(2017, 1, 1)
NIGHTS = 2
LONGEST = 6.0  # seconds from a job's beginning to its kill
TABLES = (BROWSING_LOGS, REJECTED_LOGS, TITLES, SESSIONS, USER_SEQUENCES, SEQUENCE_PAIRS)
RUN = """
import json, sys
from userbert.cli import main
for n, words in enumerate(json.loads(sys.argv[1])):
    print("begins", n, flush=True)
    assert main(words) == 0, words
"""


def jobs() -> list[list[str]]:
    days = [FIRST + timedelta(days=n) for n in range(NIGHTS + 1)]
    found: list[list[str]] = []
    for day, as_of in zip(map(str, days), map(str, days[1:]), strict=False):
        found += [["browsing-logs", "--from-day", day, "--to-day", day], ["titles"], ["sessions"],
                  ["user-sequences", "--as-of", as_of]]  # fmt: skip
    return [*found, ["sequence-pairs", "--as-of", str(days[-1])]]


def start(root: Path) -> "subprocess.Popen[str]":
    """All jobs, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", RUN, json.dumps(jobs())],
        env=os.environ | {"USERBERT_DATA": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def kill_in(root: Path, job: int, wait: float) -> bool:
    """Kill everything `wait` seconds after that job began; whether it was still at work."""
    process = start(root)
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == f"begins {job}":
            break
    time.sleep(wait)
    return kill(process)


def finish(root: Path) -> None:
    process = start(root)
    process.communicate()
    if process.returncode:
        raise SystemExit(f"the jobs failed in {root}")


def rows(root: Path, name: str, columns: list[str], key: tuple[str, ...]) -> list[dict[str, Any]]:
    found = DeltaTable(f"{Places(root).lake}/{name}").to_pyarrow_table(columns=columns)
    return list(found.sort_by([(each, "ascending") for each in key]).to_pylist())


def same(one: Path, other: Path) -> dict[str, bool]:
    return {
        table.name: rows(one, table.name, table.names, table.key)
        == rows(other, table.name, table.names, table.key)
        for table in TABLES
    }


def trial(quiet: Path, root: Path, seed: int) -> dict[str, Any]:
    draw = random.Random(seed)
    shutil.copytree(quiet / "landing", root / "landing")
    killed = [kill_in(root, job, draw.uniform(0, LONGEST)) for job in range(len(jobs()))]
    finish(root)
    agree = same(quiet, root)
    return {"seed": seed, "killed": sum(killed), "jobs": len(killed), "agree": agree}


def main(seed: int, users: int, trials: int) -> int:
    from userbert import cli

    os.environ.setdefault("PYSPARK_SUBMIT_ARGS", "--master local[2] pyspark-shell")
    with tempfile.TemporaryDirectory() as scratch:
        quiet = Path(scratch) / "quiet"
        size = ["--users", str(users), "--days", str(NIGHTS), "--from", str(FIRST)]
        cli.main(["logs", "generate", *size, "--seed", "1", "--out", str(quiet)])
        finish(quiet)
        found = []
        for n in range(seed, seed + trials):
            found.append(trial(quiet, Path(scratch) / str(n), n))
            sys.stdout.write(json.dumps(found[-1]) + "\n")
            sys.stdout.flush()
    agree = all(all(one["agree"].values()) for one in found)
    result = {"benchmark": "kill_trials", "code": code_version(), "agree": agree,
              "killed": sum(one["killed"] for one in found), "trials": trials}  # fmt: skip
    sys.stdout.write(json.dumps(result) + "\n")
    return 0 if agree else 1


def arg_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0, help="of the first trial (default: 0)")
    parser.add_argument("--users", type=int, default=300)
    parser.add_argument("--trials", type=int, default=2)
    return parser


if __name__ == "__main__":
    sys.exit(main(**vars(arg_parser().parse_args())))
