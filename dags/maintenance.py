"""Sundays at noon (UTC), far from the nights: files are compacted, and what nobody needs goes.

It is safe beside any other run: of two commits that touch the same files Delta refuses the second,
jobs do theirs again, and maintenance leaves the rest for the next week. The versions that standing
models name stay readable. To see what it would do: `userbert maintenance --dry-run`.
"""

from datetime import timedelta

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import DAG, CronTriggerTimetable

from userbert.scheduling.dag_defaults import TASK_DEFAULTS, run_deadline, scheduled_from

with DAG(
    dag_id="maintenance",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("0 12 * * 0", timezone="UTC"),
    start_date=scheduled_from(),
    catchup=False,
    max_active_runs=1,
    deadline=run_deadline(timedelta(hours=12)),
    default_args=TASK_DEFAULTS,
    tags=["userbert"],
):
    SparkSubmitOperator(
        task_id="maintenance",
        doc_md="Compacts files and removes versions that no model and no reader needs. It may wait "
        "for a week without harm.",
        application_args=["maintenance"],
    )
