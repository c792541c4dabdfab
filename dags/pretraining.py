"""Weekly, or by hand: pairs of the last six months, a new model, and its trial.

Training runs in the pool `gpu`, which has one slot, where conf/training.toml says: on this machine,
on a queue's worker, as a Kubernetes Job or on the Spark cluster (docs/training.md). A retry resumes
from the last checkpoint. A setting turns the model into the space of an earlier one. It becomes the
champion only if the judge finds it no worse than the champion on the same held-out users, and not
collapsed; and only once every day that readers have now is embedded under it too, so that they lose
none by the change.
"""

from datetime import timedelta

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Asset, CronPartitionTimetable, Param

from contracts.commands import (
    DEFAULT_PRESET,
    PIPELINE_PRESETS,
    PROJECT_ROOT,
    USERBERT_COMMAND,
)
from contracts.paths import Places
from contracts.tables import MODELS, PUBLISHED_EMBEDDINGS, SEQUENCE_PAIRS, USER_EMBEDDINGS
from userbert.launchers.settings import TrainingSettings
from userbert.scheduling.dag_defaults import (
    LONG_TASK,
    TASK_DEFAULTS,
    run_deadline,
    scheduled_from,
)
from userbert.scheduling.form_defaults import day_param, newest_as_of
from userbert.scheduling.landing_arrival import ArrivalSettings
from userbert.scheduling.report_task import REPORT_DOC, ReportOperator

AS_OF = "{{ dag_run.partition_key or params.as_of }}"
DATA_PLACES = Places.from_environment()
TRAINED_MODEL = "{{ ti.xcom_pull(task_ids='pretrain') }}"
MODEL_ID = "{{ ti.xcom_pull(task_ids='align') }}"
TRAINING_SETTINGS = TrainingSettings.from_environment()
BEGIN_FROM = TRAINING_SETTINGS.warm_start
WARM_START = "" if BEGIN_FROM == "none" else f" --warm-start {BEGIN_FROM}"

with DAG(
    dag_id="pretraining",
    doc_md=__doc__,
    schedule=CronPartitionTimetable("0 6 * * 1", timezone="UTC", key_format="%Y-%m-%d"),
    start_date=scheduled_from(ArrivalSettings.of(DATA_PLACES)),
    catchup=False,
    max_active_runs=1,
    params={
        "as_of": day_param(
            newest_as_of(DATA_PLACES),
            "as_of day of a run without a partition key: earlier views are learned from",
            "Views from this day on (UTC) are not seen. Filled in: the day after the newest "
            "landing folder.",
        ),
        "preset": Param(
            DEFAULT_PRESET,
            enum=[*PIPELINE_PRESETS],
            title="settings",
            description="memory: minutes on two cores; strong: the same, wider, for GPUs; smoke: "
            "seconds, to try the DAG; small and paper: the window form.",
        ),
        "processes": Param(
            TRAINING_SETTINGS.processes,
            type="integer",
            minimum=1,
            title="processes on the machine, in a pod, or as tasks of Spark",
            description="One for each GPU; on a machine without GPUs one is best.",
        ),
        "align_to": Param(
            TRAINING_SETTINGS.align_to,
            type="string",
            title="into whose space: none, champion, founder (of the champion's space), a model_id",
            description="Vectors of one space can be compared over retrainings "
            "(docs/training.md, One space for years).",
        ),
    },
    deadline=run_deadline(timedelta(days=8)),
    default_args=TASK_DEFAULTS,
    tags=["userbert"],
):
    sequence_pairs = SparkSubmitOperator(
        task_id="sequence_pairs",
        doc_md="Makes the pairs that the window form learns from, of the last six months.",
        application_args=["sequence-pairs", "--as-of", AS_OF],
        outlets=[Asset(SEQUENCE_PAIRS.name)],
    )
    pretrain = BashOperator(
        task_id="pretrain",
        doc_md="Trains where conf/training.toml says. A retry goes on from the last checkpoint.",
        # Its last line of output is the new model's id, which the tasks below read.
        bash_command=f"{USERBERT_COMMAND} launch --processes {{{{ params.processes }}}}"
        f" -- --as-of {AS_OF} --preset {{{{ params.preset }}}}{WARM_START}",
        execution_timeout=timedelta(days=7),
        cwd=str(PROJECT_ROOT),
        append_env=True,
        pool="gpu",
        queue=TRAINING_SETTINGS.queue,
    )
    align = BashOperator(
        task_id="align",
        doc_md="Turns the model into the space of an earlier one, if the form or the settings say "
        "so; else it passes the model on.",
        # Its last line of output is the id of the model that goes on: of the aligned one, or of
        # the trained one where there is nobody to align it with.
        bash_command=f"{{% if params.align_to == 'none' %}}echo {TRAINED_MODEL}{{% else %}}"
        f"{USERBERT_COMMAND} models align {TRAINED_MODEL} --to {{{{ params.align_to }}}} "
        f"--least-cosine {TRAINING_SETTINGS.align_least_cosine}{{% endif %}}",
        cwd=str(PROJECT_ROOT),
        append_env=True,
    )
    trial = SparkSubmitOperator(
        task_id="trial",
        doc_md="Judges the model against the champion on held-out users (refused: UB-408, and the "
        "champion stays); embeds every day that readers have now under it, so that none is lost; "
        "and makes it the champion and its vectors the published ones, in one commit. Back: "
        "`userbert models rollback`. The next try goes on at the step that failed.",
        application_args=[
            "steps",
            f"models judge {MODEL_ID} --register",
            f"backfill run --published --model {MODEL_ID}",
            f"models promote {MODEL_ID} --reason 'judged fit after training'",
        ],
        outlets=[Asset(table.name) for table in (USER_EMBEDDINGS, MODELS, PUBLISHED_EMBEDDINGS)],
        execution_timeout=LONG_TASK,
    )
    report = ReportOperator(
        task_id="report",
        doc_md=REPORT_DOC,
        options=f"--of training --model {MODEL_ID}",
        page=f"training/{MODEL_ID}",
    )
    sequence_pairs >> pretrain >> align >> trial >> report
