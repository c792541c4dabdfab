"""What users viewed, by title: their newest views, what two viewed both, and titles as logged."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np

from analyst.lake_access.open_lake import OpenLake
from analyst.vectors.model_space import Vectors
from contracts.tables import BROWSING_LOGS, TITLES, USER_SEQUENCES

_NUM_RECENT = 3
_MAX_COUNTED_USERS = 2000  # users, at even steps, among whom the viewers of a title are counted
_WRITTEN_DAYS = 182  # days back from the newest view that spellings are looked for


@dataclass(frozen=True)
class CommonTitle:
    """A title that two users viewed."""

    title: str
    written: str  # as most lines of the logs have it; empty where no line is at hand
    views: int  # of the user asked for
    neighbor_views: int
    weight: float  # its part of the overlap of the two users


@dataclass(frozen=True)
class InCommon:
    """The overlap is the cosine of two users' titles: views count by their logarithm, and a title
    that few users view counts more. It is the sum of the weights of all titles in common."""

    overlap: float  # from 0, no title in common, to 1
    titles: list[CommonTitle]  # the heaviest first; ties by title


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


def as_written(lake: OpenLake, titles: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """The same lists with each title as `written_titles` has it; normalized where no log has it."""
    written = written_titles(lake, {title for listed in titles.values() for title in listed})
    return {key: [written.get(title, title) for title in listed] for key, listed in titles.items()}


def titles_in_common(
    lake: OpenLake, everybody: Vectors, user: str, others: Collection[str], limit: int = 10
) -> dict[str, InCommon]:
    """What `user` and each of `others` viewed both, from the sequences behind their vectors."""
    if not lake.has(TITLES, USER_SEQUENCES):
        return {}
    profiles = _title_profiles(lake, everybody, sorted({user, *others}))
    own = profiles.get(user, {})
    found = {}
    for other in others:
        theirs = profiles.get(other, {})
        both = [
            CommonTitle(title, "", views, theirs[title][0], weight * theirs[title][1])
            for title, (views, weight) in own.items()
            if title in theirs
        ]
        overlap = sum(sorted(each.weight for each in both))  # sorted: the same sum each time
        both.sort(key=lambda each: (-each.weight, each.title))
        found[other] = InCommon(min(overlap, 1.0), both[:limit])
    written = written_titles(lake, {each.title for one in found.values() for each in one.titles})
    return {
        other: InCommon(one.overlap, [_with_spelling(each, written) for each in one.titles])
        for other, one in found.items()
    }


def _with_spelling(common: CommonTitle, written: dict[str, str]) -> CommonTitle:
    facts = common.views, common.neighbor_views, common.weight
    return CommonTitle(common.title, written.get(common.title, ""), *facts)


def _title_profiles(
    lake: OpenLake, everybody: Vectors, users: list[str]
) -> dict[str, dict[str, tuple[int, float]]]:
    """Each user's titles: views, and the weight in the user's list of titles, of length one."""
    asked = everybody.take(users)
    steps = np.linspace(0, len(everybody) - 1, _MAX_COUNTED_USERS)
    counted = everybody.at(np.unique(steps.astype(np.int64)))
    rows = lake.connection.execute(
        """WITH asked AS (SELECT unnest($users) AS user_id, unnest($days)::DATE AS as_of),
        counted AS (SELECT unnest($all_users) AS user_id, unnest($all_days)::DATE AS as_of),
        viewed AS (
            SELECT user_id, title_id, count(*) AS views
            FROM (
                SELECT user_id, unnest(title_ids) AS title_id
                FROM user_sequences JOIN asked USING (user_id, as_of)
            ) GROUP BY ALL
        ),
        viewers AS (
            SELECT title_id, count(DISTINCT user_id) AS users
            FROM (
                SELECT user_id, unnest(title_ids) AS title_id
                FROM user_sequences JOIN counted USING (user_id, as_of)
            ) GROUP BY title_id
        ),
        weighed AS (
            SELECT user_id, title, views,
                (1 + ln(views)) * ln(($size + 1) / (coalesce(users, 0) + 0.5)) AS weight
            FROM viewed JOIN titles USING (title_id) LEFT JOIN viewers USING (title_id)
        )
        SELECT user_id, title, views,
            weight / sqrt(sum(weight * weight) OVER (PARTITION BY user_id)) FROM weighed""",
        {
            "users": asked.user_ids.tolist(),
            "days": asked.days.tolist(),
            "all_users": counted.user_ids.tolist(),
            "all_days": counted.days.tolist(),
            "size": len(counted),
        },
    ).fetchall()
    profiles: dict[str, dict[str, tuple[int, float]]] = {}
    for user, title, views, weight in rows:
        profiles.setdefault(user, {})[title] = (views, weight)
    return profiles


def written_titles(lake: OpenLake, titles: Collection[str]) -> dict[str, str]:
    """Normalized titles as most lines of the last half year have them, ties by spelling."""
    if not titles or not lake.has(TITLES, BROWSING_LOGS):
        return {}
    found = lake.connection.execute(
        f"""WITH asked AS (
            SELECT title_id, title FROM titles WHERE list_contains($titles, title)
        ),
        spelled AS (
            SELECT asked.title, logs.title AS written, count(*) AS lines
            FROM browsing_logs AS logs JOIN asked USING (title_id)
            WHERE event_date > (SELECT max(event_date) FROM browsing_logs) - {_WRITTEN_DAYS}
            GROUP BY ALL
        )
        SELECT title, first(written ORDER BY lines DESC, written) FROM spelled GROUP BY title""",
        {"titles": sorted(titles)},
    ).fetchall()
    return dict(found)


def views_by_day(lake: OpenLake, user: str) -> list[tuple[date, int]]:
    """How many accepted views a user has on each UTC day with any, the oldest first."""
    if not lake.has(BROWSING_LOGS):
        return []
    return lake.connection.execute(
        """SELECT event_date, count(*) FROM browsing_logs WHERE user_id = $user
        GROUP BY event_date ORDER BY event_date""",
        {"user": user},
    ).fetchall()
