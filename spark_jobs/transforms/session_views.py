"""The views inside sessions, as flat arrays of whole users, and cut to a window of time.

Cutting is left to numpy: by Spark's expressions, which copy each array, it took half as long as
reading all sessions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.instants import midnight_microseconds
from spark_jobs.transforms.user_batches import (
    TIME_TYPE,
    Ints,
    differs_from_previous,
    lengths_of,
    numbered_users,
    to_micros,
)

OF_SESSION = ("start_time", "title_ids", "event_times")


def sessions_between(sessions: DataFrame, since: date, before: date) -> DataFrame:
    """The whole sessions with a view from `since`'s first instant on and before `before`'s, UTC.

    Views follow one another within the session gap, so who is here on both sides of a day is in it.
    """
    ends = F.col("end_time") >= F.lit(since).cast("timestamp")
    return sessions.where((F.col("session_date") < F.lit(before)) & ends)


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
    order = np.lexsort((to_micros(sessions.column(2)), who))
    title_ids, times = (sessions.column(n).take(order) for n in (3, 4))
    flat = pc.list_flatten(title_ids), pc.list_flatten(times).cast(TIME_TYPE)
    return _laid_out(users, who[order], lengths_of(title_ids), *flat)


def cut_to(views: Views, since: date, before: date) -> Views:
    """Those from `since`'s first instant on and before `before`'s; a session that crosses an edge
    is cut there, and of each session some view must be left."""
    times = to_micros(views.times)
    inside = (times >= midnight_microseconds(since)) & (times < midnight_microseconds(before))
    if inside.all():
        return views
    who = np.searchsorted(views.user_starts, views.session_starts, "right") - 1
    # (S,) views of each session that are inside
    lengths = np.add.reduceat(inside, views.session_starts, dtype=np.int64)
    kept = pa.array(inside)
    flat = views.title_ids.filter(kept), views.times.filter(kept)
    return _laid_out(views.users, who, lengths, *flat)


def _laid_out(
    users: pa.Array[Any], who: Ints, lengths: Ints, title_ids: pa.Array[Any], times: pa.Array[Any]
) -> Views:
    """`who` (S,), ascending, is the index in `users` of each session; `lengths` (S,) its views."""
    ends = np.cumsum(lengths)  # (S,) index behind each session's last view
    # (U,) each user's first session
    first = np.flatnonzero(differs_from_previous(who))
    user_starts = (ends - lengths)[first]
    return Views(
        users=users.take(who[first]),
        user_starts=user_starts,
        user_ends=np.append(user_starts[1:], ends[-1]),
        session_starts=ends - lengths,
        title_ids=title_ids,
        times=times,
    )
