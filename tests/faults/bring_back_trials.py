"""A day that loses views is ingested again and killed: does the next run bring back what it hid?

    python -m tests.faults.bring_back_trials [--seed 0] [--trials 8]

Three landing days share a third of their lines, so that the later days' copies are refused as
duplicates. Then the first day's file loses these lines, and `userbert browsing-logs` of that day is
ended by kill -9, JVM too: up to a second and a half after its first, second, third or fourth
commit, or before any. The same command is run once more, and every row of both tables is compared
with those of a lake where nothing was killed. A line of JSON a trial, and one at the end; exit code
1 if any differ.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from benchmarks.harness import benchmark_parser, print_line, print_result
from contracts.paths import Places
from contracts.tables import BROWSING_LOGS, REJECTED_LOGS
from tests.faults.backfill_trials import kill_group, start_command, userbert_command
from tests.faults.kill_trials import table_rows

FIRST_DAY = date(2026, 1, 29)
DAYS = [FIRST_DAY + timedelta(days=n) for n in range(3)]
TABLES = (BROWSING_LOGS, REJECTED_LOGS)
NUM_COMMITS = 4  # of a run that brings lines back: two of the day, two of the lines
MAX_WAIT_S = 1.5  # after a commit; the next one comes within it
SETTINGS = 'format = "jsonl"\n[columns]\nuser_id = "user"\nevent_time = "time"\ntitle = "title"\n'


def line(user: int, title: str) -> str:
    return json.dumps({"user": f"u{user}", "time": f"{FIRST_DAY}T10:00:00Z", "title": title})


def write_landing(root: Path, is_shared: bool) -> None:
    """The files of three days; with `is_shared` the first holds what the others repeat."""
    landing = Places(root).landing
    shared = [line(user, "shared") for user in range(200)]
    for n, day in enumerate(DAYS):
        own = [line(user, f"of {day}") for user in range(400)]
        lines = own + (shared if n or is_shared else [])
        (landing / str(day)).mkdir(parents=True, exist_ok=True)
        (landing / str(day) / "a.jsonl").write_text("\n".join(lines) + "\n")
    (landing / "settings.toml").write_text(SETTINGS)


def ingest(day: date) -> list[str]:
    return userbert_command("browsing-logs", "--from-day", str(day), "--to-day", str(day))


def run_to_its_end(root: Path, day: date) -> None:
    if start_command(ingest(day), root).wait():
        raise SystemExit(f"the ingest of {day} failed in {root}")


def num_commits(root: Path) -> int:
    lake = Path(Places(root).lake)
    return sum(len(list((lake / table.name / "_delta_log").glob("*.json"))) for table in TABLES)


def kill_after(root: Path, commits: int, wait: float) -> bool:
    """Kill the first day's ingest `wait` seconds after it made so many; whether it still ran."""
    before = num_commits(root)
    process: subprocess.Popen[bytes] = start_command(ingest(FIRST_DAY), root)
    while process.poll() is None and num_commits(root) - before < commits:
        time.sleep(0.01)
    time.sleep(wait)
    return kill_group(process)


def rows_of(root: Path) -> dict[str, list[dict[str, Any]]]:
    return {t.name: table_rows(root, t.name, t.names, t.key) for t in TABLES}


def run_trial(filled: Path, expected: dict[str, Any], root: Path, seed: int) -> dict[str, Any]:
    draw = random.Random(seed)
    shutil.copytree(filled, root)
    write_landing(root, is_shared=False)
    commits, wait = seed % (NUM_COMMITS + 1), draw.uniform(0, MAX_WAIT_S)
    was_killed = kill_after(root, commits, wait)
    made = num_commits(root) - num_commits(filled)
    run_to_its_end(root, FIRST_DAY)
    agree = {name: rows == expected[name] for name, rows in rows_of(root).items()}
    return {"seed": seed, "killed": was_killed, "commits_before": made, "agree": agree}


def main(seed: int, trials: int) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        filled, quiet = Path(scratch) / "filled", Path(scratch) / "quiet"
        write_landing(filled, is_shared=True)
        for day in DAYS:
            run_to_its_end(filled, day)
        shutil.copytree(filled, quiet)
        write_landing(quiet, is_shared=False)
        run_to_its_end(quiet, FIRST_DAY)
        expected = rows_of(quiet)
        # Whether lines came back at all: 200 of the second day, whose copies were refused before.
        assert len(expected[REJECTED_LOGS.name]) < len(rows_of(filled)[REJECTED_LOGS.name])
        found = []
        for n in range(seed, seed + trials):
            found.append(run_trial(filled, expected, Path(scratch) / str(n), n))
            print_line(found[-1])
    agree = all(all(one["agree"].values()) for one in found)
    killed = sum(one["killed"] for one in found)
    print_result({"name": "bring_back_trials", "agree": agree, "killed": killed, "trials": trials})
    return 0 if agree else 1


def arg_parser() -> argparse.ArgumentParser:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the first trial (default: 0)")
    parser.add_argument("--trials", type=int, default=10)
    return parser


if __name__ == "__main__":
    sys.exit(main(**vars(arg_parser().parse_args())))
