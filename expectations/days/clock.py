"""The hours of a day beside those of usual days: hours that are silent, and clocks that are off."""

import math
from collections.abc import Sequence

# What a view of the day must gain in log likelihood by a shift of the clock, and what the habits of
# few users gain by chance: times the users of the day at most 6.1 on 260 usual days, and 9.5 on one
# that only six days came before.
_MIN_GAIN, _CHANCE_GAIN, _FEW_DAYS = 0.05, 8.0, 2
_RARE = 0.1  # share of views that may be at any hour, say because they were late
_PEAK = 2.5  # times an even share of a day, or the usual share, that an hour counts at most
_MOST_SHIFT = 12  # hours
_SILENT = 0.1  # times the usual number of views: an hour with fewer is silent

Clock = Sequence[float]  # (72,) views in each hour of CLOCK_HOURS


def silent_share(clock: Clock, others: Sequence[Clock]) -> float:
    """The usual share of views of the longest silence: of hours in a row with next to none."""
    usual, total = _mean_shares(others), sum(clock)
    longest = silence = 0.0
    for count, share in zip(clock, usual, strict=True):
        silence = silence + share if count < _SILENT * share * total else 0.0
        longest = max(longest, silence)
    return longest


def hours_off(clock: Clock, others: Sequence[Clock], users: float) -> float:
    """By how many hours the day's clock differs from the usual one; 0 where chance may be why.

    Times that are off land in other hours of their landing day, and before it; where days are
    named by these times, they begin again at midnight. The likelier of the two counts.
    """
    needed = _MIN_GAIN + _CHANCE_GAIN * (1 + _FEW_DAYS / len(others)) / max(users, 1.0)
    straight = _best_shift(clock, others, is_cyclic=False)
    cyclic = _best_shift(_of_one_day(clock), [_of_one_day(each) for each in others], is_cyclic=True)
    gain, shift = max(straight, cyclic)
    return 0.0 if gain < needed else float(abs(shift))


def _best_shift(clock: Clock, others: Sequence[Clock], *, is_cyclic: bool) -> tuple[float, int]:
    """What each view gains in log likelihood by the best shift, and the hours of that shift."""
    usual, total, size = _smooth(_mean_shares(others), is_cyclic), sum(clock), len(clock)
    # A rush of one hour, as an advertisement makes it, counts no more than a usual peak.
    shares = [
        min(count / total, _PEAK * max(p, 1 / 24)) for count, p in zip(clock, usual, strict=True)
    ]

    def gain(shift: int) -> float:
        return sum(
            x * math.log(_at(usual, hour - shift, is_cyclic) / usual[hour])
            for hour, x in enumerate(shares)
            if x
        ) / sum(shares)

    shifts = range(-_MOST_SHIFT, size - _MOST_SHIFT if size == 24 else _MOST_SHIFT + 1)
    best = max(shifts, key=gain)
    return gain(best), min(abs(best), 24 - abs(best)) if is_cyclic else best


def _at(shares: Sequence[float], hour: int, is_cyclic: bool) -> float:
    if is_cyclic:
        return shares[hour % len(shares)]
    return shares[hour] if 0 <= hour < len(shares) else _RARE / len(shares)


def _of_one_day(clock: Clock) -> list[float]:
    """(72,) -> (24,) views in each hour of a day, whichever day it is."""
    return [sum(clock[hour::24]) for hour in range(24)]


def _mean_shares(clocks: Sequence[Clock]) -> list[float]:
    shares = [[count / sum(clock) for count in clock] for clock in clocks]
    return [sum(hour) / len(shares) for hour in zip(*shares, strict=True)]


def _smooth(shares: Sequence[float], is_cyclic: bool) -> list[float]:
    """Smoothed over the neighbors of each hour, and never 0."""
    size = len(shares)

    def near(hour: int) -> float:
        if is_cyclic:
            return shares[hour % size]
        return shares[min(max(hour, 0), size - 1)]

    smooth = [(near(n - 1) + 2 * near(n) + near(n + 1)) / 4 + _RARE / size for n in range(size)]
    return [each / sum(smooth) for each in smooth]
