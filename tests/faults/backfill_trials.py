"""Two backfills at a time, killed at random moments: do they end as one quiet run does?

    python -m tests.faults.backfill_trials [--trials 20] [--first-seed 0]

Each trial copies a small lake of its own making and starts `userbert backfill run` of a second
model together with another of overlapping days (even seeds) or with the jobs of a night under the
champion (odd seeds), ends each by kill -9 (its JVM too) at a drawn moment, does what is left of it,
and compares every row of user_sequences, user_embeddings and published_embeddings with what one
quiet run leaves.
"""

import random
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path

from pyspark.sql import SparkSession

from contracts.paths import Places
from contracts.tables import PUBLISHED_EMBEDDINGS, USER_EMBEDDINGS, USER_SEQUENCES
from spark_jobs.backfill.days import fill_days
from spark_jobs.lake.lake import Lake
from spark_jobs.spark.session import session
from spark_jobs.tables import user_embeddings, user_sequences
from spark_jobs.tables.published_embeddings import publish_day
from tests.faults.processes import count_files, kill_group, start_command, userbert_command
from tests.faults.trials import Ending, Trial, compared, main_of_trials

COMPARED_TABLES = (USER_SEQUENCES, USER_EMBEDDINGS, PUBLISHED_EMBEDDINGS)
NIGHT_JOBS = ("user-sequences", "user-embeddings", "published-embeddings")


def backfill_command(model_id: str, days: Sequence[date]) -> list[str]:
    first, last = str(days[0]), str(days[-1])
    return userbert_command("backfill", "run", "--from", first, "--to", last, "--model", model_id)


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

    def trial(self, seed: int, root: Path) -> Ending:
        places = Places(root)
        shutil.copytree(self.template, root)
        one, other = (
            backfill_command(self.model_id, part) for part in overlapping_halves(self.days)
        )
        beside = night_command(self.days[-1]) if seed % 2 else other
        alive = run_and_kill([one, beside], root, seed, self.all_files)
        self.finish(places)
        words = f"{alive} killed, one of them {'a night' if seed % 2 else 'another backfill'}"
        return compared(root, self.quiet.root, COMPARED_TABLES, 2, words)


def small_lake(spark: SparkSession, root: Path, days: int) -> tuple[str, str, list[date]]:
    """A lake of few users, as the tests make it: (second model, champion, days)."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import small_backfill  # type: ignore[import-not-found]

    places = Places(root)
    champion, new = small_backfill.two_models(Lake(spark, places.lake), places)
    all_days = [small_backfill.FIRST + timedelta(days=n) for n in range(days)]
    small_backfill.write_sessions(places, all_days)
    return new, champion, all_days


def backfill_trials(seeds: range, scratch: Path) -> Iterator[Trial]:
    template, quiet = scratch / "template", Places(scratch / "quiet")
    with session("backfill trials") as spark:
        new, champion, days = small_lake(spark, template, 3)
        shutil.copytree(template, quiet.root)
        made = Trials(spark, template, quiet, new, champion, days, 0)
        made.finish(quiet)
        made = replace(made, all_files=count_files(quiet.root) - count_files(template))
        for seed in seeds:
            yield Trial(
                "kill -9 of two backfills, or one and a night", seed, partial(made.trial, seed)
            )


if __name__ == "__main__":
    sys.exit(main_of_trials("backfill trials", __doc__, backfill_trials, 20))
