"""Do Feast's historical features equal the table as of each time? Asked at fixed points."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from contracts.errors import GateFailed
from feature_store.definitions import USER_KEY
from feature_store.published import Published
from feature_store.store import Store, utc_midnight

_USER_STEP, _MINUTE_STEP = (
    7_919,
    104_729,
)  # primes, so that users and times fall beside each other anew
_MARGIN = timedelta(days=2)  # before the first day, where nobody has a vector, and after the last
_MAX_NAMED = 3  # points that an error names
_POINT_NUMBER = "place"  # a point's number, from 0


def sample_points(published: Published, number: int) -> pd.DataFrame:
    """`number` points (user_id, event_timestamp), equal for equal tables.

    Every third is a midnight, at whose very instant the vector of that day counts already, and
    another third the microsecond before one, at which it does not.
    """
    users = published.users()
    first = utc_midnight(published.days[0]) - _MARGIN
    minutes = int((utc_midnight(published.days[-1]) + _MARGIN - first) / timedelta(minutes=1))
    times = [_time(first + timedelta(minutes=i * _MINUTE_STEP % minutes), i) for i in range(number)]
    return pd.DataFrame(
        {
            USER_KEY: [users[i * _USER_STEP % len(users)] for i in range(number)],
            "event_timestamp": pd.to_datetime(times, utc=True),
            _POINT_NUMBER: range(number),
        }
    )


def _time(at: datetime, number: int) -> datetime:
    midnight_before = datetime(at.year, at.month, at.day, tzinfo=UTC)
    return (at, midnight_before, midnight_before - timedelta(microseconds=1))[number % 3]


def check_points(store: Store, published: Published, number: int) -> str:
    """One line when Feast and a plain query agree at all points; `GateFailed` when they do not."""
    points = sample_points(published, number)
    found = store.history(points).sort_values(_POINT_NUMBER)
    expected = published.newest_before(points)
    if differing := list(_differences(points, found, expected)):
        raise GateFailed(
            f"Feast's historical features ({store.offline}) are not what the table holds as of "
            f"{number:,} points: {'; '.join(differing)}"
        )
    known = sum(row is not None for row in expected)
    return (
        f"history ({store.offline}): {number:,} of {number:,} points equal a plain query, "
        f"{known:,} with a vector, {number - known:,} before the user's first; 0 newer than asked"
    )


def _differences(
    points: pd.DataFrame, found: pd.DataFrame, expected: list[tuple[int, list[float]] | None]
) -> Iterator[str]:
    ours = list(zip(found["sequence_hash"], found["embedding"], strict=True))
    if len(ours) != len(points):
        yield f"{len(ours):,} rows came back"
        return
    users = list(points[USER_KEY])
    wrong = [user for user, a, b in zip(users, ours, expected, strict=True) if not _is_same(a, b)]
    if wrong:
        yield f"{len(wrong):,} differ, e.g. of {', '.join(wrong[:_MAX_NAMED])}"
    views = pd.to_datetime(found["last_view_time"], utc=True).to_numpy()
    newer = int((views >= points["event_timestamp"].to_numpy()).sum())
    if newer:
        yield f"{newer:,} hold a view from the time asked or later"


def _is_same(ours: tuple[Any, Any], theirs: tuple[int, list[float]] | None) -> bool:
    """Both none, or the same sequence and, float by float, the same vector."""
    if theirs is None or pd.isna(ours[0]):
        return theirs is None and bool(pd.isna(ours[0]))
    vector = np.asarray(ours[1], np.float32)
    return int(ours[0]) == theirs[0] and np.array_equal(vector, np.asarray(theirs[1], np.float32))
