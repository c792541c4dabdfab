"""browsing_logs to sessions: runs of one user's views with no gap of more than SESSION_GAP_MINUTES.

The table is a function of browsing_logs alone, so it does not matter in which order, how late or
in how many files views came. The first run cuts everything. A later one looks at what changed in
browsing_logs since, and cuts anew what that can touch: each changed UTC day of a user, and the
sessions within the gap of it, which may have begun on another day. If the gap itself has changed
since the last run, everything is cut anew.

A user's UTC day of more than MAX_VIEWS_A_DAY views is a machine's. Its views stay in
browsing_logs and are in no session; each commit's measures count those among the views that it
cut as views_set_aside.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.instants import DAY_MICROSECONDS
from contracts.limits import MAX_VIEWS_A_DAY, SESSION_GAP, SESSION_GAP_MINUTES
from contracts.paths import Places
from contracts.tables import BROWSING_LOGS, SESSIONS
from expectations.gate import run_gate
from spark_jobs.lake.lake import Commit, Lake
from spark_jobs.spark.job_run import spark_job
from spark_jobs.transforms.user_batches import (
    TIME_TYPE,
    by_user,
    differs_from_previous,
    numbered_users,
    to_micros,
    whole_users,
)

_GAP_MICROSECONDS = SESSION_GAP // timedelta(microseconds=1)
_UNRECORDED_GAP_MINUTES = 30  # of the sessions whose commits do not name the gap that cut them
_CUT_COLUMNS = (
    "user_id string, start_time timestamp, end_time timestamp, "
    "title_ids array<bigint>, event_times array<timestamp>"
)
_GAP_INTERVAL = f"interval {SESSION_GAP_MINUTES} minutes"


def to_sessions(views: DataFrame, max_views_a_day: int = MAX_VIEWS_A_DAY) -> DataFrame:
    """Cut each user's `views` (user_id, event_time, log_id, title_id) into sessions.

    Views go by event_time, then by log_id. One shuffle, on the user.
    """
    return (
        by_user(views, "event_time", "log_id", "title_id")
        .mapInArrow(partial(_cut_all, limit=max_views_a_day), _CUT_COLUMNS)
        .withColumn("session_date", F.to_date("start_time"))
        .withColumn("session_id", session_id())
        .withColumn("num_views", F.size("title_ids"))
        .select(SESSIONS.names)
    )


def session_id() -> Column:
    """Of a session's user_id and start_time."""
    return F.xxhash64("user_id", "start_time")


def _cut_all(batches: Iterator[pa.RecordBatch], limit: int) -> Iterator[pa.RecordBatch]:
    for users in whole_users(batches, partial(_few_a_day, limit=limit)):
        yield _cut(users, limit)


def _few_a_day(views: pa.RecordBatch, limit: int) -> pa.RecordBatch:
    """At most `limit` + 1 views of each user's UTC day: enough to see that it is a machine's.

    So a bot's millions of views pass without filling memory.
    """
    _, who = numbered_users(views)
    day = to_micros(views.column(2)) // DAY_MICROSECONDS
    order = np.lexsort((day, who))  # (V,) a user's day in a row
    starts = np.flatnonzero(differs_from_previous(who[order]) | differs_from_previous(day[order]))
    place = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    return views.take(np.sort(order[place <= limit]))


def _cut(views: pa.RecordBatch, limit: int) -> pa.RecordBatch:
    """Whole users' views to their sessions, without the days of more than `limit` views."""
    users, who = numbered_users(views)
    times = to_micros(views.column(2))
    order = np.lexsort((views.column(3).to_numpy(), times, who))
    who, times = who[order], times[order]  # (V,) each user's oldest view first
    days = np.flatnonzero(
        differs_from_previous(who) | differs_from_previous(times // DAY_MICROSECONDS)
    )
    views_of_day = np.diff(np.append(days, len(order)))
    if views_of_day.max() > limit:
        few = np.repeat(views_of_day <= limit, views_of_day)
        order, who, times = order[few], who[few], times[few]
    first = differs_from_previous(who)
    # A session begins at a user's first view, and after each silence that is longer than the gap.
    first[1:] |= np.diff(times) > _GAP_MICROSECONDS
    starts = np.flatnonzero(first)  # (S,) index of each session's first view
    ends = np.append(starts, len(times))[1:]
    at = pa.array(times).cast(TIME_TYPE)
    bounds = pa.array(np.append(starts, len(times)), pa.int32())
    columns = [
        users.take(who[starts]),
        at.take(starts),
        at.take(ends - 1),
        pa.ListArray.from_arrays(bounds, pa.array(views.column(4).to_numpy()[order])),
        pa.ListArray.from_arrays(bounds, at),
    ]
    return pa.RecordBatch.from_arrays(
        columns, [column.split()[0] for column in _CUT_COLUMNS.split(", ")]
    )


def changed_days(changes: DataFrame) -> DataFrame:
    """(user_id, event_date) of the users' days whose views are not what they were.

    A view that was removed and came back the same, as when a day is ingested again, is no change.
    """
    net = F.sum(F.when(F.col("added"), 1).otherwise(-1))
    return (
        changes.groupBy("event_date", "user_id", "event_time", "log_id", "title_id")
        .agg(net.alias("net"))
        .where("net <> 0")
        .select("user_id", "event_date")
        .distinct()
    )


def _touched_sessions(sessions: DataFrame, changed: DataFrame) -> DataFrame:
    """The sessions of a changed user that come within the session gap of the changed day."""
    near = (
        (F.col("sessions.user_id") == F.col("changed.user_id"))
        & (F.expr(f"start_time - {_GAP_INTERVAL}") < F.date_add("event_date", 1).cast("timestamp"))
        & (F.expr(f"end_time + {_GAP_INTERVAL}") >= F.col("event_date").cast("timestamp"))
    )
    return sessions.alias("sessions").join(changed.alias("changed"), near, "left_semi")


def _views_to_cut(views: DataFrame, changed: DataFrame, touched: DataFrame) -> DataFrame:
    """The views of the changed days, whole, and of the touched sessions, each view once.

    No other view of the same user is within the session gap of one of them, or it would be in a
    session that is touched; so they can be cut without the rest.
    """
    day, next_day = F.col("event_date"), F.date_add("event_date", 1)
    days = changed.select(
        F.col("user_id").alias("who"),
        day.cast("timestamp").alias("low"),
        (next_day.cast("timestamp") - F.expr("interval 1 microsecond")).alias("high"),
    )
    spans = days.unionByName(
        touched.select(
            F.col("user_id").alias("who"),
            F.col("start_time").alias("low"),
            F.col("end_time").alias("high"),
        )
    )
    inside = (F.col("user_id") == F.col("who")) & F.expr("event_time between low and high")
    return views.join(spans, inside, "left_semi")


def _near_days(days: Sequence[date]) -> Column:
    """Which sessions can touch `days` at all; Delta skips files by the bounds of their times."""
    near = F.lit(False)
    for first, last in runs_of_days(days):
        after = F.col("end_time") >= F.lit(first).cast("timestamp") - F.expr(_GAP_INTERVAL)
        before = F.col("start_time") < F.date_add(F.lit(last), 1).cast("timestamp") + F.expr(
            _GAP_INTERVAL
        )
        near = near | (after & before)
    return near


def runs_of_days(days: Sequence[date]) -> list[tuple[date, date]]:
    """First and last of each run of days that follow one another."""
    runs: list[tuple[date, date]] = []
    for day in sorted(set(days)):
        if runs and day - runs[-1][1] == timedelta(days=1):
            runs[-1] = (runs[-1][0], day)
        else:
            runs.append((day, day))
    return runs


@dataclass(frozen=True)
class _Cut:
    """Sessions that replace those for which `where` holds, and the number of views in none."""

    sessions: DataFrame
    where: str
    num_views_set_aside: Callable[[DataFrame], int]  # of the sessions, once they are computed


def _cut_all_views(views: DataFrame) -> _Cut:
    return _Cut(to_sessions(views), "true", lambda sessions: views.count() - _num_views(sessions))


def _cut_changed_views(lake: Lake, views: DataFrame, changes: DataFrame) -> _Cut | None:
    """All sessions of the partitions that `changes` can touch.

    None where nothing changed. The sessions that are not touched are kept as they are: a MERGE
    would read and write the same files, one or a few a day, and check the new rows alone.
    """
    changed = changed_days(changes).persist()
    days = _dates(changed, F.col("event_date"))
    if not days:
        return None
    sessions = lake.read(SESSIONS)
    touched = _touched_sessions(sessions.where(_near_days(days)), changed).persist()
    spanned = F.explode(F.sequence("session_date", F.to_date("end_time")))
    days = sorted({*days, *_dates(touched, spanned)})
    here = _views_to_cut(views.where(F.col("event_date").isin(days)), changed, touched)
    new = to_sessions(here).persist()
    kept = sessions.where(F.col("session_date").isin(days))
    kept = kept.join(touched.select(*SESSIONS.key), [*SESSIONS.key], "left_anti")
    where = f"session_date in ({', '.join(repr(str(day)) for day in days)})"
    every = kept.select(SESSIONS.names).unionByName(new)
    return _Cut(every, where, lambda _: here.count() - _num_views(new))


def _dates(frame: DataFrame, column: Column) -> list[date]:
    return [row[0] for row in frame.select(column.alias("day")).distinct().collect()]


def update_sessions(lake: Lake, places: Places) -> Commit | None:
    """Bring the table to what browsing_logs holds, in one commit with the version that was read.

    None where nothing is new. Safe to repeat, and while another run is under way.
    """
    gap_changed = _recorded_gap_minutes(lake) != SESSION_GAP_MINUTES
    logs = lake.unprocessed(SESSIONS, BROWSING_LOGS, start_over=gap_changed)
    if logs is None:
        return None
    cut = (
        _cut_all_views(logs.rows)
        if logs.changes is None
        else _cut_changed_views(lake, logs.rows, logs.changes)
    )
    provenance = {
        "watermark": {BROWSING_LOGS.name: logs.version},
        "session_gap_minutes": SESSION_GAP_MINUTES,
    }
    if cut is None:
        return lake.mark(SESSIONS, **provenance)
    frame = cut.sessions.hint("rebalance", "session_date")
    passed = run_gate(frame, SESSIONS, places=places, run=f"browsing_logs-{logs.version}")
    aside = cut.num_views_set_aside(passed.frame)
    passed = replace(passed, measures={**passed.measures, "views_set_aside": aside})
    return lake.replace(passed, cut.where, **provenance)


def _recorded_gap_minutes(lake: Lake) -> int:
    """The session gap by which the table's sessions were cut."""
    return int(lake.metadata(SESSIONS).get("session_gap_minutes", _UNRECORDED_GAP_MINUTES))


def _num_views(sessions: DataFrame) -> int:
    total = sessions.agg(F.sum("num_views")).first()
    return int(total[0] or 0) if total else 0


def main() -> None:
    places = Places.from_environment()
    with spark_job("sessions") as (spark, report):
        lake = Lake(spark, places.lake)
        commit = lake.settle(SESSIONS, lambda: update_sessions(lake, places))
        report(commit, **(lake.measures(SESSIONS) if commit else {}))
