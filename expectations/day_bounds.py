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

from expectations.day_measures import DayFacts

HISTORY_DAYS = 28
_MIN_HISTORY = 3  # days; with fewer nothing is known, and nothing is refused
MIN_VIEWS = 50  # of a usual day; below it every measure is noise
_MIN_WEEKDAYS = 3  # earlier days of the same weekday that have a level of their own
_SPREADS = 6  # median absolute deviations, as those of a normal distribution, that are usual
_NORMAL = 1.4826  # a normal distribution's standard deviation by its median absolute deviation
_ERRORS = 4  # standard errors of a count or a share that are chance
# What a view of the day must gain in log likelihood by a shift of the clock, and what the habits of
# few users gain by chance. Days of 31, 171 and 337 users gained up to 0.21, 0.02 and 0.06; the
# same days eight hours early 0.27, 0.24 and 1.27 in the middle.
_MIN_GAIN, _CHANCE_GAIN = 0.05, 6.0
_MORE_EARLY = 0.05  # of earlier days' views, above the usual: then half of that gain is enough
_RARE_HOUR = 0.004  # share of views that any hour may have
_PEAK = 2.5  # times an even share of a day, or the usual share, that an hour counts at most
_KNOWN = {"known_users": "known_user_share", "known_titles": "known_title_share",
          "known_hosts": "known_host_share"}  # fmt: skip


@dataclass(frozen=True)
class Bound:
    """One measure of a day: how far from the usual level it may lie, and what is wrong if not.

    A `ratio` may be `low` to `high` times the usual level, and never less than `floor` or more than
    `ceiling` times it, however much it varied. A `share` may be `high` above it, or `low` times it.
    """

    name: str
    means: str  # what the number is
    advice: str  # what is wrong with a day beyond the bound
    low: float | None = None
    high: float | None = None
    is_ratio: bool = False
    counts: str = ""  # whose number chance depends on, where the measure is no number itself
    floor: float = 0.0
    ceiling: float = math.inf
    is_hard: bool = True  # a soft one warns, and stops nothing
    is_off: bool = False


DAY_MEASURES = (
    Bound(
        "views", "views of all users but the busiest", "lines are missing, or came more than once",
        low=0.35, high=4, is_ratio=True, floor=0.25, ceiling=8,
    ),
    Bound(
        "users", "users", "users are missing, or each visit has an id of its own",
        low=0.35, high=4, is_ratio=True, floor=0.25, ceiling=8,
    ),
    Bound(
        "titles", "distinct titles", "titles have lost a part, or gained one",
        low=0.25, high=5, is_ratio=True, floor=0.12, ceiling=8,
    ),
    Bound(
        "views_a_user", "views of a user on average, the busiest left out",
        "many users share an id, or the users of the day are others", low=0.3, high=3.5,
        is_ratio=True, counts="users", floor=0.2, ceiling=8,
    ),
    Bound(
        "resent_share", "share of lines that landed before, on another day",
        "an earlier day's file was sent again", high=0.2,
    ),
    Bound(
        "repeated_share", "share of views that an earlier day has at the same time of day",
        "an earlier day's lines were sent under another date", high=0.1,
    ),
    Bound(
        "crowded_share", "share of views that repeat one of their user and title within a minute",
        "views are written more than once, moments apart", high=0.25,
    ),
    Bound(
        "busiest_user", "views of the busiest user, in whole usual days of all users",
        "a crawler was let in", high=9.0,
    ),
    Bound(
        "largest_user_share", "share of views of the busiest user",
        "a crawler may have been let in", high=0.35, is_hard=False,
    ),
    Bound(
        "largest_title_share", "share of views of the commonest title",
        "one title stands where others should", high=0.55,
    ),
    Bound(
        "known_users", "views of users of the last four weeks, compared with usual days",
        "ids have another form: a prefix, capitals, another system", low=0.65, floor=0.4,
    ),
    Bound(
        "known_titles", "views of titles of the last four weeks, compared with usual days",
        "titles have another form, or another column's values", low=0.5, floor=0.3,
    ),
    Bound(
        "known_hosts", "views of hosts of the last four weeks, compared with usual days",
        "hosts have another form, or another column's values", low=0.65, floor=0.4,
    ),
    Bound(
        "strange_id_share", "share of views whose ids are of other characters than before",
        "ids have another form, or another column's values", high=0.1,
    ),
    Bound(
        "placeholder_share", "share of views of ids such as null, undefined or NaN",
        "the logs have lost their ids; `nobody` in the landing settings refuses such lines",
        high=0.05,
    ),
    Bound(
        "blank_in_id_share", "share of views whose id holds a blank",
        "the column of ids holds another column's values", high=0.1,
    ),
    Bound(
        "error_page_share", "share of views of error pages", "the site failed, or what reads it",
        high=0.1,
    ),
    Bound(
        "markup_share", "share of views whose title holds markup", "titles were not cleaned",
        high=0.03,
    ),
    Bound(
        "private_share", "share of views whose title holds an e-mail address or a password",
        "something private is logged as a title", high=0.02,
    ),
    Bound(
        "host_private_share", "share of views whose host holds an e-mail address or a password",
        "something private is logged as a host", high=0.01,
    ),
    Bound(
        "domain_title_share", "share of views whose title is an address",
        "titles and hosts are exchanged", high=0.15,
    ),
    Bound(
        "odd_host_share", "share of views whose host is no address",
        "the column of hosts holds another column's values", high=0.05,
    ),
    Bound(
        "no_host_share", "share of views without a host", "the column of hosts is empty", high=0.3,
    ),
    Bound(
        "script_distance", "share of views whose titles are of another alphabet than usual",
        "titles are of another language, or were read in a wrong encoding", high=0.2,
    ),
    Bound(
        "old_share", "share of views of more than a week before their landing day",
        "old lines were sent, or clocks are wrong", high=0.1,
    ),
    Bound(
        "earlier_day_share", "share of views of a day before their landing day, UTC",
        "times are early, or an earlier day's lines came", high=0.12,
    ),
    Bound(
        "whole_hour_share", "share of times at a whole hour",
        "times have lost their minutes, or dates their times", high=0.1,
    ),
    Bound(
        "hours_off", "hours by which the day's clock differs from the usual one",
        "times are of another zone", high=1.5,
    ),
)  # fmt: skip


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


def judge_day(
    facts: DayFacts, earlier: Mapping[date, DayFacts], bounds: Sequence[Bound] = DAY_MEASURES
) -> list[Judged]:
    """Each measure of a day by the four weeks before it; none where too little is known."""
    days = [facts.day - timedelta(days=n) for n in range(1, HISTORY_DAYS + 1)]
    history = [earlier[day] for day in days if day in earlier and earlier[day].numbers["views"]]
    if len(history) < _MIN_HISTORY:
        return []
    usual_views = max(_levels([_without_busiest(each) for each in history], history, facts.day))
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
    for name, share in _KNOWN.items():
        numbers[name] = _known_ratio(share, facts, history)
    others = [day for day in history if day.day != facts.day]
    if not facts.hours or not others:
        return numbers
    numbers["hours_off"] = _hours_off(facts, [day for day in others if day.hours])
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
    of_day, *of_usual = (
        (day.numbers[share], day.numbers[share] * day.numbers["views"]) for day in (facts, *history)
    )
    usual = [median(each) for each in zip(*of_usual, strict=True)]
    return max(value / level if level else 1.0 for value, level in zip(of_day, usual, strict=True))


def _hours_off(facts: DayFacts, others: Sequence[DayFacts]) -> float:
    """By how many hours the day's clock differs from the usual one.

    The shift under which the day's views are likeliest, where it makes them likelier by more than
    chance does; otherwise 0.
    """
    usual, total = _usual_clock(others), sum(facts.hours)
    # A rush of one hour, as an advertisement makes it, counts no more than a usual peak.
    shares = [
        min(count / total, _PEAK * max(p, 1 / 24))
        for count, p in zip(facts.hours, usual, strict=True)
    ]
    gains = [
        sum(x * math.log(usual[hour - shift] / usual[hour]) for hour, x in enumerate(shares))
        / sum(shares)
        for shift in range(24)
    ]
    best = max(range(24), key=lambda shift: gains[shift])
    needed = _MIN_GAIN + _CHANCE_GAIN / facts.numbers["users"]
    early = median(day.numbers["earlier_day_share"] for day in others)
    if best > 12 and facts.numbers["earlier_day_share"] > early + _MORE_EARLY:
        needed /= 2
    return 0.0 if gains[best] < needed else float(min(best, 24 - best))


def _usual_clock(others: Sequence[DayFacts]) -> list[float]:
    """(24,) the mean share of each hour, smoothed over its neighbors, and never 0."""
    clocks = [[count / sum(day.hours) for count in day.hours] for day in others]
    mean = [sum(hour) / len(clocks) + _RARE_HOUR for hour in zip(*clocks, strict=True)]
    smooth = [(mean[n - 1] + 2 * mean[n] + mean[(n + 1) % 24]) / 4 for n in range(24)]
    return [each / sum(smooth) for each in smooth]


def _levels(values: Sequence[float], history: Sequence[DayFacts], day: date) -> list[float]:
    """The median of all days, and that of the same weekday where there are enough."""
    weekday = [
        value
        for value, each in zip(values, history, strict=True)
        if each.day.weekday() == day.weekday()
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
    levels = _levels(values, held, facts.day)
    if bound.is_ratio:
        count = max(facts.numbers[bound.counts] if bound.counts else max(levels), 1.0)
        least, most = _ratio_ends(bound, levels, values, count)
    else:
        least, most = _share_ends(bound, levels, values, facts.numbers["views"])
    return Judged(bound, facts.day, value, levels[-1], least, most)


def _spread(values: Sequence[float]) -> float:
    middle = median(values)
    return _SPREADS * _NORMAL * median(abs(value - middle) for value in values)


def _ratio_ends(
    bound: Bound, levels: Sequence[float], values: Sequence[float], count: float
) -> tuple[float | None, float | None]:
    spread = _spread([math.log(max(value, 0.5)) for value in values])
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
    spread = _spread(values)
    least = most = None
    if bound.low is not None:
        level = min(levels)
        least = max(min(bound.low * level, level - spread), bound.floor * level)
    if bound.high is not None:
        level = max(levels)
        most = level + max(bound.high, spread) + _chance(level, views)
    return least, most


def _chance(share: float, views: float) -> float:
    """Standard errors of a share; nothing for a number that is none."""
    share = min(max(share, 0.0), 1.0)
    return _ERRORS * math.sqrt(share * (1 - share) / views)
