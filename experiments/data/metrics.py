"""How well scores order the candidates of each impression, ties included.

`auc`, `ap` and `ndcg_at_10` of one impression are scikit-learn's roc_auc_score,
average_precision_score and ndcg_score. `mrr` is that of MIND's evaluation: the mean of 1 / rank
over the clicked candidates, where those that tie get the mean of 1 / rank over their ranks.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_NDCG_RANKS = 10


@dataclass(frozen=True)
class _Ties:
    """The candidates of each impression by falling score, in groups of equal scores.

    Shapes: G groups, I impressions.
        owner    (G,) the impression of each group
        first    (G,) the place of a group's first candidate in its impression, from 0
        size     (G,) its candidates; clicked (G,) those that were clicked
        clicked_up_to  (G,) the clicked candidates of this group and those before it
        num_clicked, num_others  (I,)
    """

    owner: NDArray[np.int64]
    first: NDArray[np.int64]
    size: NDArray[np.int64]
    clicked: NDArray[np.int64]
    clicked_up_to: NDArray[np.int64]
    num_clicked: NDArray[np.int64]
    num_others: NDArray[np.int64]

    def sums(self, values: NDArray[Any]) -> Floats:
        """(G,) -> (I,)"""
        summed = np.bincount(self.owner, values, minlength=len(self.num_clicked))
        return np.asarray(summed, np.float64)


def impression_scores(
    scores: Floats, clicked: NDArray[np.bool_], owners: NDArray[np.int64]
) -> dict[str, Floats]:
    """Each metric of each impression, (I,), NaN where all or none of its candidates are clicked.

    Shapes: scores, clicked, owners (C,); owners count from 0 and do not fall.
    """
    ties = _grouped(scores, clicked, owners)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {
            "auc": _auc(ties),
            "ndcg_at_10": _ndcg(ties),
            "mrr": _mean_of_places(ties, 1 / np.arange(1.0, ties.size.sum() + 1)) / ties.num_clicked,
            "ap": _average_precision(ties),
        }
    is_defined = (ties.num_clicked > 0) & (ties.num_others > 0)
    return {name: np.where(is_defined, values, np.nan) for name, values in found.items()}


def mean_scores(
    scores: Floats, clicked: NDArray[np.bool_], owners: NDArray[np.int64]
) -> dict[str, float]:
    """Each metric's mean over impressions that have one, and the pooled ones; NaN of none."""
    by_impression = impression_scores(scores, clicked, owners)
    pooled = impression_scores(scores, clicked, np.zeros(len(scores), np.int64))
    means = {name: _mean(values) for name, values in by_impression.items()}
    return means | {f"pooled_{name}": _mean(pooled[name]) for name in ("auc", "ap")}


def _mean(values: Floats) -> float:
    there = values[np.isfinite(values)]
    return float(there.mean()) if len(there) else float("nan")


def _grouped(scores: Floats, clicked: NDArray[np.bool_], owners: NDArray[np.int64]) -> _Ties:
    order = np.lexsort((-scores, owners))  # (C,)
    score, owner, click = scores[order], owners[order], clicked[order].astype(np.int64)
    is_first = np.ones(len(order), bool)
    is_first[1:] = (score[1:] != score[:-1]) | (owner[1:] != owner[:-1])
    starts = np.flatnonzero(is_first)  # (G,)
    num = int(owners.max(initial=-1)) + 1
    shown = np.bincount(owners, minlength=num)  # (I,)
    num_clicked = np.bincount(owners, clicked, minlength=num).astype(np.int64)
    clicked_of_group = np.add.reduceat(click, starts) if len(starts) else click
    of_group = owner[starts]
    before = np.cumsum(shown) - shown  # (I,) candidates of earlier impressions
    clicked_before = np.cumsum(num_clicked) - num_clicked
    return _Ties(
        owner=of_group,
        first=starts - before[of_group],
        size=np.diff(np.append(starts, len(order))),
        clicked=clicked_of_group,
        clicked_up_to=np.cumsum(clicked_of_group) - clicked_before[of_group],
        num_clicked=num_clicked,
        num_others=shown - num_clicked,
    )


def _auc(ties: _Ties) -> Floats:
    """The share of pairs (clicked, other) in the right order; a tie counts one half."""
    others = ties.size - ties.clicked  # (G,)
    others_up_to = ties.first + ties.size - ties.clicked_up_to
    below = ties.num_others[ties.owner] - others_up_to  # (G,) others with a lower score
    won = ties.sums(ties.clicked * (below + others / 2))
    return np.asarray(won / (ties.num_clicked * ties.num_others))


def _ndcg(ties: _Ties) -> Floats:
    discounts = 1 / np.log2(np.arange(ties.size.sum()) + 2.0)
    discounts[_NDCG_RANKS:] = 0
    ideal = np.concatenate([[0.0], np.cumsum(discounts)])[ties.num_clicked]  # (I,)
    return np.asarray(_mean_of_places(ties, discounts) / ideal)


def _mean_of_places(ties: _Ties, weights: Floats) -> Floats:
    """(I,) the sum over clicked candidates of their place's weight, its mean over a tie."""
    total = np.concatenate([[0.0], np.cumsum(weights)])
    mean = (total[ties.first + ties.size] - total[ties.first]) / ties.size  # (G,)
    return ties.sums(ties.clicked * mean)


def _average_precision(ties: _Ties) -> Floats:
    precision = ties.clicked_up_to / (ties.first + ties.size)  # (G,) at the end of each tie
    return np.asarray(ties.sums(ties.clicked * precision) / ties.num_clicked)
