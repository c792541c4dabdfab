"""What a private export costs the judge's tasks, and what it takes from who re-identifies users.

Both files of the re-identification have noise of their own, as two exports have. The noise has a
fixed seed here, since nothing of it leaves.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from analyst.vectors.private_noise import PrivacySettings, clipped_rows, private_vectors
from downstream.judging.heads import LINEAR_HEAD
from downstream.privacy.leaked_labels import scores_of_splits
from downstream.privacy.reidentification import ranks_of_own, standardized_columns
from downstream.tasks.task import Task
from model.vector_measures import NUM_NEIGHBORS

AS_THEY_ARE, CLIPPED = "as they are", "clipped, no noise"

_Matrix = NDArray[np.float32]
_MAIN_DIRECTIONS = 16


@dataclass(frozen=True, eq=False)
class JudgedVectors:
    """Vectors of N judged users as of a day with labels after it, and of M users in two periods."""

    at_cut: _Matrix  # (N, D)
    earlier: _Matrix  # (M, D)
    later: _Matrix  # (M, D)


@dataclass(frozen=True)
class NoiseCost:
    """One row: an epsilon, or vectors without noise."""

    export: str  # AS_THEY_ARE, CLIPPED or "epsilon 8"
    epsilon: float | None
    noise_deviation: float  # on each number
    shortened: float  # share of the vectors that are longer than the clip
    cosine: float  # mean, of a user's exported vector to the true one
    top_1: float  # users of both periods who are found at the first place, by the better comparison
    top_10: float
    scores: dict[str, float]  # by task, of the linear head with all labels: the mean over splits


@dataclass(frozen=True)
class _Export:
    """A way to write vectors: as they are, cut, or cut and with noise."""

    name: str
    epsilon: float | None
    noise_deviation: float
    change: Callable[[_Matrix, int], _Matrix]  # of vectors, by a seed


def noise_costs(
    vectors: JudgedVectors,
    tasks: Sequence[Task],
    epsilons: Sequence[float],
    settings: PrivacySettings,
    splits: int,
    seed: int,
) -> Iterator[NoiseCost]:
    """A row for vectors as they are, one for clipped ones, and one for each epsilon."""
    lengths = np.linalg.norm(vectors.at_cut, axis=1)
    shortened = float((lengths > settings.clip).mean())
    for export in _exports(epsilons, settings):
        exported = export.change(vectors.at_cut, seed)
        two_files = (
            export.change(vectors.earlier, seed + 1),
            export.change(vectors.later, seed + 2),
        )
        top_1, top_10 = _reidentified(*two_files)
        scores = {
            task.name: float(scores_of_splits(LINEAR_HEAD, task, exported, splits, seed).mean())
            for task in tasks
        }
        yield NoiseCost(
            export=export.name,
            epsilon=export.epsilon,
            noise_deviation=export.noise_deviation,
            shortened=0.0 if export.name == AS_THEY_ARE else shortened,
            cosine=_mean_cosine(vectors.at_cut, exported),
            top_1=top_1,
            top_10=top_10,
            scores=scores,
        )


def _exports(epsilons: Sequence[float], settings: PrivacySettings) -> Iterator[_Export]:
    yield _Export(AS_THEY_ARE, None, 0.0, lambda matrix, seed: matrix)
    yield _Export(CLIPPED, None, 0.0, lambda matrix, seed: clipped_rows(matrix, settings.clip))
    for epsilon in epsilons:
        noisy = replace(settings, epsilon=epsilon)
        yield _Export(
            f"epsilon {epsilon:g}",
            epsilon,
            noisy.noise_deviation,
            partial(_with_noise, noisy),
        )


def _with_noise(settings: PrivacySettings, matrix: _Matrix, seed: int) -> _Matrix:
    return private_vectors(matrix, settings, seed)


def _reidentified(earlier: _Matrix, later: _Matrix) -> tuple[float, float]:
    """Of all users the share at the first place, and among the ten first: the best attacker's.

    She compares the vectors as they are, standardized, or in the directions in which the earlier
    ones differ most, where noise weighs less.
    """
    center = earlier.mean(axis=0, dtype=np.float64)  # (D,)
    directions = np.linalg.svd(earlier - center, full_matrices=False)[2][:_MAIN_DIRECTIONS]
    found = [
        ranks_of_own(earlier, later),
        ranks_of_own(standardized_columns(earlier), standardized_columns(later)),
        ranks_of_own((earlier - center) @ directions.T, (later - center) @ directions.T),
    ]
    return max(
        (float(each.chance_within(1).mean()), float(each.chance_within(NUM_NEIGHBORS).mean()))
        for each in found
    )


def _mean_cosine(true: _Matrix, exported: _Matrix) -> float:
    products = np.einsum("nd,nd->n", true, exported, dtype=np.float64)
    lengths = np.linalg.norm(true, axis=1) * np.linalg.norm(exported, axis=1)
    return float((products / np.maximum(lengths, 1e-12)).mean())
