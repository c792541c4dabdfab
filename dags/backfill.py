"""By hand: the embeddings of past days under a named model, by the nightly run's own commands.

Each day is a task of its own, so a stopped backfill goes on with the days that are left. Readers
stay on the champion: what is written here is served only once its model is promoted.
"""

from datetime import date, timedelta

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import DAG, Asset, Param, task

from contracts.commands import CLI, SPARK_SUBMIT
from contracts.tables import USER_EMBEDDINGS, USER_SEQUENCES
from userbert.retries import UnlessRefused

with DAG(
    dag_id="backfill",
    doc_md=__doc__,
    schedule=None,
    max_active_tasks=2,
    params={
        "from_as_of": Param("2017-06-29", type="string", format="date", title="first as_of day"),
        "to_as_of": Param("2017-06-30", type="string", format="date", title="last as_of day"),
        "model_id": Param(
            None, type=["null", "string"], title="whose vectors; the champion's without one"
        ),
    },
    default_args={
        "application": CLI,
        "spark_binary": SPARK_SUBMIT,
        "conn_id": "spark_default",
        "retries": 2,
        "retry_delay": timedelta(seconds=30),
        "retry_policy": UnlessRefused(),
    },
    tags=["userbert"],
):

    @task
    def arguments(params: dict[str, str]) -> list[dict[str, list[str]]]:
        """Of the two commands of each day."""
        first = date.fromisoformat(params["from_as_of"])
        last = date.fromisoformat(params["to_as_of"])
        if last < first:
            raise ValueError(f"to_as_of {last} is before from_as_of {first}: swap them")
        model = ["--model", params["model_id"]] if params["model_id"] else []
        days = [str(first + timedelta(days=n)) for n in range((last - first).days + 1)]
        return [
            {
                "sequences": ["user-sequences", "--as-of", day],
                "embeddings": ["user-embeddings", "--as-of", day, *model],
            }
            for day in days
        ]

    each_day = arguments()
    user_sequences = SparkSubmitOperator.partial(
        task_id="user_sequences", outlets=[Asset(USER_SEQUENCES.name)]
    ).expand(application_args=each_day.map(lambda day: day["sequences"]))
    user_embeddings = SparkSubmitOperator.partial(
        task_id="user_embeddings", outlets=[Asset(USER_EMBEDDINGS.name)]
    ).expand(application_args=each_day.map(lambda day: day["embeddings"]))
    user_sequences >> user_embeddings
