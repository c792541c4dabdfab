"""Vectors of past days under a named model: which days have them, and writing the others.

A day is finished when user_sequences and user_embeddings hold, for each user who was active just
before it and for whoever the day holds beyond them, what the nightly jobs would write now; those
same jobs do the writing. So a backfill may be killed at any moment, run again, or run several times
side by side: finished days are left alone.
"""

import itertools
import time as clock
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import reduce

from delta.exceptions import DeltaConcurrentModificationException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.paths import Places
from contracts.settings.embedding import EmbeddingSettings
from contracts.tables import (
    PUBLISHED_EMBEDDINGS,
    SESSIONS,
    USER_EMBEDDINGS,
    USER_SEQUENCES,
    Table,
)
from spark_jobs.backfill.day import Day, FilledDay, JobCost
from spark_jobs.backfill.day_locks import DayLocks
from spark_jobs.lake.lake import Commit, Lake
from spark_jobs.spark.process_cost import ProcessCost, measure_peak, measure_processes
from spark_jobs.tables import user_embeddings, user_sequences
from spark_jobs.tables.usable_users import beyond_active, coverage_measures
from spark_jobs.tables.user_sequences import sequences_of

_DAYS_AT_ONCE = 31  # whose sequences one Spark job computes again
_ASSUMED_BYTES_A_ROW = 1_200.0  # 256 floats, and 20 views' ids and times, take about that
_MAX_ATTEMPTS = 5  # at a day whose tables other writers keep changing
_WRITTEN_DAYS = itertools.count()  # by this process: its first one also warms it up
_COMPARED_COLUMNS = ("as_of", "user_id", "content", "sequence_hash", "last_view_time")


def published_days(lake: Lake) -> list[date]:
    """The days that readers have now, oldest first."""
    rows = lake.read_or_empty(PUBLISHED_EMBEDDINGS).select("as_of").distinct().collect()
    return sorted(row["as_of"] for row in rows)


def num_vectors(lake: Lake, table: Table) -> dict[tuple[str, date], int]:
    """How many vectors there are of each (model_id, as_of)."""
    counts = lake.read_or_empty(table).groupBy("model_id", "as_of").count().collect()
    return {(row["model_id"], row["as_of"]): row["count"] for row in counts}


def bytes_a_row(lake: Lake, table: Table) -> float:
    """Of the table's files now; a guess for an empty one."""
    if not lake.exists(table) or not (rows := lake.read(table).count()):
        return _ASSUMED_BYTES_A_ROW
    return lake.log(table).size_bytes() / rows


def survey_days(lake: Lake, model_id: str, days: Sequence[date]) -> list[Day]:
    """What each day holds, in the order of `days`; reads, and writes nothing."""
    parts = (days[i : i + _DAYS_AT_ONCE] for i in range(0, len(days), _DAYS_AT_ONCE))
    found = {day.as_of: day for part in parts for day in _survey_some_days(lake, model_id, part)}
    return [found.get(day, Day(day, 0, 0, 0, 0, 0)) for day in days]


def _survey_some_days(lake: Lake, model_id: str, days: Sequence[date]) -> Iterator[Day]:
    of_days = F.col("as_of").isin(list(days))
    sequences = lake.read_or_empty(USER_SEQUENCES).where(of_days)
    due = _due_sequences(lake, sequences, days)
    vectors = lake.read_or_empty(USER_EMBEDDINGS).where(of_days & (F.col("model_id") == model_id))
    for row in _compare_with_due(due, sequences, vectors).collect():
        yield Day(**row.asDict())


def _due_sequences(lake: Lake, sequences: DataFrame, days: Sequence[date]) -> DataFrame:
    """What the jobs would write now: the active users, and who else is in the day already."""
    sessions = lake.read(SESSIONS)
    active = sequences_of(sessions, days)
    others = beyond_active(sequences).select("as_of", "user_id")
    days_with_others = [row["as_of"] for row in others.select("as_of").distinct().collect()]
    if not days_with_others:
        return active
    window_days = EmbeddingSettings.from_environment().window_days
    in_window = beyond_active(sequences_of(sessions, days_with_others, window_days))
    return active.union(in_window.join(others, ["as_of", "user_id"], "left_semi"))


def _embedded_days(lake: Lake, model_id: str) -> set[date]:
    return {day for model, day in num_vectors(lake, USER_EMBEDDINGS) if model == model_id}


def embed_everybody(lake: Lake, places: Places, model_id: str) -> None:
    """Make vectors of everybody in the window, as of the newest day that readers have, under a
    model that is about to be published. What is there already is left alone."""
    days = {*published_days(lake), *_embedded_days(lake, model_id)}
    if not days or not lake.exists(SESSIONS):
        return
    newest, window_days = max(days), EmbeddingSettings.from_environment().window_days
    sequences = lake.read_or_empty(USER_SEQUENCES).where(F.col("as_of") == F.lit(newest))
    lacking = coverage_measures(lake, newest, window_days, sequences)
    if lacking["users_without_vector"]:
        user_sequences.update_user_sequences(_fresh(lake), places, newest, "all")
    list(fill_days(lake, places, model_id, [newest]))


def _compare_with_due(due: DataFrame, sequences: DataFrame, vectors: DataFrame) -> DataFrame:
    """A row of `Day`'s columns for each as_of that any of the three frames has.

    `due` and `sequences` have user_sequences' columns, `vectors` user_embeddings'.
    """
    content = F.xxhash64("title_ids", "event_times")
    each = [
        frame.withColumn("content", hashed).select(
            *_COMPARED_COLUMNS, F.lit(source).alias("source")
        )
        for source, frame, hashed in (
            ("due", due, content),
            ("sequence", sequences, content),
            ("vector", vectors, F.lit(None).cast("bigint")),
        )
    ]
    users = reduce(DataFrame.unionByName, each).groupBy("as_of", "user_id")
    by_source = users.agg(*(_of(source) for source in ("due", "sequence", "vector")))
    same_sequence = F.col("due.content").eqNullSafe(F.col("sequence.content"))
    same_vector = F.lit(True)
    for name in ("sequence_hash", "last_view_time"):
        same_vector &= F.col(f"due.{name}").eqNullSafe(F.col(f"vector.{name}"))
    return by_source.groupBy("as_of").agg(
        _number(F.col("due").isNotNull(), "users"),
        _number(F.col("sequence").isNotNull(), "sequences"),
        _number(~same_sequence, "sequences_differ"),
        _number(F.col("vector").isNotNull(), "vectors"),
        _number(~same_vector, "vectors_differ"),
        _number(F.expr("due is not null and sequence is null"), "sequences_missing"),
        _number(F.expr("due is null and sequence is not null"), "sequences_left"),
        _number(F.expr("due is not null and vector is null"), "vectors_missing"),
        _number(F.expr("due is null and vector is not null"), "vectors_left"),
    )


def _of(source: str) -> Column:
    facts = F.struct("content", "sequence_hash", "last_view_time")
    return F.max(F.when(F.col("source") == source, facts)).alias(source)


def _number(holds: Column, name: str) -> Column:
    return F.count_if(holds).alias(name)


def _write_day(lake: Lake, places: Places, model_id: str, day: Day) -> tuple[JobCost, ...]:
    """Write what the night of `day` would have written, by the nightly jobs; only what lacks."""
    jobs: list[Callable[[], Commit]] = []
    if day.sequences_to_write:
        update = user_sequences.update_user_sequences
        jobs.append(lambda: update(_fresh(lake), places, day.as_of, "active"))
    if day.vectors_to_write:
        embed = user_embeddings.update_user_embeddings
        jobs.append(lambda: embed(_fresh(lake), places, day.as_of, model_id))
    return tuple(_measured_cost(write) for write in jobs)


def _measured_cost(write: Callable[[], Commit]) -> JobCost:
    with measure_processes() as taken:
        commit = write()
    return JobCost(commit, taken)


def _fresh(lake: Lake) -> Lake:
    """A lake that has read nothing, so that a commit names only what its own job read."""
    return Lake(lake.spark, lake.root)


def fill_days(
    lake: Lake,
    places: Places,
    model_id: str,
    days: Sequence[date],
    expect: Callable[[int], object] = lambda unfinished: None,
) -> Iterator[FilledDay]:
    """Fill each of `days` that is not finished; yields each when it is done.

    A day that another backfill is writing is left for the end, and surveyed again then.
    `expect` is called with the number of days that there will be.
    """
    locks = DayLocks(places.root / "backfill")
    surveyed = clock.time()
    with measure_processes() as survey:
        waiting = [day for day in survey_days(lake, model_id, days) if not day.finished]
    expect(len(waiting))
    for wait in (False, True):
        left = []
        for day in waiting:
            with locks.lock(day.as_of, wait) as lock:
                if not lock:
                    left.append(day)
                    continue
                current = day if lock.is_untouched_since(surveyed) else None
                yield _fill_day(lake, places, model_id, day.as_of, current, survey)
                lock.touch()
        waiting = left


def _fill_day(
    lake: Lake,
    places: Places,
    model_id: str,
    as_of: date,
    day: Day | None,
    survey: ProcessCost,
) -> FilledDay:
    """Write one day; `day` is what the survey said about it, if that still holds."""
    began = clock.monotonic()
    for attempt in range(_MAX_ATTEMPTS):
        day = day or survey_days(lake, model_id, [as_of])[0]
        try:
            with measure_peak() as peak:
                costs = _write_day(lake, places, model_id, day)
        except DeltaConcurrentModificationException:
            if attempt == _MAX_ATTEMPTS - 1:
                raise
            day = None
            continue
        is_first = bool(costs) and not next(_WRITTEN_DAYS)
        return FilledDay(day, costs, clock.monotonic() - began, peak.bytes, is_first, survey)
    raise AssertionError
