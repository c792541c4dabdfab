"""Past days under a named model: what it takes, the doing of it, and new beside old.

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
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as Grid

from contracts.errors import BadInput
from contracts.paths import Places
from contracts.terminal.command_line import Interrupted, command_group
from contracts.terminal.options import AsJson, FirstAsOf, LastAsOf, ModelOrChampion
from contracts.terminal.printing import grid, print_parts

if TYPE_CHECKING:  # Spark takes seconds to start, and `--help` needs none
    from spark_jobs.backfill.days import Day, FilledDay
    from spark_jobs.lake.lake import Lake
    from spark_jobs.tables.models import Model

MIB = 1 << 20


@dataclass(frozen=True)
class Plan:
    """What a run would do now, and how long it would take this machine."""

    model_id: str
    days: list[Day]
    busy: list[date]  # another backfill is writing them
    before_training_ended: list[date]
    trained_before: date
    rows: int  # of both tables, exactly
    bytes: int  # about
    seconds: float  # about, of one process
    source: str  # where the estimate is from

    @property
    def unfinished(self) -> list[Day]:
        return [day for day in self.days if not day.finished]


def plan(lake: Lake, places: Places, model: Model, days: Sequence[date]) -> Plan:
    """Look at `days`; no table, file or log is written."""
    from spark_jobs.backfill.day_locks import DayLocks
    from spark_jobs.backfill.days import survey_days

    found = survey_days(lake, model.model_id, days)
    claims = DayLocks(places.root / "backfill")
    todo = [day for day in found if not day.finished]
    seconds, source = _time(lake, places, model, todo)
    return Plan(
        model_id=model.model_id,
        days=found,
        busy=[day for day in days if claims.is_taken(day)],
        before_training_ended=[day for day in days if day < model.trained_before],
        trained_before=model.trained_before,
        rows=sum(day.sequences_to_write + day.vectors_to_write for day in todo),
        bytes=_bytes(lake, todo),
        seconds=seconds,
        source=source,
    )


def _time(lake: Lake, places: Places, model: Model, todo: Sequence[Day]) -> tuple[float, str]:
    from spark_jobs.backfill.time_estimate import estimate_from_timings, read_timings, rehearse_day
    from spark_jobs.tables.models import model_folder

    if not todo:
        return 0.0, "nothing to write"
    largest = max(todo, key=lambda day: day.users)
    pace = estimate_from_timings(read_timings(places), model.model_id) or rehearse_day(
        lake, model_folder(places, model), largest.as_of
    )
    return pace.seconds([(day.jobs, day.vectors_to_write) for day in todo]), pace.source


def _bytes(lake: Lake, todo: Sequence[Day]) -> int:
    from contracts.tables import USER_EMBEDDINGS, USER_SEQUENCES
    from spark_jobs.backfill.days import bytes_a_row

    return round(
        sum(day.vectors_to_write for day in todo) * bytes_a_row(lake, USER_EMBEDDINGS)
        + sum(day.sequences_to_write for day in todo) * bytes_a_row(lake, USER_SEQUENCES)
    )


def plan_grid(made: Plan) -> Grid:
    rows = (
        (
            day.as_of,
            day.users,
            _held(day.sequences, day.sequences_differ),
            _held(day.vectors, day.vectors_differ),
            day.sequences_to_write + day.vectors_to_write,
            _remark(day, made),
        )
        for day in made.days
    )
    return grid(rows, "as of", "#users", "#sequences", "#vectors", "#to write", "")


def _held(there: int, differ: int) -> str:
    return f"{there:,}" + (f" ({differ:,} differ)" if there and differ else "")


def _remark(day: Day, made: Plan) -> str:
    remarks = ["being written by another run"] if day.as_of in made.busy else []
    if not day.users:
        remarks.append("nobody had a view on the day before")
        if day.vectors:
            remarks.append(f"{day.vectors:,} vectors of nobody active are left there")
    elif day.finished:
        remarks.append("finished")
    return "; ".join(remarks)


def plan_words(made: Plan) -> Iterator[str]:
    todo = made.unfinished
    yield (
        f"{len(todo)} of {len(made.days)} days to write: {made.rows:,} rows, about "
        f"{made.bytes / MIB:,.1f} MiB and {_span(made.seconds)} by one process ({made.source})"
    )
    if early := made.before_training_ended:
        yield (
            f"{len(early)} days, {early[0]} to {early[-1]}, are before {made.trained_before}, to "
            f"where {made.model_id} was trained: their vectors use no later view, but the training "
            "had seen views from after them. Serve them; do not judge the model by them"
        )


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} minutes"


def fill(lake: Lake, places: Places, model: Model, days: Sequence[date]) -> list[FilledDay]:
    """Write the days, with a bar for people and a line a day for logs."""
    from spark_jobs.backfill.days import fill_days

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    done: list[FilledDay] = []
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("looking at what is there", total=None)
        try:
            for filled in fill_days(
                lake, places, model.model_id, days, lambda n: bar.update(task, total=n)
            ):
                bar.update(task, advance=1, description=f"as of {filled.day.as_of}")
                bar.console.print(_line(filled))
                done.append(filled)
                _note_time(places, model, filled)
        except KeyboardInterrupt:
            raise Interrupted(
                f"{len(done)} of {bar.tasks[task].total or len(days):.0f} days done; the same "
                "command goes on with the rest"
            ) from None
    return done


def _note_time(places: Places, model: Model, filled: FilledDay) -> None:
    """Keep what a day took, for the estimates of later plans."""
    from spark_jobs.backfill.time_estimate import Timing, add_timing

    if jobs := len(filled.commits):
        as_of, rows = str(filled.day.as_of), filled.day.vectors_to_write
        add_timing(places, Timing(model.model_id, as_of, rows, round(filled.seconds, 2), jobs))


def _line(filled: FilledDay) -> str:
    wrote = ", ".join(f"{commit.rows:,} {commit.table}" for commit in filled.commits)
    return f"{filled.day.as_of}: {wrote or 'finished by another run'} in {filled.seconds:.1f} s"


def status_grid(lake: Lake, places: Places) -> Grid:
    """How many vectors of which days each model has, and which are served."""
    from contracts.tables import PUBLISHED_EMBEDDINGS, USER_EMBEDDINGS
    from spark_jobs.backfill.day_locks import DayLocks
    from spark_jobs.backfill.days import num_vectors

    claims = DayLocks(places.root / "backfill")
    vectors = num_vectors(lake, USER_EMBEDDINGS)
    served = num_vectors(lake, PUBLISHED_EMBEDDINGS)
    models = sorted({model for model, _ in vectors})
    rows = []
    for day in sorted({day for _, day in vectors}):
        counts = [
            f"{vectors.get((model, day), 0):,}" + (" served" if (model, day) in served else "")
            for model in models
        ]
        rows.append((day, *counts, "being written" if claims.is_taken(day) else ""))
    return grid(rows, "as of", *models, "")


app = command_group(__doc__)

AllPublished = Annotated[
    bool, typer.Option("--published", help="All days that readers have now, instead of a range.")
]


@app.command("plan")
def show_plan(
    first: FirstAsOf = None,
    last: LastAsOf = None,
    published: AllPublished = False,
    model: ModelOrChampion = None,
    json: AsJson = False,
) -> None:
    """Show what is there, what would be written and how long it takes; write nothing."""
    lake, places = _open_lake("plan")
    days = the_days(lake, first, last, published)
    made = plan(lake, places, the_model(lake, places, model), days)
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
    published: AllPublished = False,
    model: ModelOrChampion = None,
) -> None:
    """Write the days that are not finished."""
    lake, places = _open_lake("run")
    days = the_days(lake, first, last, published)
    if not days:
        _print("nothing is published yet: no day to fill")
        return
    chosen = the_model(lake, places, model)
    done = fill(lake, places, chosen, days)
    rows = sum(commit.rows for each in done for commit in each.commits)
    _print(f"{chosen.model_id}: {len(done)} of {len(days)} days written, {rows:,} rows")


@app.command("compare")
def compare_days(
    first: FirstAsOf = None,
    last: LastAsOf = None,
    published: AllPublished = False,
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
    beside = other or champion_id_or_none(lake)
    if beside is None or (beside == model_id and not other):
        _print(f"{model_id} has no champion beside it to be compared with: name one by --with")
    elif days:
        print_comparison(places, model_id, beside, days, k, json)


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
    from spark_jobs.backfill.days import days_between, published_days

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
