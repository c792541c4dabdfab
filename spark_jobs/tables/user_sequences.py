"""sessions to user_sequences: the newest views before a day of each user who is to be embedded.

userbert user-sequences --as-of DAY [--users auto|active|all]

A night takes who was active, who has a view of a session on the day before `as_of`, and who has a
view in the window of days before and no published vector yet: on the first night of a lake that is
everybody. `all` takes everybody in the window. Who was taken beyond the active ones stays when a
day is run again, so that a rerun is harmless. Views from `as_of` on are cut off, in the middle of a
session too.

The rows of a day are what was known when they were written: a view that lands later changes the
days that are written after it came, and an earlier one when that is run again.
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Annotated, Literal, cast, get_args

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.instants import DAY_MICROSECONDS, midnight_microseconds
from contracts.limits import MAX_HISTORY_VIEWS
from contracts.paths import Places
from contracts.settings.embedding import EmbeddingSettings
from contracts.tables import PUBLISHED_EMBEDDINGS, SESSIONS, USER_SEQUENCES
from contracts.terminal.options import AsOf, choice_option
from expectations.days.bounds import SEQUENCE_MEASURES
from expectations.gate import run_gate
from expectations.run_history import usual_expectations
from spark_jobs.lake.lake import Commit, Lake
from spark_jobs.spark.job_run import spark_job
from spark_jobs.spark.session import damaged_files_left_out
from spark_jobs.tables.usable_users import beyond_active, usable_users, users_between
from spark_jobs.transforms.session_views import OF_SESSION, sessions_between, views_of
from spark_jobs.transforms.user_batches import Ints, by_user, list_slices, to_micros, whole_users

# The mean history of whoever was active on the day before; of the others a run may take any number.
_ACTIVE_VIEWS = (
    "coalesce(avg(CASE WHEN last_view_time >= cast(as_of AS timestamp) - interval 1 day "
    "THEN num_views END), 0)"
)
WhichUsers = Literal["auto", "active", "all"]
_NEWEST_COLUMNS = (
    "as_of date, user_id string, title_ids array<bigint>, event_times array<timestamp>"
)


def to_sequences(sessions: DataFrame, as_of: date) -> DataFrame:
    """Each active user's newest views from before `as_of`, at most MAX_HISTORY_VIEWS, oldest first.

    Views of one instant stay in their session's order, which goes by log_id. One shuffle, on the
    user, and of the active ones alone: every task gets the list of them.
    """
    return _sequences_of_users(sessions, as_of, _active_users(sessions, as_of), window_days=1)


def _sequences_of_users(
    sessions: DataFrame, as_of: date, users: DataFrame, window_days: int
) -> DataFrame:
    theirs = sessions.join(F.broadcast(users), "user_id", "left_semi")
    return sequences_of(theirs, [as_of], window_days)


def _active_users(sessions: DataFrame, as_of: date) -> DataFrame:
    return users_between(sessions, as_of - timedelta(days=1), as_of)


def sequences_of(sessions: DataFrame, days: Sequence[date], window_days: int = 1) -> DataFrame:
    """The sequences as of each of `days` of whoever has a view in the window before it, by one
    shuffle for all of them. A window of one day is that of the active users."""
    begun = sessions.where(F.col("session_date") < F.lit(max(days)))
    return (
        by_user(begun, *OF_SESSION)
        .mapInArrow(partial(_newest, days=days, window_days=window_days), _NEWEST_COLUMNS)
        .withColumn("num_views", F.size("title_ids"))
        .withColumn("last_view_time", F.element_at("event_times", -1))
        .withColumn("sequence_hash", F.xxhash64("title_ids", "event_times"))
        .select(USER_SEQUENCES.names)
    )


def _newest(
    batches: Iterator[pa.RecordBatch], days: Sequence[date], window_days: int
) -> Iterator[pa.RecordBatch]:
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
                newest >= midnight_microseconds(as_of) - window_days * DAY_MICROSECONDS
            )
            taken: Ints = np.flatnonzero(here)
            # (T,) of the T users who are in the window
            low = np.maximum(views.user_starts, high - MAX_HISTORY_VIEWS)[taken]
            columns = [
                pa.array([as_of] * len(taken), pa.date32()),
                views.users.take(taken),
                list_slices(views.title_ids, low, high[taken]),
                list_slices(views.times, low, high[taken]),
            ]
            names = ["as_of", "user_id", "title_ids", "event_times"]
            yield pa.RecordBatch.from_arrays(columns, names)


def update_user_sequences(
    lake: Lake, places: Places, as_of: date, users: WhichUsers = "auto"
) -> Commit:
    """Replace the partition of `as_of`."""
    window_days = EmbeddingSettings.from_environment().window_days
    sessions = lake.read(SESSIONS)
    wanted = _wanted_users(lake, sessions, as_of, users, window_days)
    sequences = _sequences_of_users(sessions, as_of, wanted, window_days)
    usual = usual_expectations(
        places, USER_SEQUENCES, as_of, SEQUENCE_MEASURES, sql={"views_a_sequence": _ACTIVE_VIEWS}
    )
    passed = run_gate(sequences, USER_SEQUENCES, places=places, run=str(as_of), of_the_run=usual)
    return lake.replace(passed, f"as_of = '{as_of}'")


def _wanted_users(
    lake: Lake, sessions: DataFrame, as_of: date, users: WhichUsers, window_days: int
) -> DataFrame:
    """Whose sequences the day holds: each has a view in the window, which is scanned once."""
    if users == "all":
        return usable_users(sessions, as_of, window_days)
    kept = _kept_users(lake, as_of)
    if users == "active" and kept is None:
        return _active_users(sessions, as_of)
    since, day_before = as_of - timedelta(days=window_days), as_of - timedelta(days=1)
    usable = sessions_between(sessions, since, as_of).groupBy("user_id")
    wanted = F.col("last_end") >= F.lit(day_before).cast("timestamp")  # active
    candidates = usable.agg(F.max("end_time").alias("last_end"))
    if kept is not None:
        marked = F.broadcast(kept.withColumn("is_kept", F.lit(True)))
        candidates = candidates.join(marked, "user_id", "left")
        wanted |= F.col("is_kept").isNotNull()
    if users == "auto":
        published = lake.read_or_empty(PUBLISHED_EMBEDDINGS).where(F.col("as_of") < F.lit(as_of))
        embedded = published.select("user_id").distinct().withColumn("has_vector", F.lit(True))
        candidates = candidates.join(embedded, "user_id", "left")
        wanted |= F.col("has_vector").isNull()
    return candidates.where(wanted).select("user_id")


def _kept_users(lake: Lake, as_of: date) -> DataFrame | None:
    """Those whom the day holds beyond the active ones; None for nobody. A damaged file of it holds
    nobody: its rows are about to be replaced."""
    with damaged_files_left_out(lake.spark):
        held = lake.read_or_empty(USER_SEQUENCES).where(F.col("as_of") == F.lit(as_of))
        kept = beyond_active(held).select("user_id").toArrow()
    return lake.spark.createDataFrame(kept, "user_id string") if kept.num_rows else None


def main(
    as_of: AsOf,
    users: Annotated[
        str,
        choice_option(
            "--users",
            get_args(WhichUsers),
            "active: who viewed on the day before; all: everybody in the window; auto: the active "
            "ones, and everybody in the window without a published vector.",
        ),
    ] = "auto",
) -> None:
    places = Places.from_environment()
    with spark_job("user_sequences") as (spark, report):
        lake = Lake(spark, places.lake)
        report(update_user_sequences(lake, places, as_of, cast("WhichUsers", users)))
