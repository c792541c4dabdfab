"""By hand, once: a range of past landing days in one go, as far as sessions.

A night costs a fixed minute whatever the day holds, so six months go in by one run of this DAG
instead of 181 nights. The jobs are the nightly ones; running a range again leaves the same rows.
"""

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import DAG, Asset

from contracts.paths import Places
from contracts.tables import BROWSING_LOGS, SESSIONS, TITLES
from userbert.scheduling.dag_defaults import (
    LONG_TASK,
    TASK_DEFAULTS,
    run_deadline,
)
from userbert.scheduling.form_defaults import day_param, first_landing_day, last_landing_day
from userbert.scheduling.report_task import REPORT_DOC, ReportOperator, days_name

DATA_PLACES = Places.from_environment()
DAYS_NAME = days_name("params.from_day", "params.to_day")

with DAG(
    dag_id="history",
    doc_md=__doc__,
    schedule=None,
    max_active_runs=1,
    params={
        "from_day": day_param(
            first_landing_day(DATA_PLACES),
            "first landing day",
            "The first folder below landing/ that is ingested. Filled in: the oldest that is "
            "there.",
        ),
        "to_day": day_param(
            last_landing_day(DATA_PLACES),
            "last landing day",
            "Included. Filled in: the newest folder that is there.",
        ),
    },
    deadline=run_deadline(LONG_TASK),
    default_args=TASK_DEFAULTS,
    tags=["userbert"],
):
    sessions = SparkSubmitOperator(
        task_id="sessions",
        doc_md="Reads the landing folders, refuses broken lines with a reason, and writes the rest "
        "if the gate lets each day pass; then titles and sessions. The next try goes on at the "
        "step that failed.",
        application_args=[
            "steps",
            "browsing-logs --from-day {{ params.from_day }} --to-day {{ params.to_day }}"
            " --allow-missing-days",
            "titles",
            "sessions",
        ],
        outlets=[Asset(table.name) for table in (BROWSING_LOGS, TITLES, SESSIONS)],
        execution_timeout=LONG_TASK,
    )
    report = ReportOperator(
        task_id="report",
        doc_md=REPORT_DOC,
        options="--of history --from {{ params.from_day }} --to {{ params.to_day }}",
        page=f"history/{DAYS_NAME}",
    )
    sessions >> report
