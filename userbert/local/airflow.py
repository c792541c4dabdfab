"""Airflow as the embedded default runs it: SQLite, the local executor, this project's DAGs.

userbert airflow                    (make airflow: the UI at the printed address, until Ctrl-C)
eval "$(userbert airflow --environment)"       (then `airflow` of this shell is that one's)
"""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from contracts.commands import CONF_FOLDER, DAGS_FOLDER
from contracts.errors import UserbertError
from contracts.paths import Places
from spark_jobs.spark import class_archive
from spark_jobs.spark.delta_jars import spark_home
from userbert.local.ports import free_port

DAGS = ("history", "pretraining", "nightly", "backfill", "maintenance")
CONFLICT_LIMIT = 60  # waits of 2 s
START_LIMIT = 180  # seconds; two cores take 25 to 40


class AirflowFailed(UserbertError):
    """Airflow did not start, or a run of a DAG failed."""


def environment(places: Places, port: int) -> dict[str, str]:
    """What Airflow and the tasks that it starts find in their environment.

    Anything already set outside wins, so that a place with its own Airflow database, its own
    Spark connection (a standalone master, YARN, Kubernetes) or its own port names it there.
    """
    defaults = {
        "AIRFLOW_HOME": str(places.airflow),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS_FOLDER),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://localhost:{port}/execution/",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__BASE_URL": f"http://localhost:{port}",
        # Parsing the DAG files takes 3 CPU seconds; every 30 s (the default) is a tenth of a core.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
        # The URI spark://local[2] would silently become yarn.
        "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps({"conn_type": "spark", "host": "local[2]"}),
        "SPARK_HOME": str(spark_home()),
        "SPARK_CONF_DIR": str(CONF_FOLDER),
        **class_archive.environment(),
        "PYSPARK_PYTHON": sys.executable,
        "USERBERT_DATA": str(places.root),
        "USERBERT_SCHEDULED_FROM": scheduled_from(places),
    }
    path = f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**defaults, **os.environ, "PATH": path, "USERBERT_DATA": str(places.root)}


def scheduled_from(places: Places) -> str:
    """The first midnight (UTC) after this installation was set up, kept beside its database."""
    kept = places.airflow / "scheduled_from"
    if kept.exists():
        return kept.read_text()
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    return f"{tomorrow}T00:00:00+00:00"


@dataclass
class Airflow:
    """A running Airflow, by its REST API."""

    address: str
    token: str = ""

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.address}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return dict(json.loads(response.read() or b"{}"))

    def ready(self) -> bool:
        """Whether the API answers, the scheduler lives, and the DAGs are parsed."""
        try:
            self.token = self.call("GET", "/auth/token")["access_token"]
            health = self.call("GET", "/api/v2/monitor/health")
            parsed = {dag["dag_id"] for dag in self.call("GET", "/api/v2/dags")["dags"]}
        except (OSError, KeyError):
            return False
        return health["scheduler"]["status"] == "healthy" and parsed >= set(DAGS)

    def add_pool(self, name: str, slots: int) -> None:
        """One that exists keeps the slots that somebody gave it."""
        try:
            self.call("GET", f"/api/v2/pools/{name}")
        except urllib.error.HTTPError:
            self.call("POST", "/api/v2/pools", {"name": name, "slots": slots})

    def trigger(self, dag: str, conf: dict[str, str]) -> str:
        body = {"logical_date": None, "conf": conf}
        return str(self.call("POST", f"/api/v2/dags/{dag}/dagRuns", body)["dag_run_id"])

    def backfill(self, dag: str, first: str, last: str) -> dict[str, str]:
        """Run `dag` for those days of `first` to `last` that have not succeeded, oldest first.

        Gives the newest run's id by day. Airflow runs one backfill of a DAG at a time, and takes a
        while to close one whose runs are over, so a conflict is waited out.
        """
        body = {
            "dag_id": dag,
            "from_date": f"{first}T00:00:00Z",
            "to_date": f"{last}T00:00:00Z",
            "reprocess_behavior": "failed",
            "max_active_runs": 1,
        }
        for _ in range(CONFLICT_LIMIT):
            try:
                self.call("POST", "/api/v2/backfills", body)
                break
            except urllib.error.HTTPError as error:
                if error.code != 409:
                    raise
                time.sleep(2)
        else:
            raise AirflowFailed(f"another backfill of {dag} is running: wait for it to end")
        runs: list[dict[str, Any]] = []
        while not runs:
            found = self.call("GET", f"/api/v2/dags/{dag}/dagRuns?limit=1000")["dag_runs"]
            runs = [r for r in found if first <= str(r["partition_key"] or "") <= last]
            time.sleep(1)
        runs.sort(key=lambda run: str(run["queued_at"] or ""))
        return {str(run["partition_key"]): str(run["dag_run_id"]) for run in runs}

    def run(self, dag: str, run: str) -> dict[str, Any]:
        return self.call("GET", f"/api/v2/dags/{dag}/dagRuns/{run}")

    def tasks(self, dag: str, run: str) -> list[dict[str, Any]]:
        found = self.call("GET", f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances")
        return list(found["task_instances"])


@contextlib.contextmanager
def standalone(places: Places, wanted_port: int = 8080) -> Iterator[Airflow]:
    """Airflow, started and, at the end, stopped with all its children.

    SIGTERM to `airflow standalone` leaves children behind, so it gets a process group of its own,
    which ends too when this process is told to end. For the main thread.
    """
    port = free_port(wanted_port)
    places.airflow.mkdir(parents=True, exist_ok=True)
    (places.airflow / "scheduled_from").write_text(scheduled_from(places))
    log = places.airflow / "standalone.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [str(Path(sys.prefix) / "bin" / "airflow"), "standalone"],
            env=environment(places, port),
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    told_to_end = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        airflow = Airflow(f"http://localhost:{port}")
        _await_ready(airflow, process, log)
        airflow.add_pool("gpu", slots=1)
        yield airflow
    finally:
        _stop(process)
        signal.signal(signal.SIGTERM, told_to_end)


def _await_ready(airflow: Airflow, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(START_LIMIT):
        if process.poll() is not None:
            raise AirflowFailed(f"Airflow stopped with exit code {process.returncode}; read {log}")
        if airflow.ready():
            return
        time.sleep(1)
    raise AirflowFailed(f"Airflow was not ready after {START_LIMIT} s; read {log}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
            time.sleep(1)  # the children of a stopped parent


def exports(places: Places, port: int) -> str:
    """Shell commands that make the `airflow` of another shell speak of this installation."""
    ours = environment(places, port)
    return "\n".join(
        f"export {name}={shlex.quote(value)}"
        for name, value in ours.items()
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
        print(exports(places, port))  # noqa: T201
        return
    with standalone(places, port) as airflow:
        print(  # noqa: T201
            f"Airflow's UI: {airflow.address}   (Ctrl-C stops it)\n"
            f'In a second shell: eval "$(userbert airflow --environment --port {port})", then\n'
            "  airflow backfill create --dag-id nightly --from-date DAY --to-date DAY "
            "--max-active-runs 1",
            flush=True,
        )
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
