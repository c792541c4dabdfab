"""Start a pre-training where this place's settings say: here, as a Kubernetes Job, or on Spark.

userbert launch -- --as-of 2017-06-30 --preset small
userbert launch --launcher spark --processes 2 -- --as-of 2017-06-30 --preset small
userbert launch --launcher kubernetes --render -- --as-of 2017-06-30 --preset small

What comes after `--` are flags of `userbert pretrain`. The same command again goes on from the
newest checkpoint, wherever it is launched. The last line of output is the model's id.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from contracts.commands import TORCHRUN, USERBERT
from contracts.errors import BadInput
from contracts.paths import Places
from userbert.launchers.settings import TrainingPlace, training_command


def here(place: TrainingPlace, flags: Sequence[str]) -> None:
    """Become the training, so that its signals, output and exit code are this task's."""
    command, *rest = training_command(place.processes)
    path = {"userbert": USERBERT, "torchrun": TORCHRUN}[command]
    sys.stdout.flush()
    os.execv(path, [path, *rest, *flags])


def in_pods(place: TrainingPlace, flags: Sequence[str]) -> None:
    from userbert.launchers.kubernetes import run

    run(place, flags)


def on_spark(place: TrainingPlace, flags: Sequence[str]) -> None:
    from spark_jobs.spark.session import session
    from userbert.launchers.spark import run

    with session("pretrain") as spark:
        print(run(spark, place.processes, flags, Places.from_environment()))  # noqa: T201


def shown(place: TrainingPlace, flags: Sequence[str]) -> str:
    """What would be launched, as YAML or as a command line."""
    import shlex

    if place.launcher == "torchrun":
        return shlex.join([*training_command(place.processes), *flags])
    if place.launcher == "spark":
        return f"{place.processes} tasks of: {shlex.join([*training_command(1), *flags])}"
    import yaml  # type: ignore[import-untyped]

    from userbert.launchers.kubernetes import rendered

    return str(yaml.safe_dump(rendered(place, flags), sort_keys=False, width=100)).rstrip()


def main(
    flags: Annotated[
        list[str] | None,
        typer.Argument(metavar="FLAGS", help="After --, the options of `userbert pretrain`."),
    ] = None,
    settings: Annotated[
        Path | None,
        typer.Option(
            "--settings",
            metavar="FILE",
            help="The settings. [default: the file that USERBERT_TRAINING names, or "
            "conf/training.toml]",
        ),
    ] = None,
    launcher: Annotated[
        Literal["torchrun", "kubernetes", "spark"] | None,
        typer.Option("--launcher", help="Overrides the launcher of the settings."),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option("--processes", help="Overrides the number of processes of the settings."),
    ] = None,
    render: Annotated[
        bool, typer.Option("--render", help="Print what would be launched, and launch nothing.")
    ] = False,
) -> None:
    place = TrainingPlace.read(settings) if settings else TrainingPlace.from_environment()
    place = replace(
        place, launcher=launcher or place.launcher, processes=processes or place.processes
    )
    if not flags:
        raise BadInput("nothing to train: give the flags of `userbert pretrain` after --")
    if render:
        print(shown(place, flags))  # noqa: T201
        return
    {"torchrun": here, "kubernetes": in_pods, "spark": on_spark}[place.launcher](place, flags)
