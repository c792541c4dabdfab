"""By hand, with a form: the embeddings of past days under a named model.

`plan` says in its log what is there and what will be written; `run` writes it, by the nightly
jobs' own functions, in one Spark application (a start of Spark for each day costs ten seconds);
`compare` sets the new vectors beside the champion's. Stopped or killed, the same form again goes on
with the days that are left. Readers stay on the champion until `userbert models promote MODEL_ID`.
"""

from datetime import timedelta

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import DAG, Asset, Param

from contracts.paths import Places
from contracts.tables import USER_EMBEDDINGS, USER_SEQUENCES
from userbert.scheduling.dag_defaults import LONG_TASK, TASK_DEFAULTS, run_deadline
from userbert.scheduling.form_defaults import day_param, newest_as_of
from userbert.scheduling.report_task import REPORT_DOC, ReportOperator, days_name

DAYS = ["--from", "{{ params.from_as_of }}", "--to", "{{ params.to_as_of }}"]
DAYS_NAME = days_name("params.from_as_of", "params.to_as_of")
NEWEST_AS_OF = newest_as_of(Places.from_environment())
MODEL = ["--model", "{{ params.model_id or '' }}"]

with DAG(
    dag_id="backfill",
    doc_md=__doc__,
    schedule=None,
    params={
        "from_as_of": day_param(
            NEWEST_AS_OF - timedelta(days=1),
            "first as_of day",
            "Users are embedded as of this day and each one after it. Filled in: the day before "
            "the newest.",
        ),
        "to_as_of": day_param(
            NEWEST_AS_OF, "last as_of day", "Included. Filled in: the newest day that can be made."
        ),
        "model_id": Param(
            None,
            type=["null", "string"],
            title="whose vectors; the champion's without one",
            description="A registered model; `userbert models list` names them.",
        ),
    },
    deadline=run_deadline(LONG_TASK),
    default_args=TASK_DEFAULTS,
    tags=["userbert"],
):
    plan = SparkSubmitOperator(
        task_id="plan",
        doc_md="Prints which days are there and what `run` will write; writes nothing.",
        application_args=["backfill", "plan", *DAYS, *MODEL],
    )
    run = SparkSubmitOperator(
        task_id="run",
        doc_md="Writes sequences and embeddings of each day. Clear it to go on after a stop: days "
        "that are done stay.",
        application_args=["backfill", "run", *DAYS, *MODEL],
        outlets=[Asset(USER_SEQUENCES.name), Asset(USER_EMBEDDINGS.name)],
        execution_timeout=LONG_TASK,
    )
    compare = SparkSubmitOperator(
        task_id="compare",
        doc_md="Sets the new vectors beside the champion's; writes nothing.",
        application_args=["backfill", "compare", *DAYS, *MODEL],
    )
    report = ReportOperator(
        task_id="report",
        doc_md=REPORT_DOC,
        options=f"--of backfill {' '.join(DAYS)}" + ' ${MODEL_ID:+--model "$MODEL_ID"}',
        page=f"backfill/{DAYS_NAME}" + "{{ '_' + params.model_id if params.model_id else '' }}",
        env={"MODEL_ID": "{{ params.model_id or '' }}"},  # a form's text is never a shell's words
        append_env=True,
    )
    plan >> run >> compare >> report
