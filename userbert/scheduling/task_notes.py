"""The note on a task that is done: what its gate counted, and how long it took."""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from contracts.errors import UserbertError
from contracts.paths import Places
from expectations.results import newest_results

_logger = logging.getLogger(__name__)


def note_task(context: Any) -> None:
    """Write the note into the log, and onto the task in Airflow's UI where its API lets us.

    A task of the embedded Airflow finds the login in its file. Where there is none the API
    refuses, and the note stays in the log.
    """
    task = context["ti"]
    started = task.start_date or datetime.now(UTC)
    tables = [outlet.name for outlet in context["task"].outlets]
    try:
        note = task_note(tables, started, datetime.now(UTC))
        _logger.info("%s: %s", task.task_id, note)
        _write_note(task, note)
    except (UserbertError, OSError, ValueError) as error:
        _logger.info("the task has no note: %s", error)


def task_note(tables: Iterable[str], started: datetime, ended: datetime) -> str:
    """Such as "sessions: 70,646 rows, gate passed; 41 s"."""
    gates = Places.from_environment().gates
    parts = []
    for table in tables:
        for result in newest_results(gates, table):
            if datetime.fromisoformat(result.checked_at) >= started:
                verdict = "gate passed" if result.passed else "gate FAILED"
                parts.append(f"{table}: {result.rows:,} rows, {verdict}")
    return "; ".join([*parts, f"{(ended - started).total_seconds():.0f} s"])


def _write_note(task: Any, note: str) -> None:
    from airflow.sdk.configuration import conf

    from userbert.scheduling.airflow_api import Airflow

    passwords = conf.get("core", "simple_auth_manager_passwords_file", fallback="")
    address = conf.get("api", "base_url", fallback="").rstrip("/")
    airflow = Airflow(address, Path(passwords) if passwords else None)
    if airflow.address and airflow.answers():
        path = f"/api/v2/dags/{task.dag_id}/dagRuns/{quote(task.run_id)}/taskInstances"
        airflow.call("PATCH", f"{path}/{task.task_id}?update_mask=note", {"note": note})
