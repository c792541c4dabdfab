"""How well scores order the labels; each metric for many columns at once."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

_Floats = NDArray[np.float64]


def column_auc(labels: _Floats, scores: _Floats) -> _Floats:
    """Area under the ROC curve of each column; a tie counts one half.

    Shapes: n users, K columns. labels (n, K) of 0 and 1, scores (n, K); returns (K,), NaN where a
    column has one class only.
    """
    positives = labels.sum(axis=0)  # (n, K) -> (K,)
    negatives = len(labels) - positives
    ranks = rankdata(scores, axis=0)  # ties get their mean rank
    above = (ranks * labels).sum(axis=0) - positives * (positives + 1) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        auc: _Floats = above / (positives * negatives)
    return np.where(positives * negatives > 0, auc, np.nan)


def mean_auc(labels: _Floats, scores: _Floats) -> float:
    """The mean over the columns that have both classes; NaN where none has."""
    columns = column_auc(labels, scores)
    there = np.isfinite(columns)
    return float(columns[there].mean()) if there.any() else float("nan")


def rank_correlation(labels: _Floats, scores: _Floats) -> float:
    """Rank correlation of the first column; 0 where the labels or the scores are all equal."""
    ranks = [rankdata(values[:, 0]) for values in (labels, scores)]
    centered = [each - each.mean() for each in ranks]
    norms = [float(np.linalg.norm(each)) for each in centered]
    if len(labels) < 2 or min(norms) == 0:
        return float("nan") if len(labels) < 2 else 0.0
    return float(centered[0] @ centered[1] / (norms[0] * norms[1]))
