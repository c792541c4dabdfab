"""The results as the paper draws its figures: bars by variant, or lines over a setting's values."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.grid.grid import Grid
from experiments.grid.settings import INTERESTS
from experiments.grid.step_times import StepTimes
from experiments.results.summary import Row


def draw_picture(grid: Grid, rows: Sequence[Row], times: dict[str, StepTimes], path: Path) -> None:
    """A row of panels a metric, a panel a base model; crosses are the paper's own means.

    Of a sweep a last panel shows the seconds of a step of pre-training (Fig. 10 b).
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    experiment = grid.experiment
    is_sweep = experiment.swept is not None
    names = [*experiment.base_models, *(["seconds of a step"] if is_sweep else [])]
    size = (4.8 * len(names), 2.9 * len(experiment.metrics))
    figure, panels = plt.subplots(len(experiment.metrics), len(names), squeeze=False, figsize=size)
    for line, metric in zip(panels, experiment.metrics, strict=True):
        for panel, base_model in zip(line, experiment.base_models, strict=False):
            some = [r for r in rows if (r.metric, r.base_model) == (metric, base_model)]
            draw = _draw_lines if is_sweep else _draw_bars
            draw(panel, some)
            if experiment.kind == INTERESTS:  # which have no labels to take a share of
                panel.set_xticks([])
                panel.set_xlabel("")
            panel.set_title(f"{base_model}: {metric}", fontsize=9)
        if is_sweep:
            _draw_seconds(line[-1], grid, times)
    title = f"{experiment.caption} (preset {grid.preset_name})"
    figure.suptitle(textwrap.fill(title, int(11 * size[0])), fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def _draw_bars(panel: Any, rows: Sequence[Row]) -> None:
    """A group of bars for each share of the labels, a bar a variant."""
    shares = sorted({row.share for row in rows})
    variants = list(dict.fromkeys(row.variant for row in rows))
    width = 0.8 / max(1, len(variants))
    for number, variant in enumerate(variants):
        own = [row for row in rows if row.variant == variant]
        places = [shares.index(row.share) + (number - (len(variants) - 1) / 2) * width
                  for row in own]  # fmt: skip
        panel.bar(places, [r.mean for r in own], width, yerr=[r.deviation for r in own],
                  label=variant, error_kw={"linewidth": 0.8})  # fmt: skip
        paper = [(p, r.paper) for p, r in zip(places, own, strict=True) if r.paper is not None]
        if paper:
            panel.plot(*zip(*paper, strict=True), "kx", markersize=5)
    _fit_height(panel, rows)
    panel.set_xticks(range(len(shares)), [f"{share:.0%}" for share in shares])
    has_paper = any(row.paper is not None for row in rows)
    crosses = "; x: the paper's mean" if has_paper else ""
    panel.set_xlabel(f"share of the labels{crosses}", fontsize=8)
    panel.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))


def _draw_lines(panel: Any, rows: Sequence[Row]) -> None:
    """A line for each share of the labels over the values of the setting."""
    for share in sorted({row.share for row in rows}):
        own = [row for row in rows if row.share == share]
        values = [_swept_value(row.variant) for row in own]
        panel.errorbar(values, [r.mean for r in own], yerr=[r.deviation for r in own],
                       marker="o", markersize=4, label=f"{share:.0%} of the labels")  # fmt: skip
    panel.set_xscale("log")
    panel.legend(fontsize=7)


def _draw_seconds(panel: Any, grid: Grid, times: dict[str, StepTimes]) -> None:
    base = grid.experiment.base_models[0]
    known = {
        _swept_value(each.variant): times[f"{base} {each.variant}"]
        for each in grid.pretrainings
        if f"{base} {each.variant}" in times
    }
    whole, sampling = ([each.seconds for each in known.values()],
                       [each.sampling_seconds for each in known.values()])  # fmt: skip
    panel.plot(list(known), whole, marker="s", color="tab:gray", label="whole step")
    panel.plot(list(known), sampling, marker="^", color="tab:red", label="choosing negatives")
    panel.set_xscale("log")
    panel.set_title("pre-training: seconds of a step", fontsize=9)
    panel.legend(fontsize=7)


def _swept_value(variant: str) -> float:
    return float(variant.partition("=")[2])


def _fit_height(panel: Any, rows: Sequence[Row]) -> None:
    """Bars that begin a little below the least value, as the paper's do, with all deviations."""
    papers = [row.paper for row in rows if row.paper is not None]
    means = [row.mean for row in rows] + papers
    if means:
        spread = max(0.01, float(np.ptp(means)))
        lowest = min([row.mean - row.deviation for row in rows] + papers)
        highest = max([row.mean + row.deviation for row in rows] + papers)
        low, high = min(min(means) - 0.5 * spread, lowest), max(max(means) + 0.3 * spread, highest)
        panel.set_ylim(low - 0.02 * (high - low), high + 0.02 * (high - low))
