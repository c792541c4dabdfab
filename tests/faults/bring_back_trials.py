"""A day that loses views is ingested again and killed: does the next run bring back what it hid?

    python -m tests.faults.bring_back_trials [--first-seed 0] [--trials 10]

Three landing days share a third of their lines, so that the later days' copies are refused as
duplicates. Then the first day's file loses these lines, and `userbert browsing-logs` of that day is
ended by kill -9, JVM too: up to a second and a half after its first, second, third or fourth
commit, or before any. The same command is run once more, and every row of both tables is compared
with those of a lake where nothing was killed.
"""

import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date, timedelta
from functools import partial
from pathlib import Path

from contracts.paths import Places
from contracts.tables import BROWSING_LOGS, REJECTED_LOGS
from tests.faults.processes import kill_group, start_command, userbert_command
from tests.faults.trials import Ending, Trial, compared, main_of_trials, table_rows

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
        raise RuntimeError(f"the ingest of {day} failed in {root}")


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


def run_trial(filled: Path, quiet: Path, seed: int, root: Path) -> Ending:
    draw = random.Random(seed)
    shutil.copytree(filled, root)
    write_landing(root, is_shared=False)
    commits, wait = seed % (NUM_COMMITS + 1), draw.uniform(0, MAX_WAIT_S)
    was_killed = kill_after(root, commits, wait)
    made = num_commits(root) - num_commits(filled)
    run_to_its_end(root, FIRST_DAY)
    when = f"killed after {made} commits" if was_killed else "ended before the kill"
    return compared(root, quiet, TABLES, 1, when)


def bring_back_trials(seeds: range, scratch: Path) -> Iterator[Trial]:
    filled, quiet = scratch / "filled", scratch / "quiet"
    write_landing(filled, is_shared=True)
    for day in DAYS:
        run_to_its_end(filled, day)
    shutil.copytree(filled, quiet)
    write_landing(quiet, is_shared=False)
    run_to_its_end(quiet, FIRST_DAY)
    # Whether lines came back at all: 200 of the second day, whose copies were refused before.
    refused = [len(table_rows(root, REJECTED_LOGS)) for root in (filled, quiet)]
    assert refused[1] < refused[0]
    for seed in seeds:
        run = partial(run_trial, filled, quiet, seed)
        yield Trial("kill -9 in an ingest that brings lines back", seed, run)


if __name__ == "__main__":
    sys.exit(main_of_trials("bring-back trials", __doc__, bring_back_trials, 10))
