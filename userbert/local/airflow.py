"""Airflow with this project's DAGs: SQLite, the local executor, everything on this machine.

userbert airflow                    (make airflow: the UI at the printed address, until Ctrl-C)
eval "$(userbert airflow --environment)"       (then `airflow` in this shell is that one's)
"""

import contextlib
import os
import shlex
import signal
from typing import Annotated

import typer

from contracts.paths import Places
from userbert.local.airflow_home import airflow_environment, passwords_file
from userbert.local.airflow_processes import running_airflow


def _exports(places: Places, port: int) -> str:
    """Shell commands that make the `airflow` of another shell speak of this installation."""
    return "\n".join(
        f"export {name}={shlex.quote(value)}"
        for name, value in airflow_environment(places, port).items()
        if name == "PATH" or os.environ.get(name) != value
    )


def main(
    port: Annotated[int, typer.Option("--port", help="The port of the UI, if it is free.")] = 8080,
    environment: Annotated[
        bool,
        typer.Option("--environment", help="Print what a second shell needs, and end."),
    ] = False,
) -> None:
    places = Places.from_environment()
    if environment:
        print(_exports(places, port))  # noqa: T201
        return
    with running_airflow(places, port) as airflow:
        print(  # noqa: T201
            f"Airflow's UI: {airflow.address}   (Ctrl-C stops it)\n"
            f"Its login is in {passwords_file(places)}\n"
            f'In a second shell: eval "$(userbert airflow --environment --port {port})", then\n'
            "  airflow backfill create --dag-id nightly --from-date DAY --to-date DAY "
            "--max-active-runs 1",
            flush=True,
        )
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
