"""Whom a failed or late run is reported to: the log always, and whoever the settings name.

The last line of a failed task's log is the command's own error, and below it what comes next.
Environment variables name who gets the same text:

USERBERT_ALERT          a command that gets it on its standard input
USERBERT_ALERT_EMAIL    addresses with commas between them; Airflow's [smtp] settings send the mail
USERBERT_ALERT_WEBHOOK  an address that gets it as JSON, {"text": ...}, as chat programs take it
"""

import json
import logging
import os
import shlex
import subprocess
import urllib.request
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from contracts.terminal.error_codes import LATE_RUN
from userbert.scheduling.failure_message import failure_message
from userbert.scheduling.task_logs import PROGRAM_PREFIX, attempt_log, command_error

_ALERT_SECONDS = 60  # that an alert's command may take
_WEBHOOK_SECONDS = 10

_logger = logging.getLogger(__name__)


def log_failure(context: Any) -> None:
    """Write the error of the failed command as the last line of its task's log."""
    _log_last(_failure_text(context, {}))


def alert_failure(context: Any) -> None:
    """Write the run's report, log the error, and send both to whoever is to know."""
    from userbert.scheduling.report_task import report_failed_run

    text = _failure_text(context, {"report": report_failed_run(context)})
    send_alert(text)
    _log_last(text)


def alert_late_run(context: Any, **_: object) -> None:
    """Airflow calls this when a run is not finished at its deadline."""
    run = context["dag_run"]
    error = (
        f"userbert {run['dag_id']}: {LATE_RUN}: the run {run['dag_run_id']} is not finished at its "
        "deadline"
    )
    text = failure_message(error, f"{run['dag_id']}, {run['dag_run_id']}", {})
    send_alert(text)
    _logger.error("%s", text)


def _log_last(text: str) -> None:
    """Log outside of the group that Airflow folds up in its UI; only that group's end follows."""
    _logger.info("::endgroup::")
    _logger.error("%s", text)


def send_alert(text: str) -> None:
    """Send `text` to all that the environment names; what fails there changes nothing else."""
    for variable, send in _CHANNELS.items():
        if target := os.environ.get(variable):
            try:
                send(target, text)
            except Exception as error:  # of any library: the next channel may work
                _logger.warning("%s failed: %s", variable, type(error).__name__)


def _run_command(command: str, text: str) -> None:
    subprocess.run(
        shlex.split(command),
        input=text,
        text=True,
        timeout=_ALERT_SECONDS,
        check=True,
        capture_output=True,  # or its output would follow the error in the task's log
    )


def _send_mail(addresses: str, text: str) -> None:
    """By Airflow's own settings: [smtp], and the connection smtp_default for a password."""
    from airflow.utils.email import send_email

    subject = text.splitlines()[0][:200]
    send_email(addresses, subject, f"<pre>{escape(text)}</pre>")


def _post(address: str, text: str) -> None:
    body = json.dumps({"text": text}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(address, data=body, headers=headers, method="POST")
    # nosec below: the address is the installation's own setting
    with urllib.request.urlopen(request, timeout=_WEBHOOK_SECONDS) as answer:  # nosec B310
        answer.read()


# A webhook's address is a secret, so a warning names the variable and never its value.
_CHANNELS: Mapping[str, Callable[[str, str], None]] = {
    "USERBERT_ALERT": _run_command,
    "USERBERT_ALERT_EMAIL": _send_mail,
    "USERBERT_ALERT_WEBHOOK": _post,
}


def _failure_text(context: Any, links: dict[str, str]) -> str:
    """What the failed command said, where it ran, and what comes next."""
    from airflow.sdk.configuration import conf

    task = context["ti"]
    logs = Path(conf.get("logging", "base_log_folder"))
    log = attempt_log(logs, task.dag_id, task.run_id, task.task_id, task.try_number)
    error = str(context.get("exception"))
    if not error.startswith(PROGRAM_PREFIX) and log.exists():
        error = command_error(log)  # a command's: the exception knows its exit code alone
    where = f"task {task.task_id} of {task.dag_id}, {task.run_id}"
    return failure_message(error, where, {"log": task.log_url, **links})
