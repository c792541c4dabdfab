"""What every task of this project's DAGs is given, unless its DAG says otherwise."""

from datetime import timedelta

from contracts.commands import CLI, SPARK_SUBMIT
from userbert.retries import UnlessRefused

TASK_DEFAULTS = {
    "application": CLI,
    "spark_binary": SPARK_SUBMIT,
    "conn_id": "spark_default",
    "retries": 2,
    "retry_delay": timedelta(seconds=30),
    "retry_policy": UnlessRefused(),
}
