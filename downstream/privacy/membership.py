"""Whom a model was trained on: can an attacker tell, from vectors or from losses?

A tenth of the users is held out of every training by a hash of the id, so the users who were
trained on and those who were not differ by chance alone. Whatever tells them apart was learned by
heart. The attacker is strong: she knows of four fifths of the users whether they were trained on,
fits the judge's heads to that, and is asked about the others; or takes a loss as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from downstream.judging.cells import best_setting
from downstream.judging.heads import LINEAR_HEAD, TREE_HEAD, Features, Floats, Head
from downstream.judging.metrics import column_auc
from downstream.privacy.estimates import Estimate, resampled_estimate
from downstream.tasks.task import Task
from model.data.keyed_random import keyed_generator
from model.training.user_losses import UserLosses

_FOLDS = 5
NO_HEAD = "none"  # the number itself orders the users


@dataclass(frozen=True)
class MembershipAttack:
    """What one attacker reaches: 0.5 is chance."""

    sees: str  # vectors, losses, ...
    head: str  # the judge's, or NO_HEAD
    trained: int  # users who were trained on
    held_out: int
    auc: Estimate


def attacks_by_heads(
    sees: str, features: NDArray[np.floating], was_trained: NDArray[np.bool_], seed: int
) -> list[MembershipAttack]:
    """By both heads. Shapes: features (N, D), was_trained (N,)."""
    return [
        _attack(
            sees, head.name, _cross_fitted(head, features, was_trained, seed), was_trained, seed
        )
        for head in (LINEAR_HEAD, TREE_HEAD)
    ]


def attacks_by_losses(found: UserLosses, seed: int) -> list[MembershipAttack]:
    """A low loss speaks for a user who was trained on: each task's, and the sum of all."""
    names = [*(f"loss of {task}" for task in found.tasks), "sum of losses"]
    scores = np.column_stack([-found.losses, -found.losses.sum(axis=1)])  # (U, K + 1)
    return [
        _attack(name, NO_HEAD, column, found.was_trained, seed)
        for name, column in zip(names, scores.T, strict=True)
    ]


def _attack(
    sees: str, head: str, scores: Floats, was_trained: NDArray[np.bool_], seed: int
) -> MembershipAttack:
    auc = resampled_estimate(
        partial(_auc_of_rows, scores, was_trained), len(scores), seed, "privacy membership"
    )
    trained = int(was_trained.sum())
    return MembershipAttack(sees, head, trained, len(was_trained) - trained, auc)


def _auc_of_rows(scores: Floats, was_trained: NDArray[np.bool_], rows: NDArray[np.int64]) -> Floats:
    """(R, n) rows of users -> (R,)"""
    return column_auc(was_trained[rows].T.astype(np.float64), scores[rows].T)


def _cross_fitted(
    head: Head, features: NDArray[np.floating], was_trained: NDArray[np.bool_], seed: int
) -> Floats:
    """(N,) each user's place among those of the same fold, by a head fitted to the other folds.

    The setting of the head is searched among the other folds alone.
    """
    labels = was_trained.astype(np.float64)[:, None]
    task = Task(
        "membership", "binary", np.arange(len(labels)), labels, ("trained",), "was trained on"
    )
    held = Features(np.asarray(features, np.float64))
    places = np.empty(len(labels))
    for test, train in _folds(was_trained, seed):
        setting = best_setting(head, task, held, train, seed)
        scores = head.fit(setting, False, held, train, labels[train], test, seed)
        places[test] = rankdata(scores[:, 0]) / (len(test) + 1)
    return places


def _folds(
    was_trained: NDArray[np.bool_], seed: int
) -> Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(asked, fitted to) rows; each fold has its share of both kinds of users."""
    order = keyed_generator(seed, "privacy folds").permutation(len(was_trained))
    order = order[np.argsort(was_trained[order], kind="stable")]
    return [
        (order[number::_FOLDS], np.delete(order, np.s_[number::_FOLDS])) for number in range(_FOLDS)
    ]
