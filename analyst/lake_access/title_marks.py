"""The titles that set a group of users apart from everybody else."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyst.lake_access.open_lake import OpenLake
from analyst.lake_access.viewed_titles import written_titles
from analyst.vectors.model_space import Vectors
from contracts.tables import TITLES, USER_SEQUENCES

_PRIOR_USERS = (
    0.5  # users added to each count, so that an unseen title has finite odds (Haldane 1956)
)


@dataclass(frozen=True)
class Mark:
    """A title that some users viewed, against everybody else with a vector."""

    title: str
    viewed_inside: int  # users
    viewed_outside: int
    log_odds: float  # of having viewed it, inside over outside, in nats
    z: float  # log_odds over its standard error; marks go by it
    written: str = ""  # as most lines of the logs have it; empty where no line is at hand


def title_marks(lake: OpenLake, everybody: Vectors, inside: Vectors, limit: int) -> list[Mark]:
    """The titles that most tell `inside` from the rest of `everybody`, by z; ties by title."""
    groups = np.isin(everybody.user_ids, inside.user_ids).astype(np.int64) - 1  # (N,) 0 or -1
    return marks_of_groups(lake, everybody, groups, limit).get(0, [])


def marks_of_groups(
    lake: OpenLake, everybody: Vectors, groups: NDArray[np.int64], limit: int
) -> dict[int, list[Mark]]:
    """The marks of each group, against everybody who is not in it; -1 stands for no group.

    A user counts once a title, however often viewed. What counts is the sequence that the user's
    vector was made from, so the marks explain the vectors and not some other days.
    Shapes: groups (N,), as the rows of `everybody`.
    """
    if not lake.has(TITLES, USER_SEQUENCES):
        return {}
    with _as_table(lake, everybody, groups):
        counted = lake.sql(
            """WITH viewed AS (
                SELECT DISTINCT user_id, cluster, unnest(title_ids) AS title_id
                FROM user_sequences JOIN asked USING (user_id, as_of)
            ),
            counted AS (
                SELECT title_id, cluster, count(*) AS inside,
                    sum(count(*)) OVER (PARTITION BY title_id) AS viewers
                FROM viewed GROUP BY title_id, cluster
            )
            SELECT cluster, coalesce(title, 'title ' || title_id), inside,
                (viewers - inside)::BIGINT
            FROM counted LEFT JOIN titles USING (title_id) WHERE cluster >= 0"""
        ).fetchall()
    sizes = dict(zip(*np.unique(groups, return_counts=True), strict=True))
    found: dict[int, list[Mark]] = {}
    for group, title, *counts in counted:
        both = int(sizes[group]), len(everybody) - int(sizes[group])
        found.setdefault(group, []).append(_title_mark(title, counts, both))
    best = {
        group: sorted(marks, key=lambda each: (-each.z, each.title))[:limit]
        for group, marks in found.items()
    }
    written = written_titles(lake, {mark.title for marks in best.values() for mark in marks})
    return {
        group: [replace(mark, written=written.get(mark.title, "")) for mark in marks]
        for group, marks in best.items()
    }


def _title_mark(title: str, counts: Sequence[int], sizes: Sequence[int]) -> Mark:
    """Log-odds ratio of `counts` users of `sizes`, (inside, outside), and its z."""
    cells = [
        (count + _PRIOR_USERS, size - count + _PRIOR_USERS)
        for count, size in zip(counts, sizes, strict=True)
    ]
    (yes, no), (yes_outside, no_outside) = cells
    log_odds = math.log(yes / no) - math.log(yes_outside / no_outside)
    error = math.sqrt(sum(1 / cell for pair in cells for cell in pair))
    return Mark(title, counts[0], counts[1], log_odds, log_odds / error)


@contextmanager
def _as_table(lake: OpenLake, users: Vectors, groups: NDArray[np.int64]) -> Iterator[None]:
    """The users, the day of each one's vector and the group, as the table `asked`."""
    import pyarrow as pa  # half a second to import

    columns: dict[str, Any] = {
        "user_id": pa.array(users.user_ids.tolist(), pa.string()),
        "as_of": pa.array(users.days),
        "cluster": pa.array(groups),
    }
    lake.connection.register("asked", pa.table(columns))
    try:
        yield
    finally:
        lake.connection.unregister("asked")
