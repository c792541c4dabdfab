"""What this project's DAGs, and every task of theirs, have unless a DAG says otherwise."""

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk.definitions.callback import SyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from contracts.commands import CLI, SPARK_SUBMIT
from userbert.scheduling.alerts import alert_failure, alert_late_run, log_failure
from userbert.scheduling.landing_arrival import ArrivalSettings
from userbert.scheduling.retries import UnlessRefused
from userbert.scheduling.task_notes import note_task

_NIGHT_HOURS = 6  # that a night may take after its landing day is complete
_NEVER = datetime(2100, 1, 1, tzinfo=UTC)
LONG_TASK = timedelta(days=2)  # a history, a backfill; a training goes on from its checkpoint
# What two DAGs say of the same task.
TASK_DEFAULTS = {
    "owner": "userbert",
    "application": CLI,
    "spark_binary": SPARK_SUBMIT,
    "conn_id": "spark_default",
    "retries": 2,
    "retry_delay": timedelta(seconds=30),
    "retry_policy": UnlessRefused(),
    "execution_timeout": timedelta(hours=6),
    "on_failure_callback": alert_failure,
    "on_retry_callback": log_failure,
    "on_success_callback": note_task,
}


def night_deadline(arrival: ArrivalSettings) -> DeadlineAlert:
    """Report a night that is not finished `_NIGHT_HOURS` after it began at the latest."""
    return run_deadline(timedelta(hours=arrival.deadline_hours + _NIGHT_HOURS))


def run_deadline(interval: timedelta) -> DeadlineAlert:
    """Report a run that is not finished so long after it was queued; it is not stopped."""
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=interval,
        callback=SyncCallback(alert_late_run),
    )


def scheduled_from(arrival: ArrivalSettings | None = None) -> datetime | None:
    """The instant before which no run comes by the clock.

    The embedded Airflow sets it to the day after its first start, since an installation that is set
    up today has no night of yesterday. Where no day comes by itself, as in a demo, neither does a
    run. Runs by hand and backfills of any day come regardless.
    """
    if arrival is not None and not arrival.days_expected:
        return _NEVER
    instant = os.environ.get("USERBERT_SCHEDULED_FROM")
    return datetime.fromisoformat(instant) if instant else None
