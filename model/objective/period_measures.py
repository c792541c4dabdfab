"""How well a memory form says what held-out users do next: asked as of fixed days, without dropout.

These measures stand next to the questions that every form answers (`model/training/evaluation.py`).
"""

import numpy as np
from numpy.typing import NDArray

from contracts.instants import DAY_MICROSECONDS
from model.inference.vectors import evaluation_mode
from model.objective.calibration import calibration_measures
from model.objective.period_objective import PeriodObjective, encode_cuts
from model.objective.tasks.next_period import NextActivity
from model.objective.tasks.periods import Cuts, class_counts

_CUTS_BEFORE_LAST = (0, 14, 28)  # days before the last possible cut
_EVALUATION_STEP = -1  # its draws are no training step's


def period_measures(objective: PeriodObjective, part: str) -> dict[str, float]:
    """The loss on the users of a part, and rank measures of what the heads of next_period say."""
    model, losses, rows = objective.model, [], []
    with evaluation_mode(model):
        for cuts in _evaluation_cuts(objective, part):
            share = np.arange(len(cuts))
            losses.append(objective.loss_at(_EVALUATION_STEP, cuts, share).loss.item())
            users = encode_cuts(model, objective.corpus, cuts)
            forecasts = model.forecasts(users).cpu().numpy()  # (N, 5)
            logs = model.heads.activity(users[:, : model.config.activity_width])[:, 0]
            classes = model.heads.next_classes(users).cpu().numpy()
            rows.append((cuts, forecasts, logs.cpu().numpy(), classes))
    if not rows:
        return {}
    measures = {f"{part}_loss": float(np.mean(losses))}
    if "next_period" not in objective.tasks:
        return measures
    activity = [NextActivity.of(cuts, cuts.after()) for cuts, *_ in rows]
    views = np.concatenate([each.views for each in activity])
    counts = [
        class_counts(cuts.after(), objective.title_classes, model.config.num_classes)
        for cuts, *_ in rows
    ]
    forecasts, logs, classes = (np.concatenate([row[nth] for row in rows]) for nth in (1, 2, 3))
    observed = np.concatenate([each.observed() for each in activity])
    return measures | {
        **calibration_measures(forecasts, observed),
        "no_view_auc": roc_auc(views == 0, forecasts[:, 1]),
        "views_spearman": spearman_correlation(views, logs),
        "next_classes_auc": mean_auc(np.concatenate(counts) > 0, classes),
        "asked_cuts": float(len(views)),
    }


def _evaluation_cuts(objective: PeriodObjective, part: str) -> list[Cuts]:
    """The users of a part as of a few fixed days, those who had a view by then."""
    histories, cut_range = objective.histories, objective.cut_range
    users = histories.users_of(part)
    found = []
    for days in _CUTS_BEFORE_LAST:
        day = cut_range.last - days
        allowed = users[cut_range.first[users] <= day]
        if len(allowed):
            at = np.full(len(allowed), day * DAY_MICROSECONDS, np.int64)
            found.append(Cuts(histories, allowed, at))
    return found


def _average_ranks(values: NDArray[np.generic]) -> NDArray[np.float64]:
    """(N,) ranks from 1 in ascending order; ties share their mean."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[group], np.float64)


def roc_auc(labels: NDArray[np.bool_], scores: NDArray[np.generic]) -> float:
    """The chance that a true one scores above a false one; ties count half. 0.5 of one kind."""
    num_true = int(labels.sum())
    num_false = len(labels) - num_true
    if not num_true or not num_false:
        return 0.5
    ranks = _average_ranks(scores)
    return float((ranks[labels].sum() - num_true * (num_true + 1) / 2) / (num_true * num_false))


def mean_auc(labels: NDArray[np.bool_], scores: NDArray[np.generic]) -> float:
    """The mean over the columns that have both kinds of labels, five of each or more."""
    totals = labels.sum(0)
    columns = np.flatnonzero((totals >= 5) & (totals <= len(labels) - 5))
    areas = [roc_auc(labels[:, column], scores[:, column]) for column in columns]
    return float(np.mean(areas)) if areas else 0.5


def spearman_correlation(first: NDArray[np.generic], second: NDArray[np.generic]) -> float:
    """The correlation of ranks; 0 where either has one value."""
    ranks = [_average_ranks(values) - (len(values) + 1) / 2 for values in (first, second)]
    norms = float(np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum()))
    return float((ranks[0] * ranks[1]).sum() / norms) if norms else 0.0
