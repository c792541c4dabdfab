"""A figure with the interval that chance leaves it: by resampling users, or by splits of them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.data.keyed_random import keyed_generator

_RESAMPLINGS = 1_000
_MAX_DRAWN = 2**21  # rows at a time: 16 MB
_INTERVAL = (2.5, 97.5)  # percentiles: the interval holds the true figure 19 times of 20


@dataclass(frozen=True)
class Estimate:
    """A figure, and the ends of its interval of 95 %."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def rounded(self) -> str:
        """For counts and places."""
        return f"{self.value:,.0f} [{self.low:,.0f}, {self.high:,.0f}]"


def resampled_estimate(
    statistic: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    num_users: int,
    seed: int,
    purpose: str,
) -> Estimate:
    """`statistic` of all users; its interval is that of users drawn with replacement.

    Shapes: `statistic` takes (R, n) rows of users, R draws of them, and returns (R,).
    """
    draw = keyed_generator(seed, purpose)
    at_a_time = max(1, min(_RESAMPLINGS, _MAX_DRAWN // num_users))
    found = [
        statistic(draw.integers(num_users, size=(min(at_a_time, _RESAMPLINGS - done), num_users)))
        for done in range(0, _RESAMPLINGS, at_a_time)
    ]
    low, high = np.nanpercentile(np.concatenate(found), _INTERVAL)
    (value,) = statistic(np.arange(num_users)[None])
    return Estimate(float(value), float(low), float(high))
