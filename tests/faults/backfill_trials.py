"""Two backfills at a time, killed at random moments: do they end as one quiet run does?

    python -m tests.faults.backfill_trials [--trials 20] [--first-seed 0]

Each trial copies a small lake of its own making and starts `userbert backfill run` of a second
model together with another of overlapping days (even seeds) or with the jobs of a night under the
champion (odd seeds), ends each by kill -9 (its JVM too) at a drawn moment, does what is left of it,
and compares every row of user_sequences, user_embeddings and published_embeddings with what one
quiet run leaves. A line of JSON a trial, and one at the end; exit code 1 if any tables differ.
"""

import argparse
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from pyspark.sql import SparkSession

from benchmarks.harness import benchmark_parser, print_line, print_result
from contracts.paths import Places
from contracts.tables import PUBLISHED_EMBEDDINGS, USER_EMBEDDINGS, USER_SEQUENCES, Table
from spark_jobs.backfill.days import fill_days
from spark_jobs.lake.lake import Lake
from spark_jobs.spark.session import session
from spark_jobs.tables import user_embeddings, user_sequences
from spark_jobs.tables.published_embeddings import publish_day

COMPARED_TABLES = (USER_SEQUENCES, USER_EMBEDDINGS, PUBLISHED_EMBEDDINGS)
NIGHT_JOBS = ("user-sequences", "user-embeddings", "published-embeddings")


def userbert_command(*words: str) -> list[str]:
    return [sys.executable, "-m", "userbert.cli", *words]


def backfill_command(model_id: str, days: Sequence[date]) -> list[str]:
    first, last = str(days[0]), str(days[-1])
    return userbert_command("backfill", "run", "--from", first, "--to", last, "--model", model_id)


def start_command(words: list[str], root: Path) -> "subprocess.Popen[bytes]":
    """In a process group of its own, so that the JVM is killed with it."""
    return subprocess.Popen(
        words,
        env=os.environ | {"USERBERT_DATA": str(root), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill_group(process: "subprocess.Popen[Any]") -> bool:
    """Whether there was anything to kill."""
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return alive


def count_files(root: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(root))


def run_and_kill(commands: Sequence[list[str]], root: Path, seed: int, all_files: int) -> int:
    """Run `commands` at the same time, each until a random moment; how many were still running.

    A moment is a number of files that all of them have written by then, up to `all_files`, so that
    a slow machine is killed at the same points of the work as a quick one; and up to a second more.
    """
    draw = random.Random(seed)
    moments = [(draw.uniform(1, all_files), draw.random()) for _ in commands]
    before, alive = count_files(root), 0
    going = dict(zip([start_command(words, root) for words in commands], moments, strict=True))
    while going:
        time.sleep(0.02)
        written = count_files(root) - before
        for process, (number, more) in list(going.items()):
            if written >= number or process.poll() is not None:
                time.sleep(more)
                alive += kill_group(process)
                del going[process]
    return alive


def table_rows(places: Places, table: Table) -> list[dict[str, Any]]:
    """All of a table, by its key."""
    found = DeltaTable(f"{places.lake}/{table.name}").to_pyarrow_table().select(table.names)
    return list(found.sort_by([(name, "ascending") for name in table.key]).to_pylist())


def have_equal_rows(one: Places, other: Places, tables: Sequence[Table]) -> bool:
    return all(table_rows(one, table) == table_rows(other, table) for table in tables)


def overlapping_halves(days: Sequence[date]) -> list[list[date]]:
    """Two runs of days that have the middle in common."""
    third = max(1, len(days) // 3)
    return [list(days[:-third]), list(days[third:])]


def night_command(day: date) -> list[str]:
    """The jobs of a night that read sequences, one after the other, in one shell."""
    as_of = ["--as-of", str(day)]
    jobs = [userbert_command(name, *as_of) for name in NIGHT_JOBS]
    return ["bash", "-c", " && ".join(map(shlex.join, jobs))]


@dataclass(frozen=True)
class Trials:
    """A lake of two models, to be copied; `quiet` holds what must come out."""

    spark: SparkSession
    template: Path
    quiet: Places
    model_id: str
    champion: str
    days: Sequence[date]
    all_files: int  # that a quiet run adds

    def finish(self, places: Places) -> None:
        """The last day's night under the champion, and all days of the second model."""
        lake, last = Lake(self.spark, places.lake), self.days[-1]
        user_sequences.update_user_sequences(lake, places, last)
        user_embeddings.update_user_embeddings(lake, places, last, self.champion)
        publish_day(lake, places, last)
        list(fill_days(lake, places, self.model_id, self.days))

    def trial(self, seed: int) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            places = Places(Path(folder) / "data")
            shutil.copytree(self.template, places.root)
            one, other = (
                backfill_command(self.model_id, part) for part in overlapping_halves(self.days)
            )
            beside = night_command(self.days[-1]) if seed % 2 else other
            began = time.monotonic()
            alive = run_and_kill([one, beside], places.root, seed, self.all_files)
            left = [table.name for table in COMPARED_TABLES if not _is_there(places, table)]
            self.finish(places)
            return {
                "seed": seed,
                "beside": "a night" if seed % 2 else "a backfill",
                "killed": alive,
                "not yet made": left,
                "same": have_equal_rows(places, self.quiet, COMPARED_TABLES),
                "seconds": round(time.monotonic() - began, 1),
            }


def _is_there(places: Places, table: Table) -> bool:
    return DeltaTable.is_deltatable(f"{places.lake}/{table.name}")


def small_lake(spark: SparkSession, root: Path, days: int) -> tuple[str, str, list[date]]:
    """A lake of few users, as the tests make it: (second model, champion, days)."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import small_backfill  # type: ignore[import-not-found]

    places = Places(root)
    champion, new = small_backfill.two_models(Lake(spark, places.lake), places)
    all_days = [small_backfill.FIRST + timedelta(days=n) for n in range(days)]
    small_backfill.write_sessions(places, all_days)
    return new, champion, all_days


def arg_parser() -> argparse.ArgumentParser:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--trials", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--first-seed", type=int, default=0, help="of the first (default: 0)")
    return parser


def main(trials: int, first_seed: int) -> int:
    with tempfile.TemporaryDirectory() as folder, session("backfill trials") as spark:
        template, quiet = Path(folder) / "template", Places(Path(folder) / "quiet")
        new, champion, days = small_lake(spark, template, 3)
        shutil.copytree(template, quiet.root)
        made = Trials(spark, template, quiet, new, champion, days, 0)
        made.finish(quiet)
        made = replace(made, all_files=count_files(quiet.root) - count_files(template))
        found = []
        for seed in range(first_seed, first_seed + trials):
            found.append(made.trial(seed))
            print_line(found[-1])
    good = sum(each["same"] for each in found)
    print_result(
        {
            "name": "backfills and a night, killed at the same time",
            "seeds": [first_seed, first_seed + trials - 1],
            "trials": trials,
            "same": good,
            "killed": sum(each["killed"] for each in found),
        }
    )
    return 0 if good == trials else 1


if __name__ == "__main__":
    sys.exit(main(**vars(arg_parser().parse_args())))
