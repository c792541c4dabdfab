"""sessions to sequence_pairs: two sequences of one user, A over before B begins, for pre-training.

A user's sessions of the window are packed into runs of whole sessions that follow one another,
and each run and the next make a pair. Which sessions are in which run is decided by counting:

- n = max(2, views / 100 rounded up) runs are aimed at, so that every user with two sessions has a
  pair and a long history has many;
- run k begins at the session start that is nearest to view k * views / n, the earlier of two; two
  that fall on the same start are one;
- a run of more than 100 views drops its oldest whole sessions until it fits; a last session that
  is longer by itself keeps its newest 100 views.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from functools import partial
from typing import Annotated

import numpy as np
import pyarrow as pa
import typer
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.limits import MAX_VIEWS, PRETRAINING_DAYS
from contracts.paths import Places
from contracts.tables import SEQUENCE_PAIRS, SESSIONS
from contracts.terminal.options import AsOf
from expectations.gate import run_gate
from spark_jobs.lake.lake import Commit, Lake
from spark_jobs.spark.job_run import spark_job
from spark_jobs.transforms.session_views import (
    OF_SESSION,
    Views,
    cut_to,
    sessions_between,
    views_of,
)
from spark_jobs.transforms.user_batches import (
    Ints,
    by_user,
    differs_from_previous,
    list_slices,
    whole_users,
)

_PAIR_COLUMNS = (
    "user_id string, pair_id int, "
    "a_title_ids array<bigint>, a_event_times array<timestamp>, "
    "b_title_ids array<bigint>, b_event_times array<timestamp>, "
    "a_start timestamp, a_end timestamp, b_start timestamp, b_end timestamp"
)


def to_pairs(sessions: DataFrame, as_of: date, days: int) -> DataFrame:
    """All pairs of each user's views in the `days` days before `as_of`. One shuffle, on the user.

    The same rows whatever the number of partitions: a user's pairs depend on that user alone.
    """
    since = as_of - timedelta(days=days)
    return (
        by_user(sessions_between(sessions, since, as_of), *OF_SESSION)
        .mapInArrow(partial(_paired, since=since, before=as_of), _PAIR_COLUMNS)
        .withColumn("as_of", F.lit(as_of))
        .select(SEQUENCE_PAIRS.names)
    )


def _paired(
    batches: Iterator[pa.RecordBatch], since: date, before: date
) -> Iterator[pa.RecordBatch]:
    for sessions in whole_users(batches):
        yield _pairs(cut_to(views_of(sessions), since, before))


def _pairs(views: Views) -> pa.RecordBatch:
    starts = run_starts(views)
    user = np.searchsorted(views.user_starts, starts, "right") - 1  # (R,) whose run it is
    ends = np.append(starts[1:], len(views.times))
    ends = np.minimum(ends, views.user_ends[user])
    low = trimmed_starts(starts, ends, views.session_starts)
    # (P,) each pair's A; its B is the run after it
    a = np.flatnonzero(user[1:] == user[:-1])  # runs that another of the same user follows
    b = a + 1
    first = np.flatnonzero(differs_from_previous(user[a])) if len(a) else a
    pair_id = np.arange(len(a)) - np.repeat(first, np.diff(np.append(first, len(a))))
    columns = [
        views.users.take(user[a]),
        pa.array(pair_id, pa.int32()),
        list_slices(views.title_ids, low[a], ends[a]),
        list_slices(views.times, low[a], ends[a]),
        list_slices(views.title_ids, low[b], ends[b]),
        list_slices(views.times, low[b], ends[b]),
        *(views.times.take(i) for i in (low[a], ends[a] - 1, low[b], ends[b] - 1)),
    ]
    return pa.RecordBatch.from_arrays(columns, [c.split()[0] for c in _PAIR_COLUMNS.split(", ")])


def run_starts(views: Views) -> Ints:
    """Index of the first view of each run, ascending, for the users with two sessions or more."""
    starts, sessions = views.user_starts, views.session_starts
    first_session = np.searchsorted(sessions, starts)
    last_session = np.append(first_session[1:], len(sessions)) - 1
    several = last_session > first_session
    num_views = views.user_ends - starts
    num_runs = np.where(several, np.maximum(2, -(-num_views // MAX_VIEWS)), 1)

    # (R,) one for each run but a user's first, which begins at the user's first view
    user = np.repeat(np.arange(len(starts)), num_runs - 1)
    k = np.arange(len(user)) - np.repeat(np.cumsum(num_runs - 1) - (num_runs - 1), num_runs - 1) + 1
    n, wanted = num_runs[user], k * num_views[user]  # n times the view, to keep whole numbers
    # (R,) the session start at or before the wanted view, and the one after it
    before = np.searchsorted(sessions, starts[user] + wanted // n, "right") - 1
    before = np.clip(before, first_session[user] + 1, last_session[user])
    after = np.minimum(before + 1, last_session[user])
    short = np.abs(wanted - n * (sessions[before] - starts[user]))
    over = np.abs(wanted - n * (sessions[after] - starts[user]))
    nearest = sessions[np.where(over < short, after, before)]
    return np.unique(np.concatenate((starts[several], nearest)))


def trimmed_starts(starts: Ints, ends: Ints, sessions: Ints) -> Ints:
    """Where each run begins once it fits: at a session's start, or inside its last session.

    Shapes: R runs, S sessions; all are indices of views.
    """
    fits = ends - MAX_VIEWS  # (R,) the first view that still fits
    place = np.searchsorted(sessions, fits)
    session = np.append(sessions, np.iinfo(np.int64).max)[place]
    return np.maximum(starts, np.where(session < ends, session, fits))


def update_sequence_pairs(lake: Lake, places: Places, as_of: date, days: int) -> Commit:
    """Replace the partition of `as_of`."""
    pairs = to_pairs(lake.read(SESSIONS), as_of, days)
    passed = run_gate(pairs, SEQUENCE_PAIRS, places=places, run=str(as_of))
    return lake.replace(passed, f"as_of = '{as_of}'", days=days)


def main(
    as_of: AsOf,
    days: Annotated[
        int, typer.Option("--days", help="Days of history before it; the paper has six months.")
    ] = PRETRAINING_DAYS,
) -> None:
    places = Places.from_environment()
    with spark_job("sequence_pairs") as (spark, report):
        report(update_sequence_pairs(Lake(spark, places.lake), places, as_of, days))
