"""A night with a Spark application for each table: what `one_application.py` compares ours with."""

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Param

from contracts.commands import USERBERT_COMMAND
from userbert.scheduling.dag_defaults import TASK_DEFAULTS

AS_OF = "{{ params.as_of }}"
DAY_BEFORE = "{{ macros.ds_add(params.as_of, -1) }}"

with DAG(
    dag_id="nightly_apart",
    schedule=None,
    params={"as_of": Param("2017-07-01", type="string")},
    default_args=TASK_DEFAULTS,
):
    days = ["--from-day", DAY_BEFORE, "--to-day", DAY_BEFORE]
    as_of = ["--as-of", AS_OF]
    browsing_logs, titles, sessions, user_sequences, user_embeddings, published_embeddings = (
        SparkSubmitOperator(task_id=words[0].replace("-", "_"), application_args=words)
        for words in (
            ["browsing-logs", *days],
            ["titles"],
            ["sessions"],
            ["user-sequences", *as_of],
            ["user-embeddings", *as_of],
            ["published-embeddings", *as_of],
        )
    )
    features = BashOperator(
        task_id="features", bash_command=f"{USERBERT_COMMAND} features refresh --as-of {AS_OF}"
    )
    report = BashOperator(
        task_id="report",
        bash_command=f"{USERBERT_COMMAND} report --as-of {AS_OF}"
        f" && {USERBERT_COMMAND} summary --as-of {AS_OF}",
    )
    browsing_logs >> [titles, sessions]
    sessions >> user_sequences
    [titles, user_sequences] >> user_embeddings >> published_embeddings >> features >> report
