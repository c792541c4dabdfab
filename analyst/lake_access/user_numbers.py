"""Numbers of users that stand next to their vectors: forecasts, and counts of what they did."""

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from analyst.lake_access.open_lake import OpenLake
from analyst.vectors.model_space import Vectors
from contracts.forecasts import FORECAST_NAMES
from contracts.tables import SESSIONS, TITLES

_PERIODS = (7, 28, 91, 182)  # days back from as_of
_COUNTED_WORDS = 200  # title words that most users viewed; of more, most counts are zero
_WORD_DAYS = 182  # days back from as_of that the counts of words reach
# Names and SQL over one user's views before as_of: (viewed_at, age in days, session_id, title_id).
_AGGREGATES = {
    "days_since_last_view": "min(age)",
    "days_since_first_view": "max(age)",
    "views": "count(*)",
    "sessions": "count(DISTINCT session_id)",
    "active_days": "count(DISTINCT viewed_at::DATE)",
    "titles": "count(DISTINCT title_id)",
    **{f"views_{n}_days": f"count(*) FILTER (age <= {n})" for n in _PERIODS},
    **{f"sessions_{n}_days": f"count(DISTINCT session_id) FILTER (age <= {n})" for n in _PERIODS},
    **{
        f"active_days_{n}_days": f"count(DISTINCT viewed_at::DATE) FILTER (age <= {n})"
        for n in _PERIODS
    },
    **{
        f"share_of_hours_{hour}_to_{hour + 6}": f"avg((hour(viewed_at) // 6 = {hour // 6})::INT)"
        for hour in (0, 6, 12, 18)
    },
    "share_of_weekends": "avg((isodow(viewed_at) > 5)::INT)",
}


@dataclass(frozen=True)
class UserNumbers:
    """Shapes: N users, C numbers.

    names   C, each a column of its own
    matrix  (N, C) float32, rows as the vectors have them; NaN where there is no number
    """

    names: tuple[str, ...]
    matrix: NDArray[np.float32]

    @classmethod
    def none(cls, num_users: int) -> "UserNumbers":
        return cls((), np.zeros((num_users, 0), np.float32))

    def joined(self, other: "UserNumbers") -> "UserNumbers":
        """The numbers of both, for the same users."""
        return UserNumbers(
            self.names + other.names, np.concatenate([self.matrix, other.matrix], axis=1)
        )


def user_forecasts(lake: OpenLake, vectors: Vectors, model_id: str | None) -> UserNumbers:
    """What the model forecasts of each user, as of the day of the user's vector.

    `model_id` as the vectors were asked for: None reads what is published. Without any forecast
    there are no columns.
    """
    parameters = {"day": vectors.as_of, **({"model": model_id} if model_id else {})}
    columns = lake.connection.execute(
        f"""SELECT {", ".join(f"{name}::FLOAT AS {name}" for name in FORECAST_NAMES)}
        FROM user_embeddings_as_of($day, {"$model" if model_id else "NULL"}) ORDER BY user_id""",
        parameters,
    ).fetchnumpy()
    matrix = np.column_stack([np.ma.filled(columns[name], np.nan) for name in FORECAST_NAMES])
    if np.isnan(matrix).all():
        return UserNumbers.none(len(vectors))
    return UserNumbers(FORECAST_NAMES, matrix.astype(np.float32))


def past_counts(lake: OpenLake, vectors: Vectors) -> UserNumbers:
    """Recency, frequency, sessions, hours and title words of each user, from views before as_of.

    The names begin with `past_`, and those of words with `past_views_of_`. They are of the day that
    was asked for, also where the user's vector is of an earlier one.
    """
    lake.need(SESSIONS, TITLES)
    _gather_views(lake, vectors.as_of)
    try:
        users = {user: row for row, user in enumerate(vectors.user_ids.tolist())}
        return _aggregates(lake, users).joined(_word_counts(lake, users))
    finally:
        lake.connection.execute("DROP TABLE past_views")


def _gather_views(lake: OpenLake, day: date) -> None:
    """Make the table `past_views`, a row a view from before `day`."""
    lake.connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE past_views AS
        SELECT *, epoch($day::DATE::TIMESTAMPTZ - viewed_at) / 86400 AS age
        FROM (
            SELECT user_id, session_id, unnest(title_ids) AS title_id,
                unnest(event_times) AS viewed_at
            FROM {SESSIONS.name} WHERE session_date < $day
        ) WHERE viewed_at < $day::DATE::TIMESTAMPTZ""",
        {"day": day},
    )


def _aggregates(lake: OpenLake, users: dict[str, int]) -> UserNumbers:
    expressions = ", ".join(f"{sql} AS {name}" for name, sql in _AGGREGATES.items())
    rows = lake.connection.execute(
        f"SELECT user_id, {expressions} FROM past_views GROUP BY user_id"
    ).fetchall()
    matrix = np.full((len(users), len(_AGGREGATES)), np.nan, np.float32)
    for user, *numbers in rows:
        if user in users:
            matrix[users[user]] = numbers
    return UserNumbers(tuple(f"past_{name}" for name in _AGGREGATES), matrix)


def _word_counts(lake: OpenLake, users: dict[str, int]) -> UserNumbers:
    """Views of titles with each of the words that most users viewed."""
    lake.connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE past_words AS
        SELECT user_id, word, count(*) AS views
        FROM past_views JOIN (
            SELECT title_id, unnest(list_distinct(words)) AS word FROM {TITLES.name}
        ) USING (title_id)
        WHERE age <= {_WORD_DAYS} AND regexp_matches(word, '\\w') GROUP BY ALL"""
    )
    words = [
        word
        for (word,) in lake.connection.execute(
            f"""SELECT word FROM past_words GROUP BY word
            ORDER BY count(*) DESC, word LIMIT {_COUNTED_WORDS}"""
        ).fetchall()
    ]
    matrix = np.zeros((len(users), len(words)), np.float32)
    places = {word: place for place, word in enumerate(words)}
    counted = lake.connection.execute(
        "SELECT user_id, word, views FROM past_words WHERE list_contains($words, word)",
        {"words": words},
    )
    for user, word, views in counted.fetchall():
        if user in users:
            matrix[users[user], places[word]] = views
    lake.connection.execute("DROP TABLE past_words")
    return UserNumbers(tuple(f"past_views_of_{word}" for word in words), matrix)
