import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from userbert.local.airflow import DAGS

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden" / "dags.json"
HEAVY = {"pyspark", "torch", "feast", "great_expectations", "pandas"}
DAY = "2017-06-30"


@pytest.fixture(scope="module")
def dag_bag(tmp_path_factory):
    os.environ["AIRFLOW_HOME"] = str(tmp_path_factory.mktemp("airflow"))
    from airflow.dag_processing.dagbag import DagBag

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("USERBERT_TRAINING", str(ROOT / "conf/examples/training-queue.toml"))
        return DagBag(dag_folder=ROOT / "dags")


def command(task):
    """What a task runs, without the machine's own folders."""
    words = getattr(task, "application_args", None) or getattr(task, "bash_command", None)
    text = "userbert " + " ".join(words) if isinstance(words, list) else str(words or "")
    return text.replace(f"{Path(sys.prefix) / 'bin'}/", "")


def described(dag):
    return {
        task.task_id: {
            "after": sorted(task.upstream_task_ids),
            "run": command(task),
            "pool": task.pool,
            "outlets": [asset.name for asset in task.outlets],
        }
        for task in dag.tasks
    }


def test_every_dag_parses(dag_bag):
    assert dag_bag.import_errors == {}
    assert set(dag_bag.dags) == set(DAGS)


def test_tasks_commands_and_order_are_as_recorded(dag_bag):
    """`RECORD=1 pytest tests/test_dags.py` rewrites the file: read its diff like code."""
    found = {dag.dag_id: described(dag) for dag in dag_bag.dags.values()}
    if os.environ.get("RECORD"):
        GOLDEN.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
    assert found == json.loads(GOLDEN.read_text())


def test_a_night_ingests_the_day_before_its_as_of(dag_bag):
    from types import SimpleNamespace

    from airflow.sdk.execution_time import macros

    task = dag_bag.dags["nightly"].get_task("browsing_logs")
    context = {"dag_run": SimpleNamespace(partition_key=DAY), "macros": macros}
    task.render_template_fields(context)
    assert task.application_args == [
        "browsing-logs",
        "--from-day",
        "2017-06-29",
        "--to-day",
        "2017-06-29",
    ]


def test_every_command_of_a_dag_is_one_that_a_person_can_run(dag_bag):
    from userbert.cli import root_command

    root = root_command()
    for dag in dag_bag.dags.values():
        for task in dag.tasks:
            for part in command(task).split("&&"):
                words = part.split()
                if words and words[0] == "userbert":
                    assert words[1] in root.commands


def test_a_refusal_is_not_tried_again_and_a_crash_is():
    from airflow.sdk.definitions.retry_policy import RetryAction

    from userbert.scheduling.retries import UnlessRefused

    def action(message):
        return UnlessRefused().evaluate(RuntimeError(message), 1, 3).action

    assert action("Cannot execute: spark-submit. Error code is: 3.") == RetryAction.FAIL
    assert action("The command returned a non-zero exit code 4.") == RetryAction.FAIL
    assert action("Cannot execute: spark-submit. Error code is: 137.") == RetryAction.DEFAULT
    assert action("connection lost") == RetryAction.DEFAULT


def test_training_has_a_pool_of_its_own_and_the_queue_of_its_settings(dag_bag):
    dag = dag_bag.dags["pretraining"]
    where = {task.task_id: (task.pool, task.queue) for task in dag.tasks}
    assert where.pop("pretrain") == ("gpu", "gpu")
    assert set(where.values()) == {("default_pool", "default")}
    assert dag.params["processes"] == 2


def test_no_dag_file_imports_anything_heavy():
    """One process for all of them: each would take 3 s to import Airflow."""
    paths = sorted(map(str, (ROOT / "dags").glob("*.py")))
    code = f"import runpy, sys; [runpy.run_path(path) for path in {paths}]; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=True, text=True
    )
    assert "airflow" in run.stdout.split()
    assert HEAVY.isdisjoint(run.stdout.split())
