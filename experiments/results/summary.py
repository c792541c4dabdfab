"""Cells to rows: mean and deviation over seeds, a paired t-test, and the paper's own mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.grid.cells import Cell, CellResult
from experiments.grid.settings import ExperimentSettings

_Floats = NDArray[np.float64]
_EQUAL = 1e-12  # metrics that differ by less are equal
_Place = tuple[str, str, float]  # base model, variant, share of the labels


@dataclass(frozen=True)
class Row:
    """One metric of one variant with one share of the labels, over seeds."""

    base_model: str
    variant: str
    share: float
    metric: str
    values: tuple[float, ...]  # a seed each
    p_value: float | None  # against the baseline; None for the baseline itself and for one seed
    paper: float | None  # the paper's mean

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def deviation(self) -> float:
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else 0.0


def summary_rows(
    experiment: ExperimentSettings,
    results: Mapping[Cell, CellResult],
    metrics: Sequence[str] | None = None,
) -> list[Row]:
    """A row for each metric, base model, variant and share that has a finished cell."""
    found: dict[_Place, dict[int, CellResult]] = {}
    for cell, result in results.items():
        place = (cell.pretraining.base_model, cell.pretraining.variant, cell.share)
        found.setdefault(place, {})[cell.seed] = result
    return [
        _row(experiment, found, place, metric)
        for metric in metrics or experiment.metrics
        for place in found
    ]


def _row(
    experiment: ExperimentSettings,
    found: Mapping[_Place, Mapping[int, CellResult]],
    place: _Place,
    metric: str,
) -> Row:
    base_model, variant, share = place
    own = found[place]
    rival = found.get((base_model, experiment.baseline, share), {})
    both = sorted(own.keys() & rival.keys())
    p_value = None
    if variant != experiment.baseline:
        pairs = [[each[seed].metrics[metric] for seed in both] for each in (own, rival)]
        p_value = paired_p_value(*map(np.array, pairs))
    values = tuple(own[seed].metrics[metric] for seed in sorted(own))
    paper = experiment.paper_mean(metric, base_model, variant, share)
    return Row(base_model, variant, share, metric, values, p_value, paper)


def paired_p_value(ours: _Floats, theirs: _Floats) -> float | None:
    """Of a two-sided t-test over seeds; None for fewer than two, 1 where no seed differs."""
    from scipy.stats import ttest_rel

    if len(ours) < 2:
        return None
    differences = ours - theirs
    if np.ptp(differences) < _EQUAL:  # no spread: the test has no error to divide by
        return 1.0 if abs(differences[0]) < _EQUAL else 0.0
    return float(ttest_rel(ours, theirs).pvalue)
