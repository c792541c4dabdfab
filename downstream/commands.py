"""Judge vectors by labels: models against their rivals, each by the same heads.

userbert evaluate downstream
userbert evaluate downstream --models A --models B --as-of 2017-06-03 --tasks churn,propensity

Vectors use views from before the cut, labels the views of the 28 days after it, or files in
data/labels. Cells that are finished are not run again. docs/downstream.md explains the table.
"""

import sys
from dataclasses import replace
from datetime import date
from typing import Annotated

import typer

from analyst.lake_access.open_lake import OpenLake, open_lake
from contracts.evaluation_settings import EvaluationSettings
from contracts.storage.atomic_write import write_text
from contracts.terminal.options import AsJson, NumProcesses, day_option, num_processes
from contracts.terminal.printing import print_parts
from downstream.judging.evaluation import Evaluation, evaluate_models
from downstream.output.markdown import as_markdown
from downstream.output.picture import draw_picture
from downstream.output.report import as_json, tables


def main(
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--models",
            metavar="MODEL_ID",
            help="A model to judge; the first is the one that all are tested against. May be "
            "repeated. [default: the champion]",
        ),
    ] = None,
    as_of: Annotated[
        date | None,
        day_option(
            "--as-of",
            help="The cut, a UTC day. [default: the newest with 28 days of views after it]",
        ),
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option("--tasks", metavar="NAME,...", help="The tasks to judge by. [default: all]"),
    ] = None,
    rivals: Annotated[
        str | None,
        typer.Option("--rivals", metavar="NAME,...", help="Whom to compare with. [default: all]"),
    ] = None,
    splits: Annotated[
        int | None,
        typer.Option("--splits", help="Random splits of the users. [default: the settings' 20]"),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of splits and rivals.")] = None,
    processes: NumProcesses = 0,
    record: Annotated[
        bool,
        typer.Option("--record/--no-record", help="Write the rows to the table `evaluations`."),
    ] = True,
    json: AsJson = False,
) -> None:
    settings = _settings(tasks, rivals, splits, seed)
    lake = open_lake()
    found = evaluate_models(
        lake,
        settings,
        models or (),
        as_of,
        num_processes(processes),
        lambda line: print_parts(line, stderr=True),
    )
    _write_files(found)
    if record:
        _record(lake, found)
    if json:
        sys.stdout.write(as_json(found) + "\n")
        return
    print_parts(*tables(found), f"evaluation.json, .md and .png lie in {found.folder}")


def _settings(
    tasks: str | None, rivals: str | None, splits: int | None, seed: int | None
) -> EvaluationSettings:
    """The file's settings, then the flags that were given."""
    settings = EvaluationSettings.from_environment()
    return replace(
        settings,
        tasks=_names(tasks, settings.tasks),
        rivals=_names(rivals, settings.rivals),
        splits=settings.splits if splits is None else splits,
        seed=settings.seed if seed is None else seed,
    )


def _names(text: str | None, default: tuple[str, ...]) -> tuple[str, ...]:
    return default if text is None else tuple(name.strip() for name in text.split(","))


def _write_files(found: Evaluation) -> None:
    write_text(found.folder / "evaluation.json", as_json(found) + "\n")
    write_text(found.folder / "evaluation.md", as_markdown(found))
    draw_picture(found, found.folder / "evaluation.png")


def _record(lake: OpenLake, found: Evaluation) -> None:
    from downstream.output.record import write_evaluation
    from spark_jobs.lake.lake import Lake
    from spark_jobs.spark.job_run import spark_job

    with spark_job("evaluations") as (spark, tell):
        tell(write_evaluation(Lake(spark, lake.places.lake), lake.places, found, lake.versions))
