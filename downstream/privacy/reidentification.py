"""Who is who in two files: how often a user's vector of one period finds the user's vector of
another one.

An attacker who knows whose the vectors of an earlier period are gets those of a later period
without names, and gives each the name of its nearest earlier vector. The periods share no view.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse

from downstream.privacy.estimates import Estimate, resampled_estimate
from model.vector_measures import NUM_NEIGHBORS, unit_rows

_MAX_COSINES = 2**22  # 16 MB at a time
_ROUNDING = 1e-5  # of a number's largest value: what varies less is constant
_TIE = 1e-6  # cosines in single precision that differ by less are equal

# (N, D): a dense array or a sparse matrix of SciPy, whose stubs do not say so.
FeatureRows = Any


@dataclass(frozen=True, eq=False)
class Ranks:
    """Of each of N users how many candidates lie nearer than the user's own earlier vector.

    Shapes: nearer (N,) and equal (N,) int64, the user not counted.
    """

    nearer: NDArray[np.int64]
    equal: NDArray[np.int64]

    def of_users(self, rows: NDArray[np.int64]) -> "Ranks":
        return Ranks(self.nearer[rows], self.equal[rows])

    def places(self) -> NDArray[np.float64]:
        """(N,) the place of the own vector, 1 for the nearest; of equal ones the middle."""
        return np.asarray(self.nearer + self.equal / 2 + 1)

    def chance_within(self, places: int) -> NDArray[np.float64]:
        """(N,) how likely the own vector is among the nearest, where a draw decides ties."""
        return np.asarray(((places - self.nearer) / (self.equal + 1)).clip(0, 1))


@dataclass(frozen=True)
class Reidentification:
    """One kind of vectors, one group of users; the candidates are all users with both periods."""

    vectors: str
    compared_by: str  # cosine; or cosine of standardized numbers
    group: str  # whose vectors were asked: training or held-out users
    users: int
    candidates: int
    top_1: Estimate
    top_10: Estimate
    median_rank: Estimate

    @property
    def chances(self) -> tuple[float, float, float]:
        """What guessing gives: of the nearest, of the ten nearest, and the median place."""
        few = min(NUM_NEIGHBORS, self.candidates)
        return 1 / self.candidates, few / self.candidates, (self.candidates + 1) / 2


def ranks_of_own(earlier: FeatureRows, later: FeatureRows) -> Ranks:
    """Search each later vector among all earlier ones, by cosine, exactly.

    Shapes: both (N, D), a row a user in both; dense arrays or sparse matrices.
    """
    earlier, later = _unit_rows(earlier), _unit_rows(later)
    parts = [
        _ranked(cosines, first) for first, cosines in _cosine_blocks(earlier, later)
    ]  # of each block (B,) nearer and (B,) equal
    nearer, equal = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Ranks(nearer, equal)


def _cosine_blocks(
    earlier: FeatureRows, later: FeatureRows
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """(B, N) cosines of some later vectors to all earlier ones, with the first one's row."""
    size = max(1, _MAX_COSINES // earlier.shape[0])
    for first in range(0, later.shape[0], size):
        found = later[first : first + size] @ earlier.T
        yield first, found.toarray() if issparse(found) else found


def _ranked(
    cosines: NDArray[np.float32], first: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rows = np.arange(len(cosines))
    differences = cosines - cosines[rows, first + rows][:, None]  # (B, N)
    is_equal = np.abs(differences) <= _TIE
    return ((differences > _TIE).sum(axis=1), is_equal.sum(axis=1) - 1)


def _unit_rows(features: FeatureRows) -> FeatureRows:
    """Rows of length 1 in single precision; rows of zeros stay."""
    if issparse(features):
        lengths = np.sqrt(np.asarray(features.multiply(features).sum(axis=1)).ravel())
        return _scaled_rows(csr_matrix(features, dtype=np.float32), lengths)
    return unit_rows(np.asarray(features)).astype(np.float32)


def _scaled_rows(matrix: csr_matrix, lengths: NDArray[np.float64]) -> csr_matrix:
    scaled = matrix.copy()
    scaled.data /= np.repeat(lengths.clip(1e-12), np.diff(matrix.indptr)).astype(np.float32)
    return scaled


def standardized_columns(features: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N, D) with mean 0 and deviation 1 of each number over the users; a constant becomes 0.

    Whoever has a file of vectors can do that, and numbers that vary little count as much as others.
    """
    exact = np.asarray(features, np.float64)
    deviation = exact.std(axis=0)
    # Of a constant in single precision only rounding varies, which must not become a number.
    is_constant = deviation <= _ROUNDING * np.abs(exact).max(axis=0)
    scale = np.where(is_constant, 0.0, 1 / np.where(is_constant, 1.0, deviation))
    return np.asarray((exact - exact.mean(axis=0)) * scale)


def summarized_ranks(
    ranks: Ranks, names: tuple[str, str, str], rows: NDArray[np.int64], seed: int
) -> Reidentification:
    """The figures of the users in `rows`; `names` are the vectors, the comparison, the group."""
    own = ranks.of_users(rows)
    nearest, ten_nearest = own.chance_within(1), own.chance_within(NUM_NEIGHBORS)
    return Reidentification(
        *names,
        users=len(rows),
        candidates=len(ranks.nearer),
        top_1=_resampled(np.mean, nearest, seed),
        top_10=_resampled(np.mean, ten_nearest, seed),
        median_rank=_resampled(np.median, own.places(), seed),
    )


def _resampled(statistic: Callable[..., Any], values: NDArray[np.float64], seed: int) -> Estimate:
    """The statistic of (n,) values, with the interval of its users."""
    return resampled_estimate(
        lambda rows: np.asarray(statistic(values[rows], axis=1)), len(values), seed, "privacy ranks"
    )
