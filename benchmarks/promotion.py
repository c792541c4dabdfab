"""Thirty days under a second model while a reader polls: is a read empty, mixed or short of a day?

    python -m benchmarks.promotion [--days 30]

On a small lake of its own making: plan and fill the champion's days, publish them, let a reader
read all of published_embeddings every 100 ms, plan and fill the second model's days meanwhile,
promote it, and roll back. The figures are what the reader saw, the rows and times of the plans and
of what was done (the first plan by a rehearsal, the second by the days before it), and what a
backfill of finished days writes. The last line is JSON; `ratio` is the worse plan's error in time;
the exit code is 1 if a read was wrong, a plan's rows were not those written, or its time was off by
more than 2 times.
"""

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from benchmarks.harness import benchmark_parser, print_result
from contracts.paths import Places
from contracts.tables import PUBLISHED_EMBEDDINGS, USER_EMBEDDINGS, USER_SEQUENCES
from spark_jobs.backfill.plan import make_plan
from spark_jobs.lake.lake import Lake
from spark_jobs.registry.promotion import Registry
from spark_jobs.spark.session import session
from spark_jobs.tables.models import find_model, load_models
from tests.faults.backfill_trials import small_lake
from userbert.commands.backfill import fill_with_progress

READ_INTERVAL_SECONDS = 0.1  # seconds from one read to the next
SECONDS_AFTER_SWITCH = 1.0  # seconds that the reader is given to see it


@dataclass(frozen=True)
class Read:
    """What one read of the whole table found."""

    models: frozenset[str]
    days: frozenset[date]
    rows: int


class Reader(threading.Thread):
    """Reads published_embeddings every 100 ms until measures to stop."""

    def __init__(self, places: Places) -> None:
        super().__init__()
        self.places, self.seen, self.over = places, list[Read](), threading.Event()

    def run(self) -> None:
        while not self.over.wait(READ_INTERVAL_SECONDS):
            table = DeltaTable(f"{self.places.lake}/{PUBLISHED_EMBEDDINGS.name}")
            read = table.to_pyarrow_table(columns=["model_id", "as_of"])
            models: Any = read["model_id"].to_pylist()
            days: Any = read["as_of"].to_pylist()
            self.seen.append(Read(frozenset(models), frozenset(days), len(read)))


@contextmanager
def poll_published(places: Places) -> Iterator[list[Read]]:
    """A reader that polls while the block runs."""
    reader = Reader(places)
    reader.start()
    try:
        yield reader.seen
    finally:
        reader.over.set()
        reader.join()


def count_wrong_reads(seen: Sequence[Read], days: Sequence[date]) -> dict[str, Any]:
    """How many reads were wrong, and how often the model changed from one to the next."""
    rows = {len(read.days): read.rows for read in seen}.get(len(days), 0)
    return {
        "reads": len(seen),
        "empty": sum(not read.rows for read in seen),
        "mixed": sum(len(read.models) > 1 for read in seen),
        "short_of_a_day": sum(read.days != set(days) for read in seen),
        "other_rows": sum(read.rows != rows for read in seen),
        "switches": sum(a.models != b.models for a, b in pairwise(seen)),
    }


def fill_and_compare(
    lake: Lake, places: Places, model_id: str, days: Sequence[date]
) -> dict[str, Any]:
    """What `plan` said, and what `run` wrote and took."""
    model = find_model(load_models(lake), model_id)
    made = make_plan(lake, places, model, days, in_new_process=False)
    began = time.monotonic()
    done = fill_with_progress(lake, places, model, days)
    return {
        "rows_planned": made.rows,
        "rows_written": sum(commit.rows for day in done for commit in day.commits),
        "seconds_planned": round(made.price.seconds, 1),
        "seconds": round(time.monotonic() - began, 1),
        "estimate_from": made.source,
    }


def commits_of_a_finished_backfill(
    lake: Lake, places: Places, model_id: str, days: Sequence[date]
) -> int:
    """Commits that a backfill of finished days makes."""
    before = [lake.version(table) for table in (USER_SEQUENCES, USER_EMBEDDINGS)]
    fill_with_progress(lake, places, find_model(load_models(lake), model_id), days)
    after = [lake.version(table) for table in (USER_SEQUENCES, USER_EMBEDDINGS)]
    return sum(after) - sum(before)


def measure_promotion(days: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, session("promotion") as spark:
        places = Places(Path(folder))
        new, champion, all_days = small_lake(spark, places.root, days)
        lake = Lake(spark, places.lake)
        registry = Registry(lake, places)
        measures = {"champion": fill_and_compare(lake, places, champion, all_days)}
        registry.promote(champion, "benchmark", force=True)
        with poll_published(places) as seen:
            measures["second_model"] = fill_and_compare(lake, places, new, all_days)
            for switch in (
                lambda: registry.promote(new, "benchmark", force=True),
                registry.rollback,
            ):
                switch()
                time.sleep(SECONDS_AFTER_SWITCH)
        measures["reader"] = count_wrong_reads(seen, all_days)
        commits = commits_of_a_finished_backfill(lake, places, new, all_days)
        return measures | {"commits_of_a_backfill_of_nothing": commits}


def count_bad_reads(reader: dict[str, Any]) -> int:
    return sum(reader[name] for name in ("empty", "mixed", "short_of_a_day", "other_rows"))


def planning_error(measures: dict[str, Any]) -> float:
    """How many times the plan's time was off, in either direction."""
    ratio = measures["seconds_planned"] / measures["seconds"]
    return float(max(ratio, 1 / ratio))


def arg_parser() -> argparse.ArgumentParser:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--days", type=int, default=30)
    return parser


def main(days: int) -> int:
    measures = measure_promotion(days)
    fills = [measures["champion"], measures["second_model"]]
    worst = max(map(planning_error, fills))
    reader = measures["reader"]
    good = (
        not count_bad_reads(reader)
        and reader["switches"] == 2
        and not measures["commits_of_a_backfill_of_nothing"]
    )
    good &= worst <= 2 and all(each["rows_planned"] == each["rows_written"] for each in fills)
    print_result(
        {
            "name": f"two models, {days} days, a reader each {READ_INTERVAL_SECONDS} s",
            "ratio": round(worst, 2),
            "agree": good,
            "figures": measures,
        }
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(**vars(arg_parser().parse_args())))
