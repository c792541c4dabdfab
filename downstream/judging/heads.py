"""The two heads that every rival is judged by: a linear one and LightGBM's trees.

A head is fitted to the training users' features and labels and returns a score a test user and
column. Each has a short list of settings, the same for everybody, of which the search takes one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, qr, solve_triangular
from scipy.optimize import minimize
from scipy.stats import rankdata

Floats = NDArray[np.float64]
Setting = tuple[float, ...]

_LINEAR_SETTINGS: tuple[Setting, ...] = (
    (1e-4,),
    (1e-3,),
    (1e-2,),
    (1e-1,),
    (1.0,),
)  # scikit-learn's C
# Leaves, rounds, learning rate. Three times the rounds at half the rate scored mostly within 0.01.
_TREE_SETTINGS: tuple[Setting, ...] = ((4, 40, 0.1), (15, 40, 0.1))
_TREE_PARAMETERS = {
    "feature_fraction": 0.3,  # of 256 soft directions each tree sees 77: three times as quick
    "max_bin": 63,
    "num_threads": 1,
    "deterministic": True,
    "force_col_wise": True,
    "feature_pre_filter": False,
    "verbosity": -1,
}
_MAX_ITERATIONS = 200  # of L-BFGS; about 10 to 80 are needed
_LOWER: dict[str, Any] = {"lower": True, "check_finite": False}


_Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Features:
    """A rival's vectors of n labelled users, (n, D), and what the heads keep of them."""

    values: Floats

    @cached_property
    def bins(self) -> Any:
        """LightGBM's data set of all users, without labels. Cutting a column into bins costs more
        than to grow the trees, and no label has a part in it, so it is done once."""
        import lightgbm

        labels = np.zeros(len(self.values))
        return lightgbm.Dataset(self.values, labels, params=_TREE_PARAMETERS).construct()


class _Scores(Protocol):
    def __call__(
        self,
        settings: Sequence[Setting],
        is_number: bool,
        features: Features,
        train: _Rows,
        labels: Floats,
        test: _Rows,
        seed: int,
    ) -> Iterator[Floats]:
        """For each setting, a score of each test user and column. Asked for one after the other,
        since they share work and who chooses among them may stop early.

        Shapes: train (n,) rows of the features, labels (n, K), test (m,); yields (m, K).
        """


@dataclass(frozen=True)
class Head:
    name: str
    settings: tuple[Setting, ...]
    scores: _Scores

    def fit(
        self,
        setting: Setting,
        is_number: bool,
        features: Features,
        train: _Rows,
        labels: Floats,
        test: _Rows,
        seed: int,
    ) -> Floats:
        """The scores of one setting."""
        return next(self.scores((setting,), is_number, features, train, labels, test, seed))


def standardize_features(train: Floats, test: Floats) -> tuple[Floats, Floats]:
    """Both by the training users' mean and deviation; a constant column becomes zero."""
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    scale = np.where(deviation > 1e-9, 1 / np.maximum(deviation, 1e-9), 0.0)
    return (train - mean) * scale, (test - mean) * scale


def _linear_scores(
    settings: Sequence[Setting],
    is_number: bool,
    features: Features,
    train: _Rows,
    labels: Floats,
    test: _Rows,
    seed: int,
) -> Iterator[Floats]:
    """Logistic regression for classes; for a number, ridge regression on its ranks."""
    pair = standardize_features(features.values[train], features.values[test])
    fitted, asked = narrow_features(*pair)
    penalties = [inverse_penalty for (inverse_penalty,) in settings]
    if is_number:
        yield from ridge_scores(fitted, rank_targets(labels), asked, penalties)
        return
    for weights, intercept in logistic_weights(fitted, labels, penalties):
        yield np.asarray(asked @ weights + intercept)


def narrow_features(train: Floats, test: Floats) -> tuple[Floats, Floats]:
    """As many columns as training users, where there are more: what a linear head gives is equal.

    The weights of a head with a penalty on |w|^2 are a sum of training users' rows, so rows and
    weights are written in an orthonormal basis of these rows.
    """
    if len(train) >= train.shape[1]:
        return train, test
    basis, triangle = qr(train.T, mode="economic", check_finite=False)  # (D, n), (n, n)
    return np.ascontiguousarray(triangle.T), np.asarray(test @ basis)


def logistic_weights(
    train: Floats, labels: Floats, inverse_penalties: Sequence[float]
) -> Iterator[tuple[Floats, Floats]]:
    """Logistic regression of every column at once; equal to scikit-learn's, column by column.

    The loss is the sum over columns of |w|^2 / 2 + inverse_penalty x log loss: its minimum is each
    column's own. A penalty starts from the weights of the one before. L-BFGS works on the weights
    times the Cholesky factor of the loss's second derivative, averaged over the columns, in which
    all directions are about equally steep: two to five times fewer steps.

    Shapes: n users, D features, K columns. Yields weights (D, K) and intercept (K,) a penalty.
    """
    share = np.clip(labels.mean(axis=0), 1e-3, 1 - 1e-3)
    weights, intercept = np.zeros((train.shape[1], labels.shape[1])), np.log(share / (1 - share))
    gram = train.T @ train  # (D, D)
    for inverse_penalty in inverse_penalties:
        chances = _sigmoid(train @ weights + intercept)
        curvature = inverse_penalty * float((chances * (1 - chances)).mean())
        steepness = curvature * gram
        steepness[np.diag_indices_from(steepness)] += 1
        factor = cholesky(steepness, lower=True, check_finite=False)
        scale = max(curvature * len(train), 1e-12) ** 0.5  # of the intercept
        loss = _scaled_loss(train, labels, inverse_penalty, factor, scale)
        start = np.vstack([factor.T @ weights, intercept * scale])  # (D + 1, K)
        options = {"maxiter": _MAX_ITERATIONS, "ftol": 1e-9, "gtol": 1e-5}
        found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options=options)
        scaled = np.asarray(found.x).reshape(start.shape)
        weights = solve_triangular(factor, scaled[:-1], trans="T", **_LOWER)
        intercept = scaled[-1] / scale
        yield weights, intercept


def _scaled_loss(
    train: Floats, labels: Floats, inverse_penalty: float, factor: Floats, scale: float
) -> Callable[[Floats], tuple[float, Floats]]:
    """The loss and its gradient as functions of the flat (D + 1, K) scaled weights."""
    shape = train.shape[1] + 1, labels.shape[1]

    def loss(flat: Floats) -> tuple[float, Floats]:
        scaled = flat.reshape(shape)
        weights = solve_triangular(factor, scaled[:-1], trans="T", **_LOWER)
        logits = train @ weights + scaled[-1] / scale  # (n, D) @ (D, K) -> (n, K)
        away = np.exp(-np.abs(logits))
        value = 0.5 * np.sum(weights**2)
        value += inverse_penalty * np.sum(np.log1p(away) + np.maximum(logits, 0) - labels * logits)
        chances = np.where(logits >= 0, 1.0, away) / (1 + away)
        residual = inverse_penalty * (chances - labels)  # (n, K)
        steep = solve_triangular(factor, train.T @ residual + weights, **_LOWER)
        gradient = np.vstack([steep, residual.sum(axis=0) / scale])
        return float(value), gradient.ravel()

    return loss


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)))


def rank_targets(labels: Floats) -> Floats:
    """(n, 1) numbers to their ranks between -1 and 1: a heavy tail does not rule the fit."""
    return np.asarray(2 * rankdata(labels, axis=0) / (len(labels) + 1) - 1)


def ridge_scores(
    train: Floats, targets: Floats, test: Floats, inverse_penalties: Sequence[float]
) -> Iterator[Floats]:
    """Ridge regression, the scores of the test users for each penalty."""
    mean = targets.mean(axis=0)
    gram, products = train.T @ train, train.T @ (targets - mean)  # (D, D), (D, K)
    for inverse_penalty in inverse_penalties:
        whole = gram + np.eye(len(gram)) / inverse_penalty
        yield np.asarray(test @ np.linalg.solve(whole, products) + mean)


def _tree_scores(
    settings: Sequence[Setting],
    is_number: bool,
    features: Features,
    train: _Rows,
    labels: Floats,
    test: _Rows,
    seed: int,
) -> Iterator[Floats]:
    """A LightGBM model a column. One thread and fixed seeds, so that it is the same each time."""
    import lightgbm

    targets = rank_targets(labels) if is_number else labels
    order = np.argsort(train)  # LightGBM keeps the rows of a subset in ascending order
    asked = features.values[test]
    for leaves, rounds, rate in settings:
        parameters = {
            **_TREE_PARAMETERS,
            "objective": "regression" if is_number else "binary",
            "num_leaves": int(leaves),
            "learning_rate": rate,
            "min_data_in_leaf": min(20, max(2, len(train) // 20)),
            "seed": seed,
        }
        data = features.bins.subset(train[order].tolist(), params=parameters).construct()
        columns = []
        for target in targets[order].T:
            if target.min() == target.max():
                columns.append(np.zeros(len(test)))
                continue
            model = lightgbm.Booster(parameters, data.set_label(target))
            for _ in range(int(rounds)):
                model.update()
            columns.append(np.asarray(model.predict(asked, num_threads=1), np.float64))
        yield np.stack(columns, axis=1)


LINEAR_HEAD = Head("logistic", _LINEAR_SETTINGS, _linear_scores)
TREE_HEAD = Head("lightgbm", _TREE_SETTINGS, _tree_scores)
HEADS = (LINEAR_HEAD, TREE_HEAD)
