"""The views inside sessions: of a window of time, and as flat arrays of whole users."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from spark_jobs.user_streams import TIME, Ints, differs, lengths_of, micros, numbered_users

OF_SESSION = ("start_time", "title_ids", "event_times")


def window(sessions: DataFrame, since: date, before: date) -> DataFrame:
    """The views of `sessions` from `since`'s first instant and before `before`'s, both UTC.

    Columns: user_id, start_time (of the whole session), title_ids, event_times. A session that
    crosses an edge is cut there.
    """
    end = F.lit(before).cast("timestamp")
    start = F.lit(since).cast("timestamp")
    low = F.when(F.col("start_time") < start, _count(lambda t: t < start)).otherwise(0)
    high = F.when(F.col("end_time") >= end, _count(lambda t: t < end)).otherwise(F.col("num_views"))
    inside = (F.col("session_date") < F.lit(before)) & (F.col("end_time") >= start)
    return (
        sessions.where(inside & (F.col("start_time") < end))
        .withColumns({"low": low, "high": high})
        .select("user_id", "start_time", _cut("title_ids"), _cut("event_times"))
    )


def _count(holds: Any) -> Column:
    return F.size(F.filter("event_times", holds))


def _cut(name: str) -> Column:
    whole = (F.col("low") == 0) & (F.col("high") == F.col("num_views"))
    part = F.slice(F.col(name), F.col("low") + 1, F.col("high") - F.col("low"))
    return F.when(whole, F.col(name)).otherwise(part).alias(name)


@dataclass(frozen=True)
class Views:
    """U users' S sessions' V views, end to end: users in a row, each one's oldest view first."""

    users: pa.Array[Any]  # (U,)
    user_starts: Ints  # (U,) index of each user's first view
    user_ends: Ints  # (U,) index behind each user's last view
    session_starts: Ints  # (S,) index of each session's first view
    title_ids: pa.Array[Any]  # (V,)
    times: pa.Array[Any]  # (V,)


def views_of(sessions: pa.RecordBatch) -> Views:
    """Whole users' sessions (user_hash, user_id, start_time, title_ids, event_times), laid flat."""
    users, who = numbered_users(sessions)
    order = np.lexsort((micros(sessions.column(2)), who))
    who = who[order]
    title_ids, times = (sessions.column(n).take(order) for n in (3, 4))
    lengths = lengths_of(title_ids)
    ends = np.cumsum(lengths)
    first = np.flatnonzero(differs(who))
    user_starts = (ends - lengths)[first]
    return Views(
        users=users.take(who[first]),
        user_starts=user_starts,
        user_ends=np.append(user_starts[1:], ends[-1]),
        session_starts=ends - lengths,
        title_ids=pc.list_flatten(title_ids),
        times=pc.list_flatten(times).cast(TIME),
    )
