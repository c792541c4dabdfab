"""Each midnight (UTC), yesterday's logs become today's embeddings.

A run has one partition key, its `as_of` day: it ingests the landing folder of the day before, and
embeds the users who viewed on that day, from their views before `as_of`, under the champion. Each
table is checked before it is written, so a task that is green has passed its gates. A task that is
red names the table that was refused: nothing of that table was written, the tables before it stay,
the next try goes on there, and readers keep the last published day.

All tables of a night are made in one Spark application, since the start of one costs more than a
usual night's rows; the feature store follows in the same process.

The first task waits for the landing day: it looks every few minutes and takes no slot in between.
landing/arrival.toml says when a day is complete, and until when a night waits (docs/airflow.md).

By hand, with the nights in order: `airflow backfill create --dag-id nightly --max-active-runs 1
--from-date 2017-06-24 --to-date 2017-06-30`.
Every step is one command, for example `userbert user-sequences --as-of 2017-06-30`.
"""

from datetime import timedelta

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.sensors.python import PythonSensor
from airflow.sdk import DAG, Asset, CronPartitionTimetable

from contracts.paths import Places
from contracts.tables import (
    BROWSING_LOGS,
    PUBLISHED_EMBEDDINGS,
    SESSIONS,
    TITLES,
    USER_EMBEDDINGS,
    USER_SEQUENCES,
)
from userbert.scheduling.dag_defaults import (
    TASK_DEFAULTS,
    night_deadline,
    scheduled_from,
)
from userbert.scheduling.form_defaults import day_param, newest_as_of
from userbert.scheduling.landing_arrival import ArrivalSettings, wait_for_landing_day
from userbert.scheduling.report_task import REPORT_DOC, ReportOperator

TABLES = (
    BROWSING_LOGS,
    TITLES,
    SESSIONS,
    USER_SEQUENCES,
    USER_EMBEDDINGS,
    PUBLISHED_EMBEDDINGS,
)
TABLES_DOC = """Makes the night's tables, one step after the other; the log says which one runs.

1. `browsing_logs`: reads the day's landing files, refuses broken lines with a reason, and writes
   the rest if the gates of rows and of the day let it pass.
2. `titles`: normalizes and tokenizes the titles that are new.
3. `sessions`: cuts the views of each user into sessions, where half an hour passed without one.
4. `user_sequences`: selects the newest views of each user who viewed on the day, all before as_of.
5. `user_embeddings`: embeds these users under the champion. Without one it fails with UB-501.
6. `published_embeddings`: makes the day's vectors the ones that readers see, in one commit.
7. Feast: registers the publication, brings the online store up to it, and checks both against the
   table.

The next try goes on at the step that failed.
"""
AS_OF = "{{ dag_run.partition_key or params.as_of }}"
DAY_BEFORE = "{{ macros.ds_add(dag_run.partition_key or params.as_of, -1) }}"
DATA_PLACES = Places.from_environment()
ARRIVAL_RULE = ArrivalSettings.of(DATA_PLACES)

with DAG(
    dag_id="nightly",
    doc_md=__doc__,
    schedule=CronPartitionTimetable("0 0 * * *", timezone="UTC", key_format="%Y-%m-%d"),
    start_date=scheduled_from(ARRIVAL_RULE),
    catchup=False,
    max_active_runs=1,
    deadline=night_deadline(ARRIVAL_RULE),
    params={
        "as_of": day_param(
            newest_as_of(DATA_PLACES),
            "as_of day of a run without a partition key; the day before it is ingested",
            "Users are embedded from their views before this day (UTC). Filled in: the day after "
            "the newest landing folder. A run by the clock has a partition key and ignores it.",
        ),
    },
    default_args=TASK_DEFAULTS,
    tags=["userbert"],
):
    landing_day = PythonSensor(
        task_id="landing_day",
        doc_md="Waits until the landing day is complete (landing/arrival.toml). Late files: "
        "deliver them, then clear this task.",
        python_callable=wait_for_landing_day,
        op_args=[DAY_BEFORE],
        mode="reschedule",
        poke_interval=60 * ARRIVAL_RULE.poll_minutes,
        timeout=timedelta(days=7),  # the callable itself ends at the deadline
    )
    tables = SparkSubmitOperator(
        task_id="tables",
        doc_md=TABLES_DOC,
        application_args=[
            "steps",
            f"browsing-logs --from-day {DAY_BEFORE} --to-day {DAY_BEFORE}",
            "titles",
            "sessions",
            f"user-sequences --as-of {AS_OF}",
            f"user-embeddings --as-of {AS_OF}",
            f"published-embeddings --as-of {AS_OF}",
            f"features refresh --as-of {AS_OF}",
        ],
        outlets=[Asset(table.name) for table in TABLES],
    )
    report = ReportOperator(
        task_id="report",
        doc_md=REPORT_DOC,
        options=f"--as-of {AS_OF}",
        page=f"night/{AS_OF}",
        then=f"summary --as-of {AS_OF}",
    )

    landing_day >> tables >> report
