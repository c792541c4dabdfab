"""The report of a night after many nights: its seconds, its size, and what the machine had to read.

    python -m benchmarks.pages.run_report [--nights 1000] [--users 200] [--rounds 3]
                                          [--event-logs FOLDER]

A data root is simulated without Spark: each night is a data file of each table, a result of each
gate, and a report that is there already. `--event-logs` copies Spark's own logs of a real night.
Then `userbert report` runs as a person starts it, in a process of its own. CPU seconds are of that
process, so that other work on the machine counts little. The last line is JSON.
"""

import importlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import benchmark_parser, print_result
from contracts.paths import Places
from expectations.results import result_path
from userbert.report.subject import Subject

FIRST_DAY = date(2023, 1, 1)
NIGHTS_A_COMMIT = 25
GATES = tuple(table.name for table in Subject("night", FIRST_DAY, FIRST_DAY).tables)
sys.path.append(str(Path(__file__).parents[2] / "tests"))  # which is no package
builders: Any = importlib.import_module("small_report")
lake_rows: Any = importlib.import_module("small_lake")
MAX_SECONDS, MAX_BYTES = 2, 1_000_000  # what is promised after 1,000 nights


def simulate_nights(places: Places, nights: int, users: int) -> date:
    """Write the root; the newest night's as_of. Each night has a data file in each table."""
    names = [f"user {number}" for number in range(users)]
    days = [FIRST_DAY + timedelta(days=number) for number in range(nights)]
    for start in range(0, nights, NIGHTS_A_COMMIT):
        write_block(places, days[start : start + NIGHTS_A_COMMIT], names)
    for day in days:
        write_results(places, day)
    builders.write_night(places, days[-1] + timedelta(days=1), names)  # with its provenance
    model = {"model_id": builders.MODEL, "status": "champion", "measures": "{}", "path": "gone"}
    lake_rows.write(places, "models", [model])
    return days[-1] + timedelta(days=1)


def write_block(places: Places, days: list[date], names: list[str]) -> None:
    """One commit a table, of some nights; delta-rs takes as long for one of a single night."""
    views = [row for day in days for row in builders.views_of(day, names)]
    lake_rows.write(places, "browsing_logs", views)
    line = {"file": "a.jsonl", "line": 1, "raw": "{}", "reasons": ["blank title"]}
    lake_rows.write(places, "rejected_logs", [{**line, "landing_day": day} for day in days])
    vectors = np.random.default_rng(0).normal(size=(len(names), 8)).tolist()
    lake_rows.publish(
        places,
        [
            lake_rows.embedding(name, day + timedelta(days=1), vector, builders.MODEL)
            for day in days
            for name, vector in zip(names, vectors, strict=True)
        ],
    )


def write_results(places: Places, day: date) -> None:
    """A result of each gate of a night, with as many expectations as a real one has: 20."""
    for table in GATES:
        name = str(day) if table in GATES[:2] else str(day + timedelta(days=1))
        result = builders.gate_result(table, name)
        (only,) = result.expectations
        many = [replace(only, expectation=f"{only.expectation} {n}") for n in range(20)]
        path = result_path(places.gates, table, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(replace(result, expectations=many))))


def copy_reports(places: Places, newest: date, nights: int) -> None:
    """The newest report under the names of the nights before: JSON of each, pages of a hundred."""
    folder = places.reports / "night"
    facts = json.loads((folder / f"{newest}.json").read_text())
    page = (folder / f"{newest}.html").read_text()
    for ago in range(1, nights):
        name = str(newest - timedelta(days=ago))
        (folder / f"{name}.json").write_text(json.dumps({**facts, "name": name, "as_of": name}))
        if ago < 100:
            (folder / f"{name}.html").write_text(page)


def timed_reports(places: Places, rounds: int) -> Iterator[tuple[float, float]]:
    """(seconds, CPU seconds) of each start of the command."""
    environ = {**os.environ, "USERBERT_DATA": str(places.root)}
    for _ in range(rounds):
        started = time.monotonic()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "userbert.cli", "report"],
            env=environ,
            check=True,
            capture_output=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        yield time.monotonic() - started, cpu


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--nights", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("--users", type=int, default=200, help="of a night")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--event-logs", type=Path, help="a folder of Spark's event logs")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        places = Places(Path(folder))
        newest = simulate_nights(places, given.nights, given.users)
        if given.event_logs:
            shutil.copytree(given.event_logs, places.event_logs)
        (first,) = timed_reports(places, 1)  # counts 36 days, which the next nights do not
        copy_reports(places, newest, given.nights)
        rounds = sorted(timed_reports(places, given.rounds))
        page = (places.reports / "night" / f"{newest}.html").stat().st_size
    cpu_seconds = min(cpu for _, cpu in rounds)
    figures = {
        "nights": given.nights,
        "first_seconds": round(first[0], 2),
        "first_cpu_seconds": round(first[1], 2),
        "seconds": round(rounds[0][0], 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "page_bytes": page,
    }
    is_kept = cpu_seconds <= MAX_SECONDS and page <= MAX_BYTES
    print_result({"name": "run_report", "agree": is_kept, "figures": figures})


if __name__ == "__main__":
    main()
