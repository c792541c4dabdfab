"""Random splits of users into training and test, and the test that belongs to such splits."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from model.data.keyed_random import keyed_generator

TEST_SHARE = 0.3  # of the labelled users


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of the labelled users. `train` is shuffled: its first tenth is a tenth of the labels."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]

    def first(self, share: float) -> NDArray[np.int64]:
        return self.train[: max(2, round(share * len(self.train)))]


def user_split(num_users: int, seed: int, number: int) -> Split:
    """The split with this number: the same for every rival, head and share of the labels."""
    order = keyed_generator(seed, "downstream split", number).permutation(num_users)
    num_test = max(1, round(TEST_SHARE * num_users))
    return Split(order[num_test:], order[:num_test])


def paired_p_value(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    """Two-sided p of a paired t-test over Monte Carlo splits, corrected for their overlap.

    Splits share users, so an uncorrected test finds differences that are not there. NaN values,
    splits that one side could not answer, are left out; 1 where no split differs or fewer than two
    remain.
    """
    differences = ours - theirs
    differences = differences[np.isfinite(differences)]
    if len(differences) < 2 or not differences.any():
        return 1.0
    error = error_of_mean(differences)
    if error == 0:
        return 0.0
    return float(2 * student.sf(abs(differences.mean()) / error, len(differences) - 1))


def error_of_mean(values: NDArray[np.float64]) -> float:
    """The standard error of the mean over two or more random splits.

    Its square is var x (1/n + test/train), since splits share users (Nadeau and Bengio 2003).
    """
    overlap = 1 / len(values) + TEST_SHARE / (1 - TEST_SHARE)
    return float(np.sqrt(values.var(ddof=1) * overlap))


def interval_of_mean(values: NDArray[np.float64]) -> tuple[float, float]:
    """The ends of the 95 % interval of the mean over splits; NaN of fewer than two."""
    if len(values) < 2:
        return float("nan"), float("nan")
    reach = float(student.ppf(0.975, len(values) - 1)) * error_of_mean(values)
    return float(values.mean()) - reach, float(values.mean()) + reach
