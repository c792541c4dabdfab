"""sessions to user_sequences: the newest views before a day of each user who was active just then.

Active is who has a view of a session on the day before `as_of`. Views from `as_of` on are cut off,
in the middle of a session too. The day's partition is replaced, so a rerun is harmless.

The rows of a day are what was known when they were written: a view that lands later changes the
days that are written after it came, and an earlier one when that is run again.
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from functools import partial

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.instants import DAY_MICROSECONDS, midnight_microseconds
from contracts.limits import MAX_HISTORY_VIEWS
from contracts.paths import Places
from contracts.tables import SESSIONS, USER_SEQUENCES
from contracts.terminal.options import AsOf
from expectations.gate import run_gate
from spark_jobs.lake.lake import Commit, Lake
from spark_jobs.spark.job_run import spark_job
from spark_jobs.transforms.session_views import OF_SESSION, sessions_between, views_of
from spark_jobs.transforms.user_batches import Ints, by_user, list_slices, to_micros, whole_users

_NEWEST_COLUMNS = (
    "as_of date, user_id string, title_ids array<bigint>, event_times array<timestamp>"
)


def to_sequences(sessions: DataFrame, as_of: date) -> DataFrame:
    """Each active user's newest views from before `as_of`, at most MAX_HISTORY_VIEWS, oldest first.

    Views of one instant stay in their session's order, which goes by log_id. One shuffle, on the
    user, and of the active ones alone: every task gets the list of them.
    """
    active = (
        sessions_between(sessions, as_of - timedelta(days=1), as_of).select("user_id").distinct()
    )
    return sequences_of(sessions.join(F.broadcast(active), "user_id", "left_semi"), [as_of])


def sequences_of(sessions: DataFrame, days: Sequence[date]) -> DataFrame:
    """What `to_sequences` gives for each of `days`, by one shuffle for all of them."""
    begun = sessions.where(F.col("session_date") < F.lit(max(days)))
    return (
        by_user(begun, *OF_SESSION)
        .mapInArrow(partial(_newest, days=days), _NEWEST_COLUMNS)
        .withColumn("num_views", F.size("title_ids"))
        .withColumn("last_view_time", F.element_at("event_times", -1))
        .withColumn("sequence_hash", F.xxhash64("title_ids", "event_times"))
        .select(USER_SEQUENCES.names)
    )


def _newest(batches: Iterator[pa.RecordBatch], days: Sequence[date]) -> Iterator[pa.RecordBatch]:
    for sessions in whole_users(batches):
        views = views_of(sessions)
        times = to_micros(views.times)
        for as_of in days:
            # (V + 1,) number of views before each index that are from before `as_of`
            earlier = np.concatenate(([0], np.cumsum(times < midnight_microseconds(as_of))))
            high = views.user_starts + earlier[views.user_ends] - earlier[views.user_starts]
            # (U,) each user's newest of these views; `here` leaves out the users who have none
            newest = times[np.maximum(high - 1, 0)]
            here = (high > views.user_starts) & (
                newest >= midnight_microseconds(as_of) - DAY_MICROSECONDS
            )
            active: Ints = np.flatnonzero(here)
            # (A,) of the A active users
            low = np.maximum(views.user_starts, high - MAX_HISTORY_VIEWS)[active]
            columns = [
                pa.array([as_of] * len(active), pa.date32()),
                views.users.take(active),
                list_slices(views.title_ids, low, high[active]),
                list_slices(views.times, low, high[active]),
            ]
            names = ["as_of", "user_id", "title_ids", "event_times"]
            yield pa.RecordBatch.from_arrays(columns, names)


def update_user_sequences(lake: Lake, places: Places, as_of: date) -> Commit:
    """Replace the partition of `as_of`."""
    sequences = to_sequences(lake.read(SESSIONS), as_of)
    passed = run_gate(sequences, USER_SEQUENCES, places=places, run=str(as_of))
    return lake.replace(passed, f"as_of = '{as_of}'")


def main(as_of: AsOf) -> None:
    places = Places.from_environment()
    with spark_job("user_sequences") as (spark, report):
        report(update_user_sequences(Lake(spark, places.lake), places, as_of))
