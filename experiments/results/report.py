"""What came out: a table for people, CSV, JSON and Markdown, the paper's numbers next to ours."""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from rich.table import Table

from contracts.provenance import code_version
from contracts.terminal.printing import grid as table_of
from experiments.grid.cells import Cell, CellResult
from experiments.grid.grid import Grid
from experiments.grid.settings import INTERESTS, ExperimentSettings
from experiments.grid.step_times import StepTimes
from experiments.grid.work import pretraining_cpu_seconds
from experiments.results.summary import Row, summary_rows

_LEAST_P = 0.001  # a smaller one is printed as "below"


def all_rows(grid: Grid) -> list[Row]:
    """The experiment's own metrics, then the others."""
    results = grid.results()
    chosen = grid.experiment.metrics
    others = _other_metrics(results, chosen)
    return summary_rows(grid.experiment, results, [*chosen, *others])


def _other_metrics(results: dict[Cell, CellResult], chosen: tuple[str, ...]) -> list[str]:
    first = next(iter(results.values()), None)
    return [name for name in (first.metrics if first else ()) if name not in chosen]


def tables(grid: Grid, rows: list[Row]) -> list[Table]:
    """A table for each of the experiment's metrics."""
    columns = _columns(grid.experiment, rows)
    return [
        table_of(
            _lines(columns, rows, metric), *columns, title=f"{grid.experiment.caption}: {metric}"
        )
        for metric in grid.experiment.metrics
    ]


def paper_words(experiment: ExperimentSettings) -> list[str]:
    """What the paper says where it gives no numbers: nothing of a table, a sentence of a figure."""
    if not experiment.finding:
        return []
    return [
        "the paper draws these points without numbers, so only its finding can be compared: "
        f"{experiment.finding}"
    ]


_Columns = dict[str, Callable[[Row], str]]  # by their heads, what each shows of a row


def _columns(experiment: ExperimentSettings, rows: list[Row]) -> _Columns:
    """What the tables show: interests have no labels, and most figures no means of the paper."""
    columns: _Columns = {
        "base model": lambda row: row.base_model,
        "variant": lambda row: row.variant,
    }
    if experiment.kind != INTERESTS:
        columns["labels"] = lambda row: f"{row.share:.0%}"
    columns["ours"] = lambda row: f"{row.mean:.4f} ± {row.deviation:.4f}"
    columns["p"] = lambda row: _p_value_text(row.p_value)
    if any(row.paper is not None for row in rows):
        columns["the paper's"] = lambda row: "" if row.paper is None else f"{row.paper:.4f}"
    return columns


def _p_value_text(p_value: float | None) -> str:
    """Three digits, or "< 0.001"; nothing for the baseline itself and for one seed."""
    if p_value is None:
        return ""
    return f"< {_LEAST_P}" if p_value < _LEAST_P else f"{p_value:.3f}"


def _lines(columns: _Columns, rows: list[Row], metric: str) -> list[list[str]]:
    return [[show(row) for show in columns.values()] for row in rows if row.metric == metric]


def as_csv(rows: list[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = ("base_model", "variant", "label_share", "metric", "mean", "deviation", "seeds")
    writer.writerow([*columns, "p_value", "paper_mean", "values"])
    for row in rows:
        values = " ".join(f"{value:.6f}" for value in row.values)
        facts = [row.base_model, row.variant, row.share, row.metric, row.mean, row.deviation]
        writer.writerow([*facts, len(row.values), row.p_value, row.paper, values])
    return text.getvalue()


def as_json(grid: Grid, rows: list[Row], times: dict[str, StepTimes]) -> dict[str, Any]:
    """All that it takes to see what was measured and to measure it again."""
    experiment = grid.experiment
    return {
        "experiment": experiment.name,
        "caption": experiment.caption,
        "preset": grid.preset_name,
        "finding_of_the_paper": experiment.finding,
        "baseline": experiment.baseline,
        "rows": [asdict(r) | {"mean": r.mean, "deviation": r.deviation} for r in rows],
        "data": grid.data_facts,
        "finished_cells": len(grid.results()),
        "cells": len(grid.cells),
        "cell_seconds": sum(result.seconds for result in grid.results().values()),
        "cell_cpu_seconds": sum(result.cpu_seconds or 0 for result in grid.results().values()),
        "pretraining_cpu_seconds": pretraining_cpu_seconds(grid.pretrainings, grid.folders),
        "seconds_of_a_pretraining_step": {name: asdict(each) for name, each in times.items()},
        "settings": asdict(grid.preset),
        "pretraining_settings": {
            f"{each.base_model} {each.variant}": each.config.to_json() for each in grid.pretrainings
        },
        "commit": code_version(),
    }


def as_markdown(grid: Grid, rows: list[Row]) -> str:
    return "\n".join(_markdown(grid, rows)) + "\n"


def _markdown(grid: Grid, rows: list[Row]) -> Iterator[str]:
    columns = _columns(grid.experiment, rows)
    yield f"## {grid.experiment.caption}\n"
    yield f"Preset `{grid.preset_name}`, {grid.preset.seeds} seeds, commit {code_version()}.\n"
    yield from (f"{words[0].upper()}{words[1:]}.\n" for words in paper_words(grid.experiment))
    for metric in grid.experiment.metrics:
        yield f"{metric} (p: paired t-test against {grid.experiment.baseline})\n"
        yield f"| {' | '.join(columns)} |"
        yield f"|{'---|' * len(columns)}"
        yield from (f"| {' | '.join(line)} |" for line in _lines(columns, rows, metric))
        yield ""
