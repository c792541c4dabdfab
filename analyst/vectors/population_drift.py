"""Whether a population moved between two days: an energy distance, with a permutation test."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analyst.vectors.model_space import Vectors

_MAX_SAMPLED_USERS = 1500  # of the population: at most 3,000 vectors, 36 MB of distances
_NUM_EXCHANGES = 400  # so no p below 0.0025 can be measured
_MAX_P = 0.05  # with a larger p nothing is said to have moved
_SEED = 20210  # of the sample and of the exchanges, so that equal vectors give an equal answer


@dataclass(frozen=True)
class PopulationDrift:
    energy_distance: float  # between the days' unit vectors (Szekely & Rizzo 2013); 0 when equal
    by_lot_median: float  # of the permutation test: the same vectors, their days exchanged
    by_lot_95: float  # 95 of 100 exchanges stay below
    p: float  # share of exchanges that reach the distance, the days as they are among them
    users: int  # sampled

    @property
    def is_beyond_chance(self) -> bool:
        return self.p <= _MAX_P

    @property
    def verdict(self) -> str:
        """One sentence for people, with what chance alone makes."""
        answer = (
            "The population moved" if self.is_beyond_chance else "No sign that the population moved"
        )
        return (
            f"{answer}: the energy distance between the days is {self.energy_distance:.4f}; when "
            f"the days of the same {self.users:,} users were exchanged at random, 95 of 100 stayed "
            f"below {self.by_lot_95:.4f} (p {self.p:.4f})"
        )


def population_drift(old: Vectors, new: Vectors) -> PopulationDrift:
    """The energy distance between two days, and how often chance alone makes one as large.

    A random exchange swaps the two days of a user who is in both, and shuffles the days of the
    others. So the null hypothesis keeps what a population of the same people has in common.
    """
    users = _sampled_users(np.union1d(old.user_ids, new.user_ids))
    owners, units, sides = [], [], []
    for side, vectors in ((1.0, old), (-1.0, new)):
        _, rows, owner = np.intersect1d(
            vectors.user_ids, users, assume_unique=True, return_indices=True
        )
        owners.append(owner)
        units.append(vectors.at(rows).units())
        sides.append(np.full(len(rows), side))
    distances = _euclidean_distances(np.concatenate(units))
    exchanged = _exchanged_sides(np.concatenate(owners), np.concatenate(sides))
    values = energy_distances(distances, exchanged)
    lots = values[1:]
    return PopulationDrift(
        float(values[0]),
        float(np.median(lots)),
        float(np.quantile(lots, 0.95)),
        float(np.mean(values >= values[0] - 1e-12)),
        len(users),
    )


def _sampled_users(users: NDArray[np.str_]) -> NDArray[np.str_]:
    if len(users) <= _MAX_SAMPLED_USERS:
        return users
    rows = np.random.default_rng(_SEED).choice(len(users), _MAX_SAMPLED_USERS, replace=False)
    return users[np.sort(rows)]


def _exchanged_sides(owners: NDArray[np.int64], sides: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sides, 1 or -1, (n,) -> (_NUM_EXCHANGES + 1, n): first as they are, then at random.

    The two sides of a user with two vectors are swapped or left as they are; the sides of users
    with one vector are shuffled among themselves.
    """
    generator = np.random.default_rng(_SEED)
    single = np.flatnonzero(np.bincount(owners)[owners] == 1)
    exchanged = np.tile(sides, (_NUM_EXCHANGES + 1, 1))
    turns = generator.choice([1.0, -1.0], (_NUM_EXCHANGES, int(owners.max()) + 1))
    exchanged[1:] *= turns[:, owners]
    exchanged[1:, single] = generator.permuted(np.tile(sides[single], (_NUM_EXCHANGES, 1)), axis=1)
    return exchanged


def energy_distances(
    distances: NDArray[np.float64], sides: NDArray[np.float64]
) -> NDArray[np.float64]:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| for each row of sides, where X has 1 and Y -1."""
    weights = sides / np.where(
        sides > 0, (sides > 0).sum(1, keepdims=True), (sides < 0).sum(1, keepdims=True)
    )
    values: NDArray[np.float64] = -((weights @ distances) * weights).sum(axis=1)
    return values


def _euclidean_distances(units: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n, n) distances between unit vectors."""
    exact = units.astype(np.float64)
    distances: NDArray[np.float64] = np.sqrt(np.maximum(2 - 2 * exact @ exact.T, 0))
    return distances
