"""Each midnight (UTC), yesterday's logs become today's embeddings.

A run has one partition key, its `as_of` day: it ingests the landing folder of the day before, and
embeds the users who viewed on that day, from their views before `as_of`, under the champion. Each
table is checked before it is written, so a task that is green has passed its gate; a task that is
red has written nothing, and readers keep the last published day.

By hand, with the nights in order: `airflow backfill create --dag-id nightly --max-active-runs 1
--from-date 2017-06-24 --to-date 2017-06-30`.
Every task is one command, for example `userbert user-sequences --as-of 2017-06-30`.
"""

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Asset, CronPartitionTimetable

from contracts.commands import USERBERT
from contracts.tables import (
    BROWSING_LOGS,
    PUBLISHED_EMBEDDINGS,
    SESSIONS,
    TITLES,
    USER_EMBEDDINGS,
    USER_SEQUENCES,
)
from userbert.scheduling.dag_defaults import TASK_DEFAULTS, scheduled_from

AS_OF = "{{ dag_run.partition_key }}"
DAY_BEFORE = "{{ macros.ds_add(dag_run.partition_key, -1) }}"

with DAG(
    dag_id="nightly",
    doc_md=__doc__,
    schedule=CronPartitionTimetable("0 0 * * *", timezone="UTC", key_format="%Y-%m-%d"),
    start_date=scheduled_from(),
    catchup=False,
    max_active_runs=1,
    default_args=TASK_DEFAULTS,
    tags=["userbert"],
):
    browsing_logs = SparkSubmitOperator(
        task_id="browsing_logs",
        application_args=["browsing-logs", "--from-day", DAY_BEFORE, "--to-day", DAY_BEFORE],
        outlets=[Asset(BROWSING_LOGS.name)],
    )
    titles = SparkSubmitOperator(
        task_id="titles", application_args=["titles"], outlets=[Asset(TITLES.name)]
    )
    sessions = SparkSubmitOperator(
        task_id="sessions", application_args=["sessions"], outlets=[Asset(SESSIONS.name)]
    )
    user_sequences = SparkSubmitOperator(
        task_id="user_sequences",
        application_args=["user-sequences", "--as-of", AS_OF],
        outlets=[Asset(USER_SEQUENCES.name)],
    )
    user_embeddings = SparkSubmitOperator(
        task_id="user_embeddings",
        application_args=["user-embeddings", "--as-of", AS_OF],
        outlets=[Asset(USER_EMBEDDINGS.name)],
    )
    published_embeddings = SparkSubmitOperator(
        task_id="published_embeddings",
        application_args=["published-embeddings", "--as-of", AS_OF],
        outlets=[Asset(PUBLISHED_EMBEDDINGS.name)],
    )
    features = BashOperator(
        task_id="features",
        bash_command=f"{USERBERT} features refresh --as-of {AS_OF}",
    )
    report = BashOperator(task_id="report", bash_command=f"{USERBERT} summary --as-of {AS_OF}")

    browsing_logs >> [titles, sessions]
    sessions >> user_sequences
    [titles, user_sequences] >> user_embeddings >> published_embeddings >> features >> report
