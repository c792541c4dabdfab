"""What a landing day is like, in numbers: asked by one SQL text of Spark and of DuckDB.

Row rules see a broken line; they do not see a day of whole lines that is wrong as a whole. The
numbers here are few and name nobody, so that those of past days may be kept (../day_history.py)
and the new day be compared with them (comparison.py).
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from statistics import median
from typing import Any

from expectations.days.questions import (
    BURSTS_SQL,
    CLOCK_SQL,
    GAP_COUNTS,
    GAPS_SQL,
    GROUPS_SQL,
    HELD_DAYS_SQL,
    HOSTS_SQL,
    KNOWN_KINDS,
    KNOWN_ON_DAY_SQL,
    KNOWN_SQL,
    ROW_COUNTS,
    ROWS_SQL,
    TITLE_COUNTS,
    TITLES_SQL,
    TWINS_SQL,
    USER_COUNTS,
    USERS_SQL,
)

LOOKBACK_DAYS = 28  # landing days in which a user, a title or a host counts as known
VIEW_COLUMNS = ("landing_day", "user_id", "title_id", "title", "host", "event_time")
CLOCK_HOURS = range(-24, 48)  # since a landing day began, UTC; a day of another zone ends later

Query = Callable[[str], list[tuple[Any, ...]]]  # runs SQL over the view `day_views`

_VERSION = 2  # raise it when a number gets another meaning: days are then measured again
_MIN_HOST_SHARE = 0.04  # of the views of usual days: such a host is missed when it is gone
_MIN_HOST_VIEWS = 20  # of a host on a usual day; fewer may be none by chance
_FEW_DAYS = 3  # each of which is asked for by itself what was known before
_GONE = 0.1  # times its usual share: a host that has less is gone


@dataclass(frozen=True)
class DayFacts:
    """A landing day in numbers; shares are of its accepted views."""

    day: date
    numbers: Mapping[str, float]
    clock: tuple[float, ...] = ()  # (72,) views in each hour of CLOCK_HOURS
    alphabets: Mapping[str, float] = field(default_factory=dict)  # share of views by ids' kinds
    scripts: Mapping[str, float] = field(default_factory=dict)  # share of views by titles' script

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "day": str(self.day), "version": _VERSION}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> "DayFacts":
        """Raises ValueError for what other code measured."""
        if facts["version"] != _VERSION:
            raise ValueError(f"measured by version {facts['version']}")
        return cls(
            date.fromisoformat(facts["day"]),
            dict(facts["numbers"]),
            tuple(facts["clock"]),
            dict(facts["alphabets"]),
            dict(facts["scripts"]),
        )


def empty_day(day: date) -> DayFacts:
    """The facts of a day without a view."""
    return DayFacts(day, {"views": 0, "users": 0, "titles": 0})


def measure_days(query: Query, days: Iterable[date]) -> dict[date, DayFacts]:
    """The facts of each of `days`; those without a view have the zeros of `empty_day`.

    `query` runs SQL over the view `day_views` of VIEW_COLUMNS, which holds the views of `days` and
    of up to LOOKBACK_DAYS landing days before them.
    """
    wanted = sorted(set(days))
    held = sorted(day for (day,) in query(HELD_DAYS_SQL))
    if not set(held) & set(wanted):
        return {day: empty_day(day) for day in wanted}
    return _Measured(query, wanted, held).facts()


@dataclass(frozen=True)
class _Measured:
    """The answers to the questions about `wanted` days, of the `held` ones."""

    query: Query
    wanted: list[date]
    held: list[date]

    def facts(self) -> dict[date, DayFacts]:
        counts = self._counts()
        clocks = self._clocks()
        groups = {name: _groups(self._asked(sql)) for name, sql in GROUPS_SQL.items()}
        return {
            day: DayFacts(
                day,
                _shares(counts[day]),
                clocks.get(day, (0.0,) * len(CLOCK_HOURS)),
                groups["alphabets"].get(day, {}),
                groups["scripts"].get(day, {}),
            )
            if day in counts
            else empty_day(day)
            for day in self.wanted
        }

    def _asked(self, sql: str) -> list[tuple[Any, ...]]:
        days = ", ".join(f"DATE '{day}'" for day in self.wanted)
        views = f"(SELECT * FROM day_views WHERE landing_day IN ({days})) AS wanted"
        return self.query(sql.replace("WANTED_VIEWS", views).replace("WANTED_DAYS", days))

    def _counts(self) -> dict[date, dict[str, float]]:
        numbers: dict[date, dict[str, float]] = {}
        for names, sql in (
            *((ROW_COUNTS, ROWS_SQL), (USER_COUNTS, USERS_SQL), (TITLE_COUNTS, TITLES_SQL)),
            *((GAP_COUNTS, GAPS_SQL), (("twin",), TWINS_SQL)),
        ):
            for day, *counts in self._asked(sql):
                numbers.setdefault(day, {}).update(zip(names, map(float, counts), strict=True))
        for day, minutes, of_people, pairs in self._asked(BURSTS_SQL):
            numbers[day]["crowded"] = numbers[day]["views"] - float(minutes)
            numbers[day] |= {"people_views": float(of_people), "pairs": float(pairs)}
        self._count_known(numbers)
        for day, share in self._lost_hosts(numbers).items():
            numbers[day]["lost_host"] = share * numbers[day]["views"]
        return numbers

    def _count_known(self, numbers: dict[date, dict[str, float]]) -> None:
        order = {day: place for place, day in enumerate(self.held)}
        totals: Counter[tuple[date, str]] = Counter()
        for day in numbers:
            numbers[day] |= dict.fromkeys(KNOWN_KINDS, 0.0)
        for day, kind, before, count in self._known():
            totals[day, kind] += count
            if before is not None and order[day] - order[before] <= LOOKBACK_DAYS:
                numbers[day][kind] += float(count)
        for (day, kind), total in totals.items():  # words and views of people are others than views
            numbers[day][kind] *= numbers[day]["views"] / float(total)

    def _known(self) -> list[tuple[Any, ...]]:
        """(day, kind, when it was last before or null, number of views)"""
        if len(self.wanted) > _FEW_DAYS:
            return self._asked(KNOWN_SQL)
        days = [f"DATE '{day}'" for day in self.wanted]
        return [row for day in days for row in self.query(KNOWN_ON_DAY_SQL.replace("ON_DAY", day))]

    def _clocks(self) -> dict[date, tuple[float, ...]]:
        views: dict[date, dict[int, float]] = {}
        for day, hour, count in self._asked(CLOCK_SQL):
            views.setdefault(day, {})[int(hour)] = float(count)
        return {day: tuple(hours.get(n, 0.0) for n in CLOCK_HOURS) for day, hours in views.items()}

    def _lost_hosts(self, days: Mapping[date, Mapping[str, float]]) -> dict[date, float]:
        """The usual share of the hosts that have all but none of a day's views."""
        shares: dict[date, dict[str, float]] = {day: {} for day in self.held}
        for day, host, share in self._asked(HOSTS_SQL):
            shares[day][host] = float(share)
        order = {day: place for place, day in enumerate(self.held)}
        lost = {}
        for day, counts in days.items():
            place = order[day]
            before = [shares[each] for each in self.held[max(0, place - LOOKBACK_DAYS) : place]]
            lost[day] = _lost_share(shares[day], before, counts["views"])
        return lost


def _lost_share(
    today: Mapping[str, float], before: Collection[Mapping[str, float]], views: float
) -> float:
    hosts = {host for each in before for host in each}
    usual = {host: median(each.get(host, 0.0) for each in before) for host in hosts}
    return sum(
        share
        for host, share in usual.items()
        if share >= _MIN_HOST_SHARE
        and share * views >= _MIN_HOST_VIEWS
        and today.get(host, 0.0) < _GONE * share
    )


def _shares(counts: Mapping[str, float]) -> dict[str, float]:
    """Sizes as they are, averages, and of everything else its share of the views."""
    views = counts["views"]
    sizes = {name: counts[name] for name in ("views", "users", "titles")}
    others = {*sizes, "sessions", "people_views", "pairs"}
    shares = {f"{name}_share": n / views for name, n in counts.items() if name not in others}
    shares["views_a_user"] = views / counts["users"]
    of_people = max(counts["people_views"], 1.0)
    shares["views_a_session"] = of_people / max(counts["sessions"], 1.0)
    shares["again_share"] = 1 - counts["pairs"] / of_people
    return sizes | shares | {"people_views": counts["people_views"]}


def _groups(rows: Iterable[tuple[Any, ...]]) -> dict[date, dict[str, float]]:
    """By day the share of each group's views."""
    counts: dict[date, dict[str, float]] = {}
    for day, name, count in rows:
        counts.setdefault(day, {})[name] = float(count)
    return {
        day: {name: n / sum(each.values()) for name, n in sorted(each.items())}
        for day, each in counts.items()
    }
