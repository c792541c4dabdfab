"""Whether a landing day is like those of the last four weeks: what is compared, and how far off.

A usual level is the median of the last four weeks, and that of the same weekday. A day may lie as
far from the nearer of the two as the measure says, or as six times the usual spread (median
absolute deviation), or as chance takes so few views. docs/day-gates.md says what each bound costs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import median

from expectations.days.bounds import DAY_MEASURES, Bound
from expectations.days.clock import hours_off, silent_share
from expectations.days.measures import DayFacts

HISTORY_DAYS = 28
_MIN_HISTORY = 3  # days; with fewer nothing is known, and nothing is refused
MIN_VIEWS = 50  # of a usual day; below it every measure is noise
_MIN_WEEKDAYS = 3  # earlier days of the same weekday that have a level of their own
_SPREADS = 6  # median absolute deviations, as those of a normal distribution, that are usual
_NORMAL = 1.4826  # a normal distribution's standard deviation by its median absolute deviation
_ERRORS = 4  # standard errors of a count or a share that are chance
_KNOWN = ("known_user", "known_pair", "known_title", "known_host", "known_word")
_OF_PEOPLE = ("known_user_share", "known_pair_share")  # of views of people, without programs
_MIN_KNOWN = 25  # known views of a usual day; fewer say nothing


@dataclass(frozen=True)
class Judged:
    """A measure of a day, and the bounds between which it must lie."""

    bound: Bound
    day: date
    value: float
    usual: float
    least: float | None
    most: float | None

    def __str__(self) -> str:
        limit = f"at least {self.least:.3g}" if self.is_low else f"at most {self.most:.3g}"
        return (
            f"{self.bound.name} is {self.value:.3g}, {limit} is allowed: {self.bound.means}; usual "
            f"are {self.usual:.3g}. Perhaps {self.bound.advice}"
        )

    @property
    def is_low(self) -> bool:
        return self.least is not None and self.value < self.least

    @property
    def is_within(self) -> bool:
        return (self.least is None or self.value >= self.least) and (
            self.most is None or self.value <= self.most
        )

    @property
    def excess(self) -> float:
        """How many times as far from the usual level as allowed; above 1 it is out of bounds."""
        ends = [end for end in (self.least, self.most) if end is not None]
        return max(
            (self.value - self.usual) / (end - self.usual) if end != self.usual else
            (math.inf if not self.is_within else 0.0)
            for end in ends
        )  # fmt: skip


def usual_ends(
    bound: Bound, day: date, earlier: Mapping[date, float], count: float
) -> tuple[float, float | None, float | None]:
    """The usual level of a number, and the ends between which that of `day` must lie.

    `earlier` are the numbers of other days, of which the four weeks before `day` count; `count` is
    how many rows the number is of, on which chance depends. No ends where too little is known.
    """
    days = [day - timedelta(days=n) for n in range(1, HISTORY_DAYS + 1)]
    held = [each for each in days if each in earlier]
    values = [earlier[each] for each in held]
    if len(values) < _MIN_HISTORY:
        return math.nan, None, None
    levels = _levels(values, held, day)
    ends = _ratio_ends if bound.is_ratio else _share_ends
    return levels[-1], *ends(bound, levels, values, max(count, 1.0))


def judge_day(
    facts: DayFacts, earlier: Mapping[date, DayFacts], bounds: Sequence[Bound] = DAY_MEASURES
) -> list[Judged]:
    """Each measure of a day by the four weeks before it; none where too little is known."""
    days = [facts.day - timedelta(days=n) for n in range(1, HISTORY_DAYS + 1)]
    history = [earlier[day] for day in days if day in earlier and earlier[day].numbers["views"]]
    if len(history) < _MIN_HISTORY:
        return []
    days = [each.day for each in history]
    usual_views = max(_levels([_without_busiest(each) for each in history], days, facts.day))
    if usual_views < MIN_VIEWS:
        return []
    derived = {day.day: derived_numbers(day, history) for day in (*history, facts)}
    if not facts.numbers["views"]:  # no share is of anything
        bounds = [bound for bound in bounds if bound.name == "views"]
    judged = [
        _judge(bound, facts, history, derived)
        for bound in bounds
        if bound.name in derived[facts.day] and not bound.is_off
    ]
    return [each for each in judged if each.least is not None or each.most is not None]


def derived_numbers(facts: DayFacts, history: Sequence[DayFacts]) -> dict[str, float]:
    """The numbers of a day, and those that say how far it is from the other days."""
    numbers = dict(facts.numbers)
    if not numbers["views"]:
        return numbers
    largest = numbers["largest_user_share"] * numbers["views"]
    numbers["views"] = _without_busiest(facts)
    numbers["views_a_user"] = numbers["views"] / max(numbers["users"] - 1, 1)
    numbers["busiest_user"] = largest / max(median(map(_without_busiest, history)), 1.0)
    numbers["volume"] = numbers["views"]
    for name in _KNOWN:
        numbers[f"{name}s"] = _known_ratio(f"{name}_share", facts, history)
    others = [day for day in history if day.day != facts.day]
    clocks = [day.clock for day in others if sum(day.clock)]
    if not sum(facts.clock) or not clocks:
        return numbers
    numbers["hours_off"] = hours_off(facts.clock, clocks, facts.numbers["users"])
    numbers["silent_share"] = silent_share(facts.clock, clocks)
    if facts.alphabets:
        usual = {name for day in others for name, share in day.alphabets.items() if share >= 0.005}
        known = sum(share for name, share in facts.alphabets.items() if name in usual)
        numbers["strange_id_share"] = max(0.0, 1 - known)
    names = {name for day in (*others, facts) for name in day.scripts}
    numbers["script_distance"] = sum(
        max(0.0, facts.scripts.get(name, 0.0) - max(day.scripts.get(name, 0.0) for day in others))
        for name in names
    )
    return numbers


def _without_busiest(facts: DayFacts) -> float:
    """Views without those of the busiest user: a machine that reads a site is no rush of people."""
    return facts.numbers["views"] * (1 - facts.numbers["largest_user_share"])


def _known_ratio(share: str, facts: DayFacts, history: Sequence[DayFacts]) -> float:
    """The share of known views, or their number, beside that of a usual day: whichever is larger.

    Of twice the views half may be new people's, and of few people on a holiday all are known.
    """

    def views(day: DayFacts) -> float:
        return day.numbers["people_views"] if share in _OF_PEOPLE else _without_busiest(day)

    shares = [day.numbers[share] for day in history]
    counts = [day.numbers[share] * views(day) for day in history]
    days = [day.day for day in history]
    usual_share, usual_count = (min(_levels(each, days, facts.day)) for each in (shares, counts))
    if usual_count < _MIN_KNOWN:
        return 1.0
    value = facts.numbers[share]
    return max(value / usual_share, value * views(facts) / usual_count)


def _levels(values: Sequence[float], days: Sequence[date], day: date) -> list[float]:
    """The median of all days, and that of the same weekday where there are enough."""
    weekday = [
        value for value, each in zip(values, days, strict=True) if each.weekday() == day.weekday()
    ]
    return [median(values), *([median(weekday)] if len(weekday) >= _MIN_WEEKDAYS else [])]


def _judge(
    bound: Bound,
    facts: DayFacts,
    history: Sequence[DayFacts],
    derived: Mapping[date, Mapping[str, float]],
) -> Judged:
    held = [day for day in history if bound.name in derived[day.day]]
    values = [derived[day.day][bound.name] for day in held]
    value = derived[facts.day].get(bound.name, 0.0)
    if len(values) < _MIN_HISTORY:
        return Judged(bound, facts.day, value, value, None, None)
    levels = _levels(values, [day.day for day in held], facts.day)
    if bound.is_ratio:
        count = max(facts.numbers[bound.counts] if bound.counts else max(levels), 1.0)
        least, most = _ratio_ends(bound, levels, values, count)
    else:
        least, most = _share_ends(bound, levels, values, facts.numbers["views"])
    return Judged(bound, facts.day, value, levels[-1], least, most)


def _spread(values: Sequence[float], middle: float) -> float:
    return _SPREADS * _NORMAL * median(abs(value - middle) for value in values)


def _ratio_ends(
    bound: Bound, levels: Sequence[float], values: Sequence[float], count: float
) -> tuple[float | None, float | None]:
    logarithms = [math.log(max(value, 0.5)) for value in values]
    spread = _spread(logarithms, median(logarithms))
    wide = max(spread, _ERRORS / math.sqrt(count))
    least = most = None
    if bound.low is not None:
        least = min(levels) * max(bound.floor, min(bound.low, math.exp(-wide)))
    if bound.high is not None:
        most = max(levels) * min(bound.ceiling, max(bound.high, math.exp(wide)))
    return least, most


def _share_ends(
    bound: Bound, levels: Sequence[float], values: Sequence[float], views: float
) -> tuple[float | None, float | None]:
    middle = median(values)
    least = most = None
    if bound.low is not None:
        level = min(levels)
        spread = _spread([value for value in values if value <= middle], middle)
        least = max(min(bound.low * level, level - spread), bound.floor * level)
    if bound.high is not None:
        level = max(levels)
        spread = _spread([value for value in values if value >= middle], middle)
        most = level + max(bound.high, spread) + _chance(level, views)
    return least, most


def _chance(share: float, views: float) -> float:
    """Standard errors of a share; nothing for a number that is none."""
    share = min(max(share, 0.0), 1.0)
    return _ERRORS * math.sqrt(share * (1 - share) / views)
