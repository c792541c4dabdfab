"""What this project's DAGs, and every task of theirs, are given unless a DAG says otherwise."""

import os
from datetime import datetime, timedelta

from contracts.commands import CLI, SPARK_SUBMIT
from userbert.scheduling.retries import UnlessRefused

TASK_DEFAULTS = {
    "application": CLI,
    "spark_binary": SPARK_SUBMIT,
    "conn_id": "spark_default",
    "retries": 2,
    "retry_delay": timedelta(seconds=30),
    "retry_policy": UnlessRefused(),
}


def scheduled_from() -> datetime | None:
    """Before this, no run comes by the clock; the embedded Airflow sets it to the day after its
    first start, since a place that is set up today has no night of yesterday. Runs by hand and
    backfills of any day come whatever it says."""
    told = os.environ.get("USERBERT_SCHEDULED_FROM")
    return datetime.fromisoformat(told) if told else None
