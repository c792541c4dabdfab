"""Each midnight (UTC), yesterday's logs become today's embeddings.

A run has one partition key, its `as_of` day: it ingests the landing folder of the day before, and
embeds the users who viewed on that day, from their views before `as_of`, under the champion. Each
table is checked before it is written, so a task that is green has passed its gate; a task that is
red has written nothing, and readers keep the last published day.

The first task waits for the landing day: it looks every few minutes and takes no slot in between.
landing/arrival.toml says when a day is complete, and until when a night waits (docs/airflow.md).

By hand, with the nights in order: `airflow backfill create --dag-id nightly --max-active-runs 1
--from-date 2017-06-24 --to-date 2017-06-30`.
Every task is one command, for example `userbert user-sequences --as-of 2017-06-30`.
"""

from datetime import timedelta

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.sensors.python import PythonSensor
from airflow.sdk import DAG, Asset, CronPartitionTimetable

from contracts.commands import USERBERT_COMMAND
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
    SESSIONS_DOC,
    TASK_DEFAULTS,
    TITLES_DOC,
    night_deadline,
    scheduled_from,
)
from userbert.scheduling.form_defaults import day_param, newest_as_of
from userbert.scheduling.landing_arrival import ArrivalSettings, wait_for_landing_day
from userbert.scheduling.report_task import REPORT_DOC, ReportOperator

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
    browsing_logs = SparkSubmitOperator(
        task_id="browsing_logs",
        doc_md="Reads the day's landing files, refuses broken lines with a reason, and writes the "
        "rest if the gates of rows and of the day let it pass.",
        application_args=["browsing-logs", "--from-day", DAY_BEFORE, "--to-day", DAY_BEFORE],
        outlets=[Asset(BROWSING_LOGS.name)],
    )
    titles = SparkSubmitOperator(
        task_id="titles",
        doc_md=TITLES_DOC,
        application_args=["titles"],
        outlets=[Asset(TITLES.name)],
    )
    sessions = SparkSubmitOperator(
        task_id="sessions",
        doc_md=SESSIONS_DOC,
        application_args=["sessions"],
        outlets=[Asset(SESSIONS.name)],
    )
    user_sequences = SparkSubmitOperator(
        task_id="user_sequences",
        doc_md="Selects the newest views of each user who viewed on the day, all before as_of.",
        application_args=["user-sequences", "--as-of", AS_OF],
        outlets=[Asset(USER_SEQUENCES.name)],
    )
    user_embeddings = SparkSubmitOperator(
        task_id="user_embeddings",
        doc_md="Embeds these users under the champion. Without a champion it fails with UB-501.",
        application_args=["user-embeddings", "--as-of", AS_OF],
        outlets=[Asset(USER_EMBEDDINGS.name)],
    )
    published_embeddings = SparkSubmitOperator(
        task_id="published_embeddings",
        doc_md="Makes the day's vectors the ones that readers see, in one commit.",
        application_args=["published-embeddings", "--as-of", AS_OF],
        outlets=[Asset(PUBLISHED_EMBEDDINGS.name)],
    )
    features = BashOperator(
        task_id="features",
        doc_md="Registers the publication in Feast, brings the online store up to it, and checks "
        "both against the table.",
        bash_command=f"{USERBERT_COMMAND} features refresh --as-of {AS_OF}",
    )
    report = ReportOperator(
        task_id="report",
        doc_md=REPORT_DOC,
        options=f"--as-of {AS_OF}",
        page=f"night/{AS_OF}",
        then=f"{USERBERT_COMMAND} summary --as-of {AS_OF}",
    )

    landing_day >> browsing_logs >> [titles, sessions]
    sessions >> user_sequences
    [titles, user_sequences] >> user_embeddings >> published_embeddings >> features >> report
