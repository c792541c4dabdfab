"""Vectors that say little of one user: a bound on their length, and Gaussian noise on each number.

With noise of `noise_deviation` a vector is (epsilon, delta)-differentially private in the local
model: whatever a user's true vector of at most the length `clip` is, the chance of any set of noisy
vectors changes by no more than the factor exp(epsilon), and delta. So whoever has the file, and
everybody else's vectors, learns little of what one user's vector was.

It bounds one export. Two exports of the same users, on two days say, cost the sum of both epsilons.
It says nothing of the weights of the model, and hides neither who is in the file nor how many.
"""

import math
import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr, ndtri

from analyst.vectors.model_space import Matrix, row_lengths, row_slices
from contracts.errors import BadInput

_BISECTIONS = 200  # halvings of the interval of the logarithm of the noise: to the last bit
_RANDOM_BITS = 53  # of a uniform number in double precision


@dataclass(frozen=True, kw_only=True)
class PrivacySettings:
    """What shapes a private export. Every number is chosen without a look at the vectors."""

    epsilon: float
    delta: float = 1e-6  # far below one in the number of users
    clip: float = 1.0  # longer vectors are cut to this length; their direction stays
    round_to: float = 0.0  # numbers are multiples of it; 0: as they are

    def __post_init__(self) -> None:
        wrong = [
            *(
                f"{name} is {value:g}; it must be above 0 and finite"
                for name, value in (("epsilon", self.epsilon), ("clip", self.clip))
                if not 0 < value < math.inf
            ),
            *([] if 0 < self.delta < 1 else [f"delta is {self.delta:g}; it must be in (0, 1)"]),
            *([] if 0 <= self.round_to < math.inf else ["round_to must be 0 or more"]),
        ]
        if wrong:
            raise BadInput(f"private vectors: {'; '.join(wrong)}")

    @property
    def noise_deviation(self) -> float:
        """Of the noise on each number. Two vectors within the bound are at most 2 clip apart."""
        return 2 * self.clip * noise_for_unit_distance(self.epsilon, self.delta)


def noise_for_unit_distance(epsilon: float, delta: float) -> float:
    """The least deviation of Gaussian noise that hides a vector from any other one at distance 1.

    The analytic Gaussian mechanism (Balle and Wang 2018, theorem 8), solved by bisection; unlike
    the classic sqrt(2 ln(1.25 / delta)) / epsilon it holds for every epsilon, and is less.
    """
    low, high = math.log(1e-6), math.log(1e6)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if delta_of_noise(math.exp(middle), epsilon) > delta:
            low = middle
        else:
            high = middle
    return math.exp(high)


def delta_of_noise(deviation: float, epsilon: float) -> float:
    """The least delta that noise of this deviation reaches at this epsilon, at distance 1."""
    half, shift = 1 / (2 * deviation), epsilon * deviation
    # exp(epsilon) alone overflows from 710 on.
    return float(ndtr(half - shift) - math.exp(epsilon + log_ndtr(-half - shift)))


def private_vectors(matrix: Matrix, settings: PrivacySettings, seed: int | None = None) -> Matrix:
    """(N, D) float32: each row cut to the length `clip`, with noise, and rounded.

    The noise comes from the system's secure generator, so that nobody can take it off again. A
    `seed` makes it repeatable, for measurements of which nothing leaves.
    """
    private = np.empty(matrix.shape, np.float32)
    draw = None if seed is None else np.random.default_rng(seed)
    for part in row_slices(len(matrix)):
        block = clipped_rows(matrix[part], settings.clip).astype(np.float64)
        block += settings.noise_deviation * _normal_numbers(block.shape, draw)
        if settings.round_to:
            block = np.round(block / settings.round_to) * settings.round_to
        private[part] = block
    return private


def clipped_rows(matrix: Matrix, clip: float) -> Matrix:
    """(N, D): rows that are longer than `clip` are cut to that length."""
    scale = np.minimum(1, clip / row_lengths(matrix).clip(1e-30))  # (N,)
    clipped: Matrix = (matrix * scale[:, None]).astype(np.float32)
    return clipped


def _normal_numbers(
    shape: tuple[int, ...], draw: np.random.Generator | None
) -> NDArray[np.float64]:
    """Independent numbers of deviation 1: by the inverse of the normal distribution.

    numpy's generators are quick, but who knows some of their numbers may work out the others.
    """
    if draw is not None:
        return draw.standard_normal(shape)
    count = math.prod(shape)
    bits = np.frombuffer(os.urandom(8 * count), np.uint64) >> np.uint64(64 - _RANDOM_BITS)
    uniform = (bits.astype(np.float64) + 0.5) * 2.0**-_RANDOM_BITS  # never 0 or 1
    return np.asarray(ndtri(uniform), np.float64).reshape(shape)
