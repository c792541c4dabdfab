"""A figure with the interval that chance leaves it: by resampling users, or by splits of them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.data.keyed_random import keyed_generator

_RESAMPLINGS = 1_000
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
    statistic: Callable[[NDArray[np.int64]], float], num_users: int, seed: int, purpose: str
) -> Estimate:
    """`statistic` of all rows of users; its interval is that of users drawn with replacement."""
    draw = keyed_generator(seed, purpose)
    everybody = np.arange(num_users)
    found = [
        statistic(np.sort(draw.integers(num_users, size=num_users))) for _ in range(_RESAMPLINGS)
    ]
    low, high = np.nanpercentile(found, _INTERVAL)
    return Estimate(statistic(everybody), float(low), float(high))
