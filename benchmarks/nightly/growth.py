"""Does a night cost more when there are more nights before it? Small nights with maintenance.

    python -m benchmarks.nightly.growth [--nights 60] [--users 300] [--keep DIR]

Each night is the five jobs of the tables, on generated logs, in a Spark application of its own;
every seventh is followed by maintenance. Its cost is read from Spark's event log and from the
folders: seconds, files opened, rows read, tasks, and the size of the Delta logs. The table shows a
line a week; the last line is JSON, with the growth from the first third to the last.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path

from pyspark.sql import SparkSession

from benchmarks.harness import benchmark_parser, print_result
from contracts.paths import Places
from contracts.tables import SESSIONS
from spark_jobs.spark.event_log import newest_applications
from userbert import cli

FIRST_DAY = date(2017, 1, 1)
DAYS_A_WEEK = 7


@dataclass(frozen=True)
class Night:
    """What one night cost, and what the lake held after it."""

    number: int
    seconds: float
    task_seconds: float
    tasks: int
    files_read: int  # data files of tables, each time that one was opened
    of_sessions: int  # how many of them were of sessions
    rows_read: int
    rows_written: int
    data_files: int  # that the folders hold, replaced ones too
    log_bytes: int  # of the Delta logs, in all
    log_tail: int  # commits after the newest checkpoint, at most over the tables


def night_commands(night: int) -> list[list[str]]:
    day, as_of = FIRST_DAY + timedelta(days=night), str(FIRST_DAY + timedelta(days=night + 1))
    return [
        ["browsing-logs", "--from-day", str(day), "--to-day", str(day)],
        ["titles"],
        ["sessions"],
        ["user-sequences", "--as-of", as_of],
    ]


def run_command(words: list[str]) -> None:
    if cli.main(words) != 0:
        raise SystemExit(f"userbert {' '.join(words)} failed")


def stop_spark() -> None:
    """The next job's application is then a new one, in the same JVM."""
    if active := SparkSession.getActiveSession():
        active.stop()


def measure_night(places: Places, number: int) -> Night:
    began = time.monotonic()
    for words in night_commands(number):
        run_command(words)
    seconds = time.monotonic() - began
    stop_spark()
    (facts,) = newest_applications(places.event_logs, 1)
    files, log_bytes, log_tail = lake_size(places)
    return Night(
        number=number,
        seconds=round(seconds, 1),
        task_seconds=facts.task_seconds,
        tasks=facts.tasks,
        files_read=sum(facts.files_in.values()),
        of_sessions=facts.files_in.get(SESSIONS.name, 0),
        rows_read=sum(facts.rows_in.values()),
        rows_written=facts.rows_out,
        data_files=files,
        log_bytes=log_bytes,
        log_tail=log_tail,
    )


def lake_size(places: Places) -> tuple[int, int, int]:
    """Data files, bytes of the logs, and the longest run of commits without a checkpoint."""
    data = logs = tail = 0
    for table in Path(places.lake).iterdir():
        log = table / "_delta_log"
        data += sum("_delta_log" not in path.parts for path in table.rglob("*.parquet"))
        logs += sum(path.stat().st_size for path in log.iterdir() if path.is_file())
        commits = [int(path.stem) for path in log.glob("*.json") if path.stem.isdigit()]
        checkpoints = [int(path.name[:20]) for path in log.glob("*.checkpoint*.parquet")]
        tail = max(tail, max(commits) - max(checkpoints, default=0))
    return data, logs, tail


def growth_of_costs(nights: list[Night]) -> dict[str, float]:
    """Medians of the last third of the nights over those of the first."""
    early, late = nights[: len(nights) // 3], nights[-len(nights) // 3 :]
    names = ("seconds", "task_seconds", "tasks", "files_read", "rows_read")
    return {name: round(_median(late, name) / max(_median(early, name), 1e-9), 2) for name in names}


def _median(nights: list[Night], name: str) -> float:
    return float(statistics.median(getattr(night, name) for night in nights))


def print_weeks(nights: list[Night]) -> None:
    names = list(asdict(nights[0]))
    sys.stdout.write(" ".join(f"{name:>12}" for name in names) + "\n")
    for night in nights[DAYS_A_WEEK - 1 :: DAYS_A_WEEK]:
        sys.stdout.write(" ".join(f"{value:>12,}" for value in asdict(night).values()) + "\n")


def measure_nights(root: Path, nights: int, users: int) -> list[Night]:
    os.environ["USERBERT_DATA"] = str(root)
    os.environ.setdefault(
        "PYSPARK_SUBMIT_ARGS",
        "--master local[2] --conf spark.ui.showConsoleProgress=false pyspark-shell",
    )
    places = Places.from_environment()
    generate = ["logs", "generate", "--users", str(users), "--days", str(nights), "--seed", "1"]
    run_command([*generate, "--from", str(FIRST_DAY)])
    found = []
    for number in range(nights):
        found.append(measure_night(places, number))
        sys.stderr.write(f"{found[-1]}\n")
        if number % DAYS_A_WEEK == DAYS_A_WEEK - 1:
            run_command(["maintenance"])
            stop_spark()
    return found


def main(nights: int, users: int, keep: Path | None) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        found = measure_nights(keep or Path(scratch), nights, users)
    print_weeks(found)
    print_result(
        {
            "name": "nights",
            "nights": nights,
            "users": users,
            "growth": growth_of_costs(found),
            "measured": [asdict(night) for night in found],
        }
    )


def arg_parser() -> argparse.ArgumentParser:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--nights", type=int, default=60)
    parser.add_argument("--users", type=int, default=300)
    parser.add_argument("--keep", type=Path, help="folder for the data; a temporary one without it")
    return parser


if __name__ == "__main__":
    main(**vars(arg_parser().parse_args()))
