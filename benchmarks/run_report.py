"""The report of a night after many nights: its seconds, its size, and what the machine had to read.

    python -m benchmarks.run_report [--nights 1000] [--users 200] [--rounds 3] [--event-logs FOLDER]

A data root is simulated without Spark: each night is a commit of each table, a result of each gate,
and a report that is there already. `--event-logs` copies Spark's own logs of a real night into it.
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
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from benchmarks.harness import benchmark_parser, print_result
from contracts.paths import Places
from contracts.tables import TABLES
from expectations.results import newest_results, save_result

FIRST = date(2023, 1, 1)
GATES = ("browsing_logs", "rejected_logs", "titles", "sessions", "user_sequences")
CHECKPOINT_INTERVAL = 10  # commits, as Delta's own
sys.path.append(str(Path(__file__).parents[1] / "tests"))  # which is no package
builders: Any = importlib.import_module("small_report")
lake_rows: Any = importlib.import_module("small_lake")
MAX_SECONDS, MAX_BYTES = 2, 1_000_000  # what is promised after 1,000 nights


def simulate_nights(places: Places, nights: int, users: int) -> date:
    """Write the root; the newest night's as_of."""
    names = [f"user {number}" for number in range(users)]
    for number in range(nights):
        day = FIRST + timedelta(days=number)
        as_of = day + timedelta(days=1)
        lake_rows.write(places, "browsing_logs", builders.views_of(day, names))
        refused = {"landing_day": day, "file": "a.jsonl", "line": 1, "raw": "{}"}
        lake_rows.write(places, "rejected_logs", [{**refused, "reasons": ["blank title"]}])
        builders.write_night(places, as_of, names, seed=number)
        for table in GATES:
            name = str(day) if table in GATES[:2] else str(as_of)
            save_result(places.gates, builders.gate_result(table, name))
        if number % CHECKPOINT_INTERVAL == 0:
            make_checkpoints(places)
    model = {"model_id": builders.MODEL, "status": "champion", "measures": "{}", "path": "gone"}
    lake_rows.write(places, "models", [model])
    return as_of


def make_checkpoints(places: Places) -> None:
    from deltalake import DeltaTable

    for table in TABLES:
        if (places.root / "lake" / table.name).exists():
            DeltaTable(f"{places.lake}/{table.name}").create_checkpoint()


def fill_results(places: Places) -> None:
    """Give each gate as many expectations as a real one has: 20."""
    for table in {path.parent.name for path in (places.gates / "results").glob("*/*.json")}:
        for result in newest_results(places.gates, table, 60):
            (only,) = result.expectations
            many = [replace(only, expectation=f"{only.expectation} {n}") for n in range(20)]
            save_result(places.gates, replace(result, expectations=many))


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
        fill_results(places)
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
