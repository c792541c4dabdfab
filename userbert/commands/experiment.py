"""The paper's experiments on this installation's data: list, plan, run, show.

userbert experiment list
userbert experiment plan table2 --preset small      CPU hours; only a pilot is run
userbert experiment run table2 --preset small       goes on where it was, when it was killed
userbert experiment show table2 --preset small      what is finished: table, CSV, JSON, picture

docs/experiments.md explains data, parts and presets.
"""

from __future__ import annotations

import inspect
import json as jsonlib
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contracts.errors import BadInput, MissingTable
from contracts.storage.atomic_write import write_json, write_text
from contracts.terminal.command_line import Interrupted, command_group
from contracts.terminal.options import (
    AsJson,
    NumProcesses,
    day_option,
    num_processes,
    own_parameters,
    with_parameters,
)
from contracts.terminal.printing import grid as table_of
from contracts.terminal.printing import print_parts

if TYPE_CHECKING:  # torch takes seconds to import, and `--help` needs none
    from experiments.grid.grid import Grid

app = command_group(__doc__)

_OF_PRESET, _OF_EXPERIMENT = "[default: the preset's]", "[default: the experiment's]"
# The options by which `plan`, `run` and `show` name a grid: annotation and default of each.
_GRID_OPTIONS: dict[str, tuple[Any, Any]] = {
    "name": (
        Annotated[
            str, typer.Argument(metavar="NAME", help="An experiment; `experiment list` has all.")
        ],
        inspect.Parameter.empty,
    ),
    "preset": (
        Annotated[str, typer.Option("--preset", help="How large: paper, small or tiny.")],
        "small",
    ),
    "as_of": (
        Annotated[
            date | None,
            day_option(
                "--as-of",
                help="UTC day: pre-training reads views from before it, impressions are from it "
                "on. [default: the newest day of sequence_pairs with enough days after it]",
            ),
        ],
        None,
    ),
    "impressions": (
        Annotated[
            str,
            typer.Option(
                "--impressions",
                metavar="NAME",
                help="A file impressions/NAME of the data root; `views` makes them out of views.",
            ),
        ],
        "views",
    ),
    "training_days": (
        Annotated[int, typer.Option("--training-days", help="Days to fine-tune on.")],
        21,
    ),
    "validation_days": (
        Annotated[int, typer.Option("--validation-days", help="The days after those.")],
        7,
    ),
    "test_days": (
        Annotated[int, typer.Option("--test-days", help="The days after those, scored once.")],
        14,
    ),
    "seeds": (Annotated[int | None, typer.Option("--seeds", help=_OF_PRESET)], None),
    "label_shares": (
        Annotated[str | None, typer.Option("--label-shares", metavar="SHARE,...", help=_OF_PRESET)],
        None,
    ),
    "base_models": (
        Annotated[
            str | None, typer.Option("--base-models", metavar="NAME,...", help=_OF_EXPERIMENT)
        ],
        None,
    ),
    "models": (
        Annotated[
            str | None,
            typer.Option(
                "--models",
                metavar="MODEL_ID,...",
                help="Models of the data root to fine-tune next to the variants. [default: none]",
            ),
        ],
        None,
    ),
    "variants": (
        Annotated[str | None, typer.Option("--variants", metavar="NAME,...", help=_OF_EXPERIMENT)],
        None,
    ),
}


def _with_grid_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command that takes `**options` the options of a grid, before its own."""
    options = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
        )
        for name, (annotation, default) in _GRID_OPTIONS.items()
    ]
    own = own_parameters(function)
    return with_parameters(function, [*options, *own])


@app.command("list")
def list_experiments(json: AsJson = False) -> None:
    """Show every experiment with its grid."""
    from experiments.grid.settings import ExperimentFile, variant_names

    experiments = ExperimentFile.from_environment().experiments
    if json:
        facts = {
            name: {
                "caption": each.caption,
                "variants": variant_names(each),
                "base_models": each.base_models,
                "metrics": each.metrics,
            }
            for name, each in experiments.items()
        }
        sys.stdout.write(jsonlib.dumps(facts, indent=1) + "\n")
        return
    rows = [
        (name, each.caption, list(each.base_models), list(variant_names(each)))
        for name, each in experiments.items()
    ]
    print_parts(table_of(rows, "experiment", "what", "base models", "variants"))


@app.command("plan")
@_with_grid_options
def plan_experiment(processes: NumProcesses = 0, json: AsJson = False, **options: Any) -> None:
    """Show what a run would cost: cells, CPU hours by finished cells or a measured pilot, disk."""
    from experiments.grid.cost import free_disk_mib, plan_as_json, plan_grid
    from experiments.grid.work import prepare_process

    prepare_process()
    grid = _grid(**options)
    plan = plan_grid(grid, num_processes(processes))
    if json:
        sys.stdout.write(jsonlib.dumps(plan_as_json(plan), indent=1) + "\n")
        return
    print_parts(
        f"{grid.experiment.name}, preset {grid.preset_name}: {grid.experiment.caption}",
        *_impression_words(grid),
        f"{plan.num_cells} cells, {plan.num_finished} of them finished; "
        f"{plan.num_pretrainings} models to pre-train",
        f"about {plan.cpu_seconds:,.0f} CPU seconds ({plan.cpu_hours:.2f} hours): "
        f"{plan.pretraining_cpu_seconds:,.0f} to pre-train, {plan.cell_cpu_seconds:,.0f} for the "
        f"cells, {plan.num_recorded} of which are reckoned by finished ones",
        f"{plan.minutes:.1f} minutes with {plan.processes} processes, each with a core to itself",
        f"{plan.disk_mib:.0f} MiB of disk; {free_disk_mib(grid):,.0f} MiB are free",
    )


@app.command("run")
@_with_grid_options
def run_experiment(processes: NumProcesses = 0, **options: Any) -> None:
    """Run the cells that are not finished, and show the results."""
    from experiments.grid.grid import run_grid
    from experiments.grid.work import prepare_process

    prepare_process()
    grid = _grid(**options)
    try:
        run_grid(
            grid,
            num_processes(processes),
            lambda line: print_parts(line, stderr=True),
        )
    except KeyboardInterrupt:
        done = len(grid.cells) - len(grid.unfinished)
        raise Interrupted(
            f"{done} of {len(grid.cells)} cells are finished; the same command goes on from there"
        ) from None
    _show(grid)


@app.command("show")
@_with_grid_options
def show_experiment(**options: Any) -> None:
    """Show the finished cells of a grid, next to the paper's numbers."""
    grid = _grid(**options)
    if not grid.results():
        name = grid.experiment.name
        raise MissingTable(f"no cell is finished: run `userbert experiment run {name}` first")
    _show(grid)


def _grid(
    name: str,
    preset: str,
    as_of: date | None,
    impressions: str,
    seeds: int | None,
    label_shares: str | None,
    base_models: str | None,
    models: str | None,
    variants: str | None,
    **days: int,
) -> Grid:
    """The grid that the options ask for."""
    from analyst.lake_access.open_lake import open_lake
    from experiments.data.click_data import DataSettings
    from experiments.grid.grid import build_grid, default_day
    from experiments.grid.settings import ExperimentFile

    file = ExperimentFile.from_environment()
    experiment = replace(file.experiment(name), **_given(base_models=_names(base_models)))
    if names := _names(variants):
        experiment = experiment.with_variants(names)
    file.require_known(experiment)
    size = replace(file.preset(preset), **_given(seeds=seeds, label_shares=_shares(label_shares)))
    lake = open_lake()
    data = DataSettings(
        as_of=as_of or date(2000, 1, 1),
        impressions=impressions,
        max_impressions=size.max_impressions,
        max_users=size.max_users,
        **days,
    )
    if as_of is None:
        data = replace(data, as_of=default_day(lake, data))
    return build_grid(file, experiment, preset, size, lake, data, _names(models) or ())


def _impression_words(grid: Grid) -> list[str]:
    """How many impressions each part has: few, where the data end before the last part does."""
    counts = grid.data_facts.get("counts", {})
    parts = {
        name.removesuffix("_impressions"): count
        for name, count in counts.items()
        if name.endswith("_impressions")
    }
    return [f"impressions: {', '.join(f'{n:,} {p}' for p, n in parts.items())}"] if parts else []


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(name.strip() for name in text.split(","))


def _shares(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError:
        shares = ()
    if not shares or not all(0 < share <= 1 for share in shares):
        raise BadInput(f"--label-shares is {text!r}; write numbers above 0 and at most 1: 0.1,1")
    return shares


def _show(grid: Grid) -> None:
    """Print the tables, and write all forms of the results."""
    from experiments.grid.work import pretraining_times
    from experiments.results.picture import draw_picture
    from experiments.results.report import (
        all_rows,
        as_csv,
        as_json,
        as_markdown,
        paper_words,
        tables,
    )

    rows, times = all_rows(grid), pretraining_times(grid.pretrainings, grid.folders)
    folder = grid.folders.results / f"{grid.experiment.name}-{grid.preset_name}"
    write_text(folder / "results.csv", as_csv(rows))
    facts = as_json(grid, rows, times)
    write_json(folder / "results.json", facts)
    write_text(folder / "results.md", as_markdown(grid, rows))
    draw_picture(grid, rows, times, folder / "results.png")
    print_parts(
        *tables(grid, rows),
        *paper_words(grid.experiment),
        *_impression_words(grid),
        f"{facts['finished_cells']} of {facts['cells']} cells are finished; they took "
        f"{facts['cell_cpu_seconds']:,.0f} CPU seconds, their pre-trainings "
        f"{facts['pretraining_cpu_seconds']:,.0f}",
        f"results.csv, .json, .md and .png lie in {folder}",
    )
