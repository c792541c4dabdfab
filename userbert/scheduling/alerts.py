"""Whom a failed or late run is reported to.

The last line of a failed task's log is the command's own error. `USERBERT_ALERT` names a command
that gets the same text on its standard input, for example a script that sends a mail.
"""

import logging
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

from contracts.terminal.error_codes import LATE_RUN
from userbert.scheduling.task_logs import attempt_log, command_error

_ALERT_SECONDS = 60  # that an alert's command may take

_logger = logging.getLogger(__name__)


def log_failure(context: Any) -> None:
    """Write the error of the failed command as the last line of its task's log."""
    _log_last(_failure_text(context))


def alert_failure(context: Any) -> None:
    """Write the run's report, log the error, and send both to whoever is to know."""
    from userbert.scheduling.report_task import report_failed_run

    text = _failure_text(context)
    if report := report_failed_run(context):
        text += f"\nreport: {report}"
    send_alert(text)
    _log_last(text)


def alert_late_run(context: Any, **_: object) -> None:
    """Airflow calls this when a run is not finished at its deadline."""
    run = context["dag_run"]
    text = (
        f"userbert {run['dag_id']}: {LATE_RUN}: the run {run['dag_run_id']} is not finished at its "
        "deadline"
    )
    send_alert(text)
    _logger.error("%s", text)


def _log_last(text: str) -> None:
    """Log outside of the group that Airflow folds up in its UI; only that group's end follows."""
    _logger.info("::endgroup::")
    _logger.error("%s", text)


def send_alert(text: str) -> None:
    """Give `text` to the command that USERBERT_ALERT names; its failure changes nothing else."""
    command = os.environ.get("USERBERT_ALERT")
    if not command:
        return
    try:
        subprocess.run(
            shlex.split(command),
            input=text,
            text=True,
            timeout=_ALERT_SECONDS,
            check=True,
            capture_output=True,  # or its output would follow the error in the task's log
        )
    except (OSError, subprocess.SubprocessError) as error:
        _logger.warning("USERBERT_ALERT failed: %s", error)


def _failure_text(context: Any) -> str:
    """What the failed command said, where it ran, and where its page is."""
    from airflow.sdk.configuration import conf

    task = context["ti"]
    logs = Path(conf.get("logging", "base_log_folder"))
    log = attempt_log(logs, task.dag_id, task.run_id, task.task_id, task.try_number)
    error = command_error(log) if log.exists() else str(context.get("exception"))
    return f"{error}\ntask {task.task_id} of {task.dag_id}, {task.run_id}: {task.log_url}"
