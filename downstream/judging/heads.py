"""The two heads that every rival is judged by: a linear one and LightGBM's trees.

A head is fitted to the training users' features and labels and returns a score a test user and
column. Each has a short list of settings, the same for everybody, of which the search takes one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
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
_MAX_ITERATIONS = 200  # of L-BFGS; about 30 to 80 are needed


@dataclass(frozen=True)
class Head:
    """`fit` takes (setting, is_number, train features, train labels, test features, seed)."""

    name: str
    settings: tuple[Setting, ...]
    fit: Callable[[Setting, bool, Floats, Floats, Floats, int], Floats]


def standardize_features(train: Floats, test: Floats) -> tuple[Floats, Floats]:
    """Both by the training users' mean and deviation; a constant column becomes zero."""
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    scale = np.where(deviation > 1e-9, 1 / np.maximum(deviation, 1e-9), 0.0)
    return (train - mean) * scale, (test - mean) * scale


def _fit_linear(
    setting: Setting, is_number: bool, train: Floats, labels: Floats, test: Floats, seed: int
) -> Floats:
    """Logistic regression for classes; for a number, ridge regression on its ranks."""
    (inverse_penalty,) = setting
    train, test = standardize_features(train, test)
    if is_number:
        return ridge_scores(train, rank_targets(labels), test, inverse_penalty)
    weights, intercept = logistic_weights(train, labels, inverse_penalty)
    return np.asarray(test @ weights + intercept)


def logistic_weights(
    train: Floats, labels: Floats, inverse_penalty: float
) -> tuple[Floats, Floats]:
    """Logistic regression of every column at once; equal to scikit-learn's, column by column.

    The loss is the sum over columns of |w|^2 / 2 + inverse_penalty x log loss: its minimum is each
    column's own.

    Shapes: n users, D features, K columns. Returns weights (D, K) and intercept (K,).
    """
    num_features, num_columns = train.shape[1], labels.shape[1]

    def loss(flat: Floats) -> tuple[float, Floats]:
        both = flat.reshape(num_features + 1, num_columns)
        weights = both[:-1]
        logits = train @ weights + both[-1]  # (n, D) @ (D, K) -> (n, K)
        value = 0.5 * np.sum(weights**2)
        value += inverse_penalty * np.sum(np.logaddexp(0, logits) - labels * logits)
        residual = inverse_penalty * (_sigmoid(logits) - labels)  # (n, K)
        gradient = np.vstack([train.T @ residual + weights, residual.sum(axis=0)])
        return float(value), gradient.ravel()

    start = np.zeros((num_features + 1, num_columns))
    share = np.clip(labels.mean(axis=0), 1e-3, 1 - 1e-3)
    start[-1] = np.log(share / (1 - share))
    options = {"maxiter": _MAX_ITERATIONS, "ftol": 1e-9, "gtol": 1e-5}
    found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    both = np.asarray(found.x).reshape(num_features + 1, num_columns)
    return both[:-1], both[-1]


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)))


def rank_targets(labels: Floats) -> Floats:
    """(n, 1) numbers to their ranks between -1 and 1: a heavy tail does not rule the fit."""
    return np.asarray(2 * rankdata(labels, axis=0) / (len(labels) + 1) - 1)


def ridge_scores(train: Floats, targets: Floats, test: Floats, inverse_penalty: float) -> Floats:
    """Ridge regression, solved in whichever space is smaller: users or features."""
    mean = targets.mean(axis=0)
    if len(train) < train.shape[1]:
        kernel = train @ train.T + np.eye(len(train)) / inverse_penalty  # (n, n)
        return np.asarray(test @ (train.T @ np.linalg.solve(kernel, targets - mean)) + mean)
    gram = train.T @ train + np.eye(train.shape[1]) / inverse_penalty  # (D, D)
    return np.asarray(test @ np.linalg.solve(gram, train.T @ (targets - mean)) + mean)


def _fit_trees(
    setting: Setting, is_number: bool, train: Floats, labels: Floats, test: Floats, seed: int
) -> Floats:
    """A LightGBM model a column. One thread and fixed seeds, so that it is the same each time."""
    targets = rank_targets(labels) if is_number else labels
    columns = [_tree_scores(setting, is_number, train, y, test, seed) for y in targets.T]
    return np.stack(columns, axis=1)


def _tree_scores(
    setting: Setting, is_number: bool, train: Floats, target: Floats, test: Floats, seed: int
) -> Floats:
    import lightgbm

    if target.min() == target.max():
        return np.zeros(len(test))
    leaves, rounds, rate = setting
    parameters = {
        "objective": "regression" if is_number else "binary",
        "num_leaves": int(leaves),
        "learning_rate": rate,
        "min_data_in_leaf": min(20, max(2, len(train) // 20)),
        "feature_fraction": 0.3,  # of 256 soft directions each tree sees 77: three times as quick
        "max_bin": 63,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "seed": seed,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(train, target, free_raw_data=True)
    model = lightgbm.train(parameters, data, num_boost_round=int(rounds))
    return np.asarray(model.predict(test, num_threads=1), np.float64)


LINEAR_HEAD = Head("logistic", _LINEAR_SETTINGS, _fit_linear)
TREE_HEAD = Head("lightgbm", _TREE_SETTINGS, _fit_trees)
HEADS = (LINEAR_HEAD, TREE_HEAD)
