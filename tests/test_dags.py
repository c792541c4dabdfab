import copy
import json
import os
import re
import subprocess
import sys
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from contracts.commands import DEFAULT_PRESET, PIPELINE_PRESETS
from model.config import PRESETS
from userbert.local.airflow_processes import DAG_IDS

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden" / "dags.json"
HEAVY = {"pyspark", "torch", "feast", "great_expectations", "pandas"}
DAY = "2017-06-30"
JOBS = ("user-sequences", "user-embeddings", "published-embeddings", "features refresh")


@pytest.fixture(scope="module")
def dag_bag(tmp_path_factory):
    os.environ["AIRFLOW_HOME"] = str(tmp_path_factory.mktemp("airflow"))
    from airflow.dag_processing.dagbag import DagBag

    data = tmp_path_factory.mktemp("data")
    for name in ("2017-06-27", "2017-06-28", "2017-06-29", "notes-of-june"):
        (data / "landing" / name).mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("USERBERT_DATA", str(data))
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
    assert set(dag_bag.dags) == set(DAG_IDS)


def test_tasks_commands_and_order_are_as_recorded(dag_bag):
    """`RECORD=1 pytest tests/test_dags.py` rewrites the file: read its diff like code."""
    found = {dag.dag_id: described(dag) for dag in dag_bag.dags.values()}
    if os.environ.get("RECORD"):
        GOLDEN.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
    assert found == json.loads(GOLDEN.read_text())


def test_a_night_ingests_the_day_before_its_as_of(dag_bag):
    from types import SimpleNamespace

    from airflow.sdk.execution_time import macros

    task = dag_bag.dags["nightly"].get_task("tables")
    context = {"dag_run": SimpleNamespace(partition_key=DAY), "macros": macros}
    task.render_template_fields(context)
    assert task.application_args == [
        "steps",
        "browsing-logs --from-day 2017-06-29 --to-day 2017-06-29",
        "titles",
        "sessions",
        "user-sequences --as-of 2017-06-30",
        "user-embeddings --as-of 2017-06-30",
        "published-embeddings --as-of 2017-06-30",
        "features refresh --as-of 2017-06-30",
    ]


def test_a_run_without_a_partition_key_takes_the_forms_day(dag_bag):
    from types import SimpleNamespace

    from airflow.sdk.execution_time import macros

    context = {"dag_run": SimpleNamespace(partition_key=None), "macros": macros}
    context["params"] = {"as_of": DAY}
    commands = [
        ("nightly", "tables", [f"{job} --as-of {DAY}" for job in JOBS]),
        ("pretraining", "sequence_pairs", ["--as-of", DAY]),
    ]
    for dag, name, flags in commands:
        task = dag_bag.dags[dag].get_task(name)
        task.render_template_fields(context)
        assert task.application_args[-len(flags) :] == flags


def test_forms_are_filled_in_with_the_newest_days_that_landed(dag_bag):
    def form(dag):
        return {name: param.value for name, param in dag_bag.dags[dag].params.items()}

    assert form("nightly") == {"as_of": DAY}
    assert form("pretraining")["as_of"] == DAY
    assert form("history") == {"from_day": "2017-06-27", "to_day": "2017-06-29"}
    assert form("backfill") == {"from_as_of": "2017-06-29", "to_as_of": DAY, "model_id": None}


def test_every_task_has_an_owner_a_time_limit_and_somebody_who_hears_of_a_failure(dag_bag):
    for dag in dag_bag.dags.values():
        for task in dag.tasks:
            assert task.owner == "userbert"
            assert task.execution_timeout is not None
            assert task.on_failure_callback
            assert task.on_retry_callback
        assert dag.deadline


def test_every_dag_task_and_field_of_a_form_explains_itself(dag_bag):
    for dag in dag_bag.dags.values():
        assert dag.doc_md
        assert [task.task_id for task in dag.tasks if not task.doc_md] == []
        fields = {name: dag.params.get_param(name) for name in dag.params}
        assert [name for name, each in fields.items() if not each.schema.get("title")] == []
        assert [name for name, each in fields.items() if not each.description] == []


def test_the_note_of_a_task_says_rows_and_seconds(tmp_path, monkeypatch):
    from small_report import gate_result

    from contracts.paths import Places
    from expectations.results import save_result
    from userbert.scheduling.task_notes import task_note

    monkeypatch.setenv("USERBERT_DATA", str(tmp_path))
    result = gate_result("sessions", DAY)
    save_result(Places(tmp_path).gates, result)
    checked = datetime.fromisoformat(result.checked_at)
    before, after = checked - timedelta(seconds=40), checked + timedelta(seconds=1)
    note = task_note(["sessions", "titles"], before, after)
    assert note == f"sessions: {result.rows:,} rows, gate passed; 41 s"
    assert task_note(["sessions"], after, after) == "0 s"  # the result is of an earlier run


def test_a_night_waits_for_its_day_without_a_slot_and_nobody_waits_in_a_demo(dag_bag):
    from userbert.scheduling.dag_defaults import scheduled_from
    from userbert.scheduling.landing_arrival import ArrivalSettings

    sensor = dag_bag.dags["nightly"].get_task("landing_day")
    assert sensor.mode == "reschedule"
    assert scheduled_from(ArrivalSettings(days_expected=False)).year == 2100


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
    assert dag.params["preset"] == DEFAULT_PRESET in PIPELINE_PRESETS
    assert set(PIPELINE_PRESETS) <= set(PRESETS)


@pytest.mark.parametrize(
    ("align_to", "command"),
    [
        ("none", "echo m1"),
        ("champion", "userbert models align m1 --to champion --least-cosine 0.5"),
    ],
)
def test_a_new_model_is_turned_into_the_space_that_the_form_names(dag_bag, align_to, command):
    from types import SimpleNamespace

    task = copy.deepcopy(dag_bag.dags["pretraining"].get_task("align"))
    pretrained = SimpleNamespace(xcom_pull=lambda task_ids: {"pretrain": "m1"}[task_ids])
    task.render_template_fields({"params": {"align_to": align_to}, "ti": pretrained})
    assert re.sub(r"\S*/userbert", "userbert", task.bash_command) == command


def test_no_dag_file_imports_anything_heavy():
    """One process for all of them: each would take 3 s to import Airflow."""
    paths = sorted(map(str, (ROOT / "dags").glob("*.py")))
    code = f"import runpy, sys; [runpy.run_path(path) for path in {paths}]; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=True, text=True
    )
    assert "airflow" in run.stdout.split()
    assert HEAVY.isdisjoint(run.stdout.split())


# What each DAG's form was filled in with, and the page that `userbert report` then writes.
REPORTED_RUNS = [
    ("nightly", {"as_of": DAY}, f"night/{DAY}"),
    ("history", {"from_day": "2017-06-27", "to_day": DAY}, f"history/2017-06-27_{DAY}"),
    ("history", {"from_day": DAY, "to_day": DAY}, f"history/{DAY}"),
    ("backfill", {"from_as_of": DAY, "to_as_of": DAY, "model_id": None}, f"backfill/{DAY}"),
    (
        "backfill",
        {"from_as_of": "2017-06-29", "to_as_of": DAY, "model_id": "m1"},
        f"backfill/2017-06-29_{DAY}_m1",
    ),
]


@pytest.mark.parametrize(("dag", "params", "page"), REPORTED_RUNS)
def test_the_link_of_a_run_leads_to_the_page_that_its_command_writes(dag_bag, dag, params, page):
    from types import SimpleNamespace

    from userbert.report.subject import Subject

    task = copy.deepcopy(dag_bag.dags[dag].get_task("report"))
    task.render_template_fields({"params": params, "dag_run": SimpleNamespace(partition_key=None)})
    (link,) = task.operator_extra_links
    assert link.get_link(task, ti_key=None).endswith(f"/userbert/reports/{page}.html")
    kind = page.split("/")[0]
    first = params.get("from_day") or params.get("from_as_of") or params["as_of"]
    days = date.fromisoformat(first), date.fromisoformat(DAY)
    assert Subject(kind, *days, params.get("model_id")).name == page.split("/")[1]


def test_a_run_that_fails_leaves_its_report_too(dag_bag, tmp_path, monkeypatch):
    from types import SimpleNamespace

    from small_report import AS_OF, gate_result, write_root

    from contracts.paths import Places
    from expectations.results import save_result
    from userbert.scheduling.report_task import report_failed_run

    places = Places(tmp_path)
    write_root(places)
    bad = gate_result("user_embeddings", f"{AS_OF} m1", passed=False, line="all point one way")
    save_result(places.gates, bad)
    monkeypatch.setenv("USERBERT_DATA", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    dag, run = dag_bag.dags["nightly"], SimpleNamespace(partition_key=str(AS_OF))
    context = {"dag": dag, "dag_run": run, "params": {}}
    failed = SimpleNamespace(task_id="user_embeddings")
    address = report_failed_run({**context, "ti": failed})
    assert address.endswith(f"/userbert/reports/night/{AS_OF}.html")
    assert "all point one way" in (places.reports / "night" / f"{AS_OF}.html").read_text()
    assert "partition_key" in dag.get_task("report").report_command  # the task is as it was
    assert report_failed_run({**context, "ti": SimpleNamespace(task_id="report")}) == ""


def test_pages_are_served_to_whoever_is_logged_in_and_nothing_else_is(tmp_path, monkeypatch):
    from airflow.api_fastapi.app import create_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.models.revoked_token import RevokedToken
    from airflow.settings import engine
    from fastapi.testclient import TestClient

    from userbert.scheduling.airflow_plugins.report_pages import ReportPages

    for name in ("reports/index.html", "gates/docs/index.html", "landing/a.html", "reports/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("<p>page</p>")
    (tmp_path / "reports/link.html").symlink_to("/etc/hostname")
    monkeypatch.setenv("USERBERT_DATA", str(tmp_path))
    (served,) = ReportPages().fastapi_apps
    client = TestClient(served["app"])
    assert client.get("/reports/index.html").status_code == 401
    manager = create_auth_manager()
    RevokedToken.__table__.create(engine, checkfirst=True)  # all that a token is looked up in
    user = SimpleAuthManagerUser(username="ann", role="viewer")
    client.headers["Authorization"] = f"Bearer {manager.generate_jwt(user)}"
    page = client.get("/reports/index.html")
    assert (page.status_code, page.text) == (200, "<p>page</p>")
    assert page.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert client.get("/gates/docs/index.html").status_code == 200
    for other in ("landing/a.html", "reports/a.png", "reports/link.html", "reports"):
        assert client.get(f"/{other}").status_code == 404
    assert client.get("/reports/%2e%2e/landing/a.html").status_code == 404
