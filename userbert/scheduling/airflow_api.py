"""A running Airflow, by its REST API (docs/adr/0038-airflow-rest-without-a-client.md)."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contracts.errors import UserbertError

AIRFLOW_USER = "userbert"  # of the embedded Airflow
_CONFLICT = 409
_DagRun = dict[str, Any]


class AirflowFailed(UserbertError):
    """Airflow did not start, or a run of a DAG failed."""


@dataclass
class Airflow:
    """A running Airflow at `address`."""

    address: str
    passwords: Path | None = None  # the file of Airflow's SimpleAuthManager: passwords by user
    token: str = field(default="", repr=False)

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.address}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:  # nosec B310: our address
            return dict(json.loads(response.read() or b"{}"))

    def answers(self) -> bool:
        """Whether the API answers; from then on tasks can report to it."""
        try:
            self.token = self.call("POST", "/auth/token", self._login())["access_token"]
            return bool(self.call("GET", "/api/v2/monitor/health"))
        except (OSError, KeyError):
            return False

    def _login(self) -> dict[str, str]:
        """Without a file the login of one that asks for none."""
        known = json.loads(self.passwords.read_text()) if self.passwords else {}
        return {"username": AIRFLOW_USER, "password": known.get(AIRFLOW_USER, "none")}

    def is_ready(self, dags: set[str]) -> bool:
        """Whether the API answers, the scheduler lives, and all of `dags` are parsed."""
        if not self.answers():
            return False
        health = self.call("GET", "/api/v2/monitor/health")
        parsed = {dag["dag_id"] for dag in self.call("GET", "/api/v2/dags")["dags"]}
        return health["scheduler"]["status"] == "healthy" and parsed >= dags

    def add_pool(self, name: str, slots: int) -> None:
        """Make a pool; one that exists keeps the slots that somebody gave it."""
        try:
            self.call("GET", f"/api/v2/pools/{name}")
        except urllib.error.HTTPError:
            self.call("POST", "/api/v2/pools", {"name": name, "slots": slots})

    def trigger(self, dag: str, conf: dict[str, str]) -> str:
        """Start a run of `dag`; its id."""
        body = {"logical_date": None, "conf": conf}
        return str(self.call("POST", f"/api/v2/dags/{dag}/dagRuns", body)["dag_run_id"])

    def dag_runs(self, dag: str) -> list[_DagRun]:
        runs = self.call("GET", f"/api/v2/dags/{dag}/dagRuns?limit=1000")["dag_runs"]
        return sorted(runs, key=lambda run: str(run["queued_at"] or ""))

    def dag_run(self, dag: str, run: str) -> _DagRun:
        return self.call("GET", f"/api/v2/dags/{dag}/dagRuns/{run}")

    def task_instances(self, dag: str, run: str) -> list[dict[str, Any]]:
        answer = self.call("GET", f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances")
        return list(answer["task_instances"])

    def backfill(
        self, dag: str, first: str, last: str, on_conflict: Callable[[], None]
    ) -> dict[str, str]:
        """Run `dag` for those days of `first` to `last` that have not succeeded, oldest first.

        Returns the newest run's id by day. Airflow runs one backfill of a DAG at a time and takes a
        while to close one whose runs have ended: `on_conflict` is called before each new try.
        """
        body = {
            "dag_id": dag,
            "from_date": f"{first}T00:00:00Z",
            "to_date": f"{last}T00:00:00Z",
            "reprocess_behavior": "failed",
            "max_active_runs": 1,
        }
        while not self._created("/api/v2/backfills", body):
            on_conflict()
            time.sleep(2)
        runs: list[_DagRun] = []
        while not runs:
            runs = [
                run
                for run in self.dag_runs(dag)
                if first <= str(run["partition_key"] or "") <= last
            ]
            time.sleep(1)
        return {str(run["partition_key"]): str(run["dag_run_id"]) for run in runs}

    def _created(self, path: str, body: object) -> bool:
        try:
            self.call("POST", path, body)
        except urllib.error.HTTPError as error:
            if error.code != _CONFLICT:
                raise
            return False
        return True
