"""The main job, from nothing to user embeddings that a downstream model can read.

Real logs become landing files; Airflow runs the history, pre-trains a model and runs the nights of
the last days; then a summary. What an earlier run finished is skipped.

userbert run                (make run)
"""

import itertools
import time
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.text import Text

from contracts.commands import DEFAULT_PRESET
from contracts.errors import BadInput
from contracts.paths import Places
from contracts.terminal.command_line import Interrupted
from contracts.terminal.options import day_option
from contracts.terminal.printing import plain_console
from userbert.commands import summary
from userbert.local.airflow_processes import own_or_running_airflow
from userbert.scheduling.airflow_api import Airflow, AirflowFailed
from userbert.scheduling.task_logs import attempt_log, command_error, task_progress

_SIGNS = {"success": ("done", "green"), "failed": ("failed", "red")}
_ENDED = ("success", "failed")


@dataclass(frozen=True)
class _Plan:
    """Which days go in by the history, and which by nights of their own."""

    first_day: date  # landing days, both ends included
    last_day: date
    nights: int

    def __post_init__(self) -> None:
        if not 0 < self.nights <= (self.last_day - self.first_day).days:
            raise BadInput(
                f"{self.nights} nights do not fit into {self.first_day} to {self.last_day} "
                "with a day of history before them: ask for fewer, or for more days"
            )

    @property
    def last_history_day(self) -> date:
        return self.last_day - timedelta(days=self.nights)

    @property
    def trained_before(self) -> date:
        """The model sees nothing of the nights that it will embed."""
        return self.last_history_day + timedelta(days=1)

    @property
    def as_ofs(self) -> list[date]:
        return [self.last_day + timedelta(days=1 - n) for n in reversed(range(self.nights))]


def _follow_run(airflow: Airflow, dag: str, run: str, console: Console) -> None:
    """Show each task as it starts and ends, until the run ends; raise if it failed."""
    shown: dict[str, str] = {}
    began = time.monotonic()
    with console.status(f"{dag}: queued") as status:
        while True:
            state = airflow.dag_run(dag, run)["state"]
            tasks = airflow.task_instances(dag, run)
            for task in sorted(tasks, key=lambda task: task["end_date"] or "9"):
                _show(task, shown, console)
            active = [_activity(dag, run, task) for task in tasks if task["state"] == "running"]
            status.update(f"{dag}: {', '.join(active) or state} ({time.monotonic() - began:.0f} s)")
            if state in _ENDED:
                break
            time.sleep(2)
    if state == "failed":
        raise AirflowFailed(_failure(dag, run, tasks))


def _activity(dag: str, run: str, task: dict[str, Any]) -> str:
    """A running task's name, and what its log says that it does."""
    progress = task_progress(_log(dag, run, task))
    return f"{task['task_id']}, {progress}" if progress else str(task["task_id"])


def _show(task: dict[str, Any], shown: dict[str, str], console: Console) -> None:
    name, state = task["task_id"], task["state"]
    if state in ("success", "failed", "up_for_retry") and shown.get(name) != state:
        sign = _SIGNS.get(state, (state, "yellow"))
        seconds = f"{task['duration'] or 0:.0f} s"
        console.print(Text.assemble("  ", sign, f" {name} in {seconds}"), soft_wrap=True)
    shown[name] = state


def _failure(dag: str, run: str, tasks: list[dict[str, Any]]) -> str:
    """One line that a person can act on: the command's own message, from the task's log."""
    failed = next(task for task in tasks if task["state"] == "failed")
    log = _log(dag, run, failed)
    return f"{dag} failed at {failed['task_id']}: {command_error(log)} (log: {log})"


def _log(dag: str, run: str, task: dict[str, Any]) -> Path:
    logs = Places.from_environment().airflow / "logs"
    return attempt_log(logs, dag, run, task["task_id"], task["try_number"])


def _print_heading(console: Console, name: str, facts: str) -> None:
    console.print(Text.assemble((name, "bold"), f" {facts}"), soft_wrap=True)


def _run_once(airflow: Airflow, dag: str, conf: dict[str, str], console: Console) -> None:
    """Follow a run of `dag` with `conf`: one that succeeded, one that is not over, or a new one."""
    _print_heading(console, dag, ", ".join(f"{k} {v}" for k, v in conf.items()))
    runs = [run for run in airflow.dag_runs(dag) if run["conf"] == conf]
    if any(run["state"] == "success" for run in runs):
        console.print("  done before")
        return
    unfinished = [run["dag_run_id"] for run in runs if run["state"] not in _ENDED]
    if unfinished:
        console.print("  goes on where it was interrupted")
    _follow_run(airflow, dag, unfinished[0] if unfinished else airflow.trigger(dag, conf), console)


def _run_nights(airflow: Airflow, plan: _Plan, console: Console) -> None:
    """The nights that have not succeeded yet, oldest first."""
    days = list(map(str, plan.as_ofs))
    _follow_unfinished_nights(airflow, days, console)
    done = {
        run["partition_key"] for run in airflow.dag_runs("nightly") if run["state"] == "success"
    }
    todo = [day for day in days if day not in done]
    if not todo:
        _print_heading(console, "nightly", f"as of {', '.join(days)}\n  done before")
        return
    waits = itertools.count()

    def wait_for_other_backfill() -> None:
        if not next(waits):
            console.print("  waits for an earlier backfill of nightly to end")
        _follow_unfinished_nights(airflow, None, console)

    runs = airflow.backfill("nightly", todo[0], todo[-1], wait_for_other_backfill)
    for as_of in todo:
        _print_heading(console, "nightly", f"as of {as_of}")
        _follow_run(airflow, "nightly", runs[as_of], console)


def _follow_unfinished_nights(airflow: Airflow, days: list[str] | None, console: Console) -> None:
    """Follow the nights that an interrupted backfill left unfinished; of `days` alone, if given."""
    for run in airflow.dag_runs("nightly"):
        day = run["partition_key"]
        if (
            run["state"] not in _ENDED
            and run["run_type"] == "backfill"
            and (days is None or day in days)
        ):
            _print_heading(console, "nightly", f"as of {day}\n  goes on where it was interrupted")
            _follow_run(airflow, "nightly", run["dag_run_id"], console)


def _run_pipeline(airflow: Airflow, plan: _Plan, preset: str, console: Console) -> None:
    """The history, the pre-training and the nights; what an earlier call finished is skipped."""
    history = {"from_day": str(plan.first_day), "to_day": str(plan.last_history_day)}
    _run_once(airflow, "history", history, console)
    pretraining = {"as_of": str(plan.trained_before), "preset": preset}
    _run_once(airflow, "pretraining", pretraining, console)
    _run_nights(airflow, plan, console)


def _make_landing_files(places: Places, plan: _Plan, console: Console) -> None:
    """The demo's real logs, unless the last day's folder is there already."""
    from landing import completejourney

    _print_heading(console, "landing files", f"of {plan.first_day} to {plan.last_day}")
    if (places.landing / str(plan.last_day)).exists():
        console.print("  there already")
        return
    completejourney.main(from_day=plan.first_day, to_day=plan.last_day)


def _check_landing_files(places: Places, plan: _Plan) -> None:
    """What an unattended run would stumble over an hour later is said at once."""
    wanted = [places.landing / "settings.toml", places.landing / str(plan.last_day)]
    if missing := [str(path) for path in wanted if not path.exists()]:
        raise BadInput(
            f"there is no {' and no '.join(missing)}: put your log files into a folder a day "
            "below landing, and say in settings.toml how to read them (README, Bring your own logs)"
        )


def main(
    source: Annotated[
        Literal["demo", "landing"],
        typer.Option(
            "--source",
            help="`demo` writes the real purchase logs first; `landing` takes your own log files.",
        ),
    ] = "demo",
    first_day: Annotated[date, day_option("--first-day", help="The first landing day.")] = date(
        2017, 1, 1
    ),
    last_day: Annotated[date, day_option("--last-day", help="The last landing day.")] = date(
        2017, 6, 30
    ),
    nights: Annotated[
        int, typer.Option("--nights", help="How many of the last days are run as nights.")
    ] = 2,
    preset: Annotated[
        str, typer.Option("--preset", metavar="NAME", help="The preset of the pre-training.")
    ] = DEFAULT_PRESET,
    port: Annotated[
        int, typer.Option("--port", help="The port of Airflow's UI, if it is free.")
    ] = 8080,
) -> None:
    places, console = Places.from_environment(), plain_console()
    plan = _Plan(first_day, last_day, nights)
    began = time.monotonic()
    if source == "demo":
        _make_landing_files(places, plan, console)
    _check_landing_files(places, plan)
    _print_heading(console, "Airflow", "starts (SQLite, local executor)")
    try:
        with own_or_running_airflow(places, port) as airflow:
            _run_pipeline(airflow, plan, preset, console)
    except KeyboardInterrupt:
        raise Interrupted(
            "what is finished stays; the same command goes on with the rest"
        ) from None
    summary.main(as_of=None, json=False)
    console.print(f"all of it took {(time.monotonic() - began) / 60:.1f} minutes")
