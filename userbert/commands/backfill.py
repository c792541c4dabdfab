"""Past days under a named model: the plan, the run, and a comparison of two models.

userbert backfill plan --from 2017-06-01 --to 2017-06-30 --model MODEL_ID     writes nothing
userbert backfill run --from 2017-06-01 --to 2017-06-30 --model MODEL_ID
userbert backfill run --published --model MODEL_ID       all days that readers have now
userbert backfill compare --from 2017-06-01 --to 2017-06-30 --model MODEL_ID [--with MODEL_ID]
userbert backfill status

Readers stay on the champion: `userbert models promote MODEL_ID` switches them in one commit, and
`userbert models rollback` switches them back. A run may be killed and run again, or run in several
processes at once: finished days are left alone.
"""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from contracts.errors import BadInput
from contracts.paths import Places
from contracts.terminal.command_line import Interrupted, command_group
from contracts.terminal.options import (
    AsJson,
    FirstAsOf,
    LastAsOf,
    ModelOrChampion,
    days_between,
)
from contracts.terminal.printing import print_parts
from contracts.terminal.progress_bar import progress_bar
from userbert.commands.backfill_grids import plan_grid, plan_words, status_grid

if TYPE_CHECKING:  # Spark takes seconds to start, and `--help` needs none
    from spark_jobs.backfill.day import FilledDay
    from spark_jobs.lake.lake import Lake
    from spark_jobs.tables.models import Model


def fill_with_progress(
    lake: Lake, places: Places, model: Model, days: Sequence[date]
) -> list[FilledDay]:
    """Write the days, with a bar for people and a line a day for logs."""
    from spark_jobs.backfill.days import fill_days

    done: list[FilledDay] = []
    with progress_bar() as bar:
        task = bar.add_task("looking at what is there", total=None)
        try:
            for filled in fill_days(
                lake, places, model.model_id, days, lambda n: bar.update(task, total=n)
            ):
                bar.update(task, advance=1, description=f"as of {filled.day.as_of}")
                bar.console.print(_line(filled))
                done.append(filled)
                _record_cost(places, model, filled)
        except KeyboardInterrupt:
            raise Interrupted(
                f"{len(done)} of {bar.tasks[task].total or len(days):.0f} days done; the same "
                "command goes on with the rest"
            ) from None
    return done


def _record_cost(places: Places, model: Model, filled: FilledDay) -> None:
    """Keep what a day took, for the prices of later plans."""
    from spark_jobs.backfill.cost_record import DayCost, add_cost

    if filled.costs:
        add_cost(places, DayCost.of(model.model_id, filled))


def _line(filled: FilledDay) -> str:
    wrote = ", ".join(f"{commit.rows:,} {commit.table}" for commit in filled.commits)
    return f"{filled.day.as_of}: {wrote or 'finished by another run'} in {filled.seconds:.1f} s"


app = command_group(__doc__)

_AllPublished = Annotated[
    bool, typer.Option("--published", help="All days that readers have now, instead of a range.")
]


@app.command("plan")
def show_plan(
    first: FirstAsOf = None,
    last: LastAsOf = None,
    published: _AllPublished = False,
    model: ModelOrChampion = None,
    json: AsJson = False,
) -> None:
    """Show what would be written and why, its price, and what depends on it; write nothing."""
    from spark_jobs.backfill.plan import make_plan

    lake, places = _open_lake("plan")
    days = the_days(lake, first, last, published)
    made = make_plan(lake, places, the_model(lake, places, model), days)
    if json:
        _print(jsonlib.dumps(asdict(made), indent=2, default=str))
        return
    print_parts(f"under {made.model_id}", plan_grid(made))
    for line in plan_words(made):
        _print(line)


@app.command("run")
def write_days(
    first: FirstAsOf = None,
    last: LastAsOf = None,
    published: _AllPublished = False,
    model: ModelOrChampion = None,
) -> None:
    """Write the days that are not finished."""
    lake, places = _open_lake("run")
    days = the_days(lake, first, last, published)
    if not days:
        _print("nothing is published yet: no day to fill")
        return
    chosen = the_model(lake, places, model)
    done = fill_with_progress(lake, places, chosen, days)
    rows = sum(commit.rows for each in done for commit in each.commits)
    _print(f"{chosen.model_id}: {len(done)} of {len(days)} days written, {rows:,} rows")


@app.command("compare")
def compare_days(
    first: FirstAsOf = None,
    last: LastAsOf = None,
    published: _AllPublished = False,
    model: ModelOrChampion = None,
    other: Annotated[
        str | None,
        typer.Option(
            "--with", metavar="MODEL_ID", help="The model to compare with. [default: the champion]"
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", help="How many neighbors of each user count.")] = 10,
    json: AsJson = False,
) -> None:
    """Compare the model's days with another model's, each in its own space."""
    from analyst.questions.model_comparison import print_comparison
    from spark_jobs.tables.models import champion_id_or_none

    lake, places = _open_lake("compare")
    days = the_days(lake, first, last, published)
    model_id = the_model(lake, places, model).model_id
    compared = other or champion_id_or_none(lake)
    if compared is None or (compared == model_id and not other):
        _print(f"{model_id} has no champion to be compared with: name a model by --with")
    elif days:
        print_comparison(places, model_id, compared, days, k, json)


@app.command("status")
def show_status() -> None:
    """Show which model has vectors of which days."""
    print_parts(status_grid(*_open_lake("status")))


def _open_lake(action: str) -> tuple[Lake, Places]:
    from spark_jobs.lake.lake import Lake
    from spark_jobs.spark.session import session

    places = Places.from_environment()
    return Lake(session(f"backfill {action}"), places.lake), places


def the_days(lake: Lake, first: date | None, last: date | None, published: bool) -> list[date]:
    """The days that --from and --to, or --published, name."""
    from spark_jobs.backfill.days import published_days

    if published and not (first or last):
        return published_days(lake)
    if published or not (first and last):
        raise BadInput("say which days: --from DAY --to DAY, or --published without them")
    return days_between(first, last)


def the_model(lake: Lake, places: Places, model_id: str | None) -> Model:
    """Registered and fit to embed with, or an error that says what to do."""
    from spark_jobs.tables.models import champion_id, find_model, load_models, model_folder
    from spark_jobs.tables.user_embeddings import check_servable

    model = find_model(load_models(lake), model_id or champion_id(lake))
    check_servable(model_folder(places, model))
    return model


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
