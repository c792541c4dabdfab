"""What users viewed, by title: their newest views, and the titles that set a group apart."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from analyst.lake_access.open_lake import OpenLake
from analyst.vectors.model_space import Vectors
from contracts.tables import TITLES, USER_SEQUENCES

_NUM_RECENT = 3
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


def recent_titles(lake: OpenLake, users: Vectors, limit: int = _NUM_RECENT) -> dict[str, list[str]]:
    """The `limit` newest distinct titles of the sequence behind each vector, newest first."""
    if not lake.has(TITLES, USER_SEQUENCES):
        return {}
    found = lake.connection.execute(
        """WITH asked AS (SELECT unnest($users) AS user_id, unnest($days)::DATE AS as_of),
        viewed AS (
            SELECT user_id, title_ids[place] AS title_id, max(place) AS place
            FROM (
                SELECT user_id, title_ids, unnest(range(1, len(title_ids) + 1)) AS place
                FROM user_sequences JOIN asked USING (user_id, as_of)
            )
            GROUP BY ALL
        )
        SELECT user_id, title FROM viewed JOIN titles USING (title_id)
        ORDER BY user_id, place DESC""",
        {"users": users.user_ids.tolist(), "days": users.days.tolist()},
    ).fetchall()
    titles: dict[str, list[str]] = {}
    for user, title in found:
        titles.setdefault(user, []).append(title)
    return {user: newest[:limit] for user, newest in titles.items()}


def title_marks(lake: OpenLake, everybody: Vectors, inside: Vectors, limit: int) -> list[Mark]:
    """The titles that most tell `inside` from the rest of `everybody`, by z; ties by title.

    A user counts once a title, however often viewed. What counts is the sequence that the user's
    vector was made from, so the marks explain the vectors and not some other days.
    """
    if not lake.has(TITLES, USER_SEQUENCES):
        return []
    with _as_table(lake, everybody, set(inside.user_ids.tolist())):
        counted = lake.sql(
            """WITH viewed AS (
                SELECT DISTINCT user_id, inside, unnest(title_ids) AS title_id
                FROM user_sequences JOIN asked USING (user_id, as_of)
            ),
            counted AS (
                SELECT title_id, count(*) FILTER (inside) AS inside,
                    count(*) FILTER (NOT inside) AS outside
                FROM viewed GROUP BY title_id
            )
            SELECT coalesce(title, 'title ' || title_id), inside, outside
            FROM counted LEFT JOIN titles USING (title_id) WHERE inside > 0"""
        ).fetchall()
    sizes = len(inside), len(everybody) - len(inside)
    found = [_title_mark(title, counts, sizes) for title, *counts in counted]
    return sorted(found, key=lambda each: (-each.z, each.title))[:limit]


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
def _as_table(lake: OpenLake, users: Vectors, inside: set[str]) -> Iterator[None]:
    """The users, the day of each one's vector and whether inside, as the table `asked`."""
    import pyarrow as pa  # half a second to import

    columns: dict[str, Any] = {
        "user_id": pa.array(users.user_ids.tolist(), pa.string()),
        "as_of": pa.array(users.days),
        "inside": pa.array([user in inside for user in users.user_ids.tolist()]),
    }
    lake.connection.register("asked", pa.table(columns))
    try:
        yield
    finally:
        lake.connection.unregister("asked")
