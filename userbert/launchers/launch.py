"""Start a pre-training where the settings say: here, as a Kubernetes Job, or on Spark.

userbert launch -- --as-of 2017-06-30 --preset small
userbert launch --launcher spark --processes 2 -- --as-of 2017-06-30 --preset small
userbert launch --launcher kubernetes --render -- --as-of 2017-06-30 --preset small

The words after `--` are options of `userbert pretrain`. The same command again goes on from the
newest checkpoint, wherever it is launched. The last line of output is the model's id.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from contracts.commands import TORCHRUN_COMMAND, USERBERT_COMMAND
from contracts.errors import BadInput
from contracts.paths import Places
from userbert.launchers.settings import LauncherName, TrainingSettings, training_command


def _train_here(settings: TrainingSettings, flags: Sequence[str]) -> None:
    """Become the training, so that its signals, output and exit code are this task's."""
    command, *rest = training_command(settings.processes)
    path = {"userbert": USERBERT_COMMAND, "torchrun": TORCHRUN_COMMAND}[command]
    sys.stdout.flush()
    os.execv(path, [path, *rest, *flags])


def _train_in_pods(settings: TrainingSettings, flags: Sequence[str]) -> None:
    from userbert.launchers.kubernetes import train_in_pods

    train_in_pods(settings, flags)


def _train_on_spark(settings: TrainingSettings, flags: Sequence[str]) -> None:
    from spark_jobs.spark.session import session
    from userbert.launchers.spark import train_on_spark

    with session("pretrain") as spark:
        places = Places.from_environment()
        print(train_on_spark(spark, settings.processes, flags, places))  # noqa: T201


_LAUNCHERS = {"torchrun": _train_here, "kubernetes": _train_in_pods, "spark": _train_on_spark}


def _launch_text(settings: TrainingSettings, flags: Sequence[str]) -> str:
    """What would be launched, as YAML or as a command line."""
    if settings.launcher == "torchrun":
        return shlex.join([*training_command(settings.processes), *flags])
    if settings.launcher == "spark":
        return f"{settings.processes} tasks of: {shlex.join([*training_command(1), *flags])}"
    import yaml  # type: ignore[import-untyped]

    from userbert.launchers.kubernetes import job_manifest

    return str(yaml.safe_dump(job_manifest(settings, flags), sort_keys=False, width=100)).rstrip()


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
        LauncherName | None,
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
    file = TrainingSettings.read(settings) if settings else TrainingSettings.from_environment()
    chosen = file.with_overrides(launcher=launcher, processes=processes)
    if not flags:
        raise BadInput("nothing to train: give the flags of `userbert pretrain` after --")
    if render:
        print(_launch_text(chosen, flags))  # noqa: T201
        return
    _LAUNCHERS[chosen.launcher](chosen, flags)
