"""The same commands on a standalone cluster and here: equal tables, though a worker is killed."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable

from contracts.errors import BadInput
from contracts.paths import Places
from contracts.tables import BROWSING_LOGS, SEQUENCE_PAIRS, SESSIONS, TITLES, USER_SEQUENCES
from spark_jobs.spark.event_log import job_facts, log_folders, newest_applications, newest_steps
from userbert.cli import main
from userbert.local import spark_cluster
from userbert.local.ports import free_port
from userbert.local.spark_cluster import (
    SENT_PACKAGES,
    Cluster,
    how_to_reach,
    settings,
    start_cluster,
    stop_cluster,
    write_package_zip,
)

ROOT = Path(__file__).parents[1]
DAYS = ("2017-01-01", "2017-01-02")
TABLES = (BROWSING_LOGS, TITLES, SESSIONS, USER_SEQUENCES, SEQUENCE_PAIRS)
AS_OF = "2017-01-03"
NIGHTS = [
    *(
        words
        for day in DAYS
        for words in (
            ["browsing-logs", "--from-day", day, "--to-day", day],
            ["titles"],
            ["sessions"],
        )
    ),
    ["user-sequences", "--as-of", AS_OF],
    ["sequence-pairs", "--as-of", AS_OF],
]
# All in one process, which spares starting Spark eight times.
IN_ONE_PROCESS = f"""
from userbert.cli import main
for words in {NIGHTS}:
    assert main(words) == 0, words
    print("done:", *words, flush=True)
"""


def land(places):
    """Eight users who come in the morning and in the evening of both days."""
    places.landing.mkdir(parents=True)
    columns = "\n".join(f'{name} = "{name}"' for name in ("user_id", "event_time", "title"))
    (places.landing / "settings.toml").write_text(f'format = "jsonl"\n\n[columns]\n{columns}\n')
    for day in DAYS:
        views = [
            {
                "user_id": f"u{user}",
                "event_time": (moment + timedelta(minutes=7 * view)).isoformat(),
                "title": f"Page {user * view % 11} of {day}, it's here",
            }
            for user in range(8)
            for moment in (datetime.fromisoformat(f"{day}T{hour:02}:00") for hour in (8, 19))
            for view in range(4)
        ]
        (places.landing / day).mkdir()
        text = "".join(f"{json.dumps(view)}\n" for view in views)
        (places.landing / day / "views.jsonl").write_text(text)


def nights(places, **environment):
    """The process that runs both nights; without PYSPARK_SUBMIT_ARGS, which names a master."""
    inherited = {k: v for k, v in os.environ.items() if k != "PYSPARK_SUBMIT_ARGS"}
    return subprocess.Popen(
        [sys.executable, "-c", IN_ONE_PROCESS],
        cwd=ROOT,
        env={**inherited, "USERBERT_DATA": str(places.root), **environment},
        stdout=subprocess.PIPE,
        stderr=(places.root / "nights.log").open("w"),
        text=True,
    )


def rows(places, table):
    frame = DeltaTable(f"{places.lake}/{table.name}").to_pyarrow_table(columns=table.names)
    return frame.sort_by([(name, "ascending") for name in table.key]).to_pylist()


def await_running_task(log):
    """Until the executor whose log this is has a task that it has not finished."""
    for _ in range(3000):
        events = log.read_text() if log.exists() else ""
        if events.count("Running task ") > events.count("Finished task "):
            return
        time.sleep(0.02)
    raise AssertionError(f"no task ran: {log}")


@pytest.fixture(scope="module")
def here(spark, tmp_path_factory):
    """The nights on this machine alone."""
    places = Places(tmp_path_factory.mktemp("here"))
    land(places)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("USERBERT_DATA", str(places.root))
        for words in NIGHTS:
            assert main(words) == 0, words
    return places


@pytest.fixture(scope="module")
def on_cluster(tmp_path_factory):
    """The nights on two workers, one of which is killed while it cuts the sessions."""
    places = Places(tmp_path_factory.mktemp("there"))
    land(places)
    cluster = Cluster(places.root / "cluster")
    ports = {"port": free_port(), "ui": free_port()}
    start_cluster(cluster, workers=2, cores=1, memory="1g", **ports)
    try:
        assert sorted(cluster.pids()) == ["master", "worker-1", "worker-2"]
        process = nights(places, SPARK_CONF_DIR=str(cluster.conf))
        assert process.stdout is not None
        while not (process.stdout.readline()).startswith("done: titles"):
            assert process.poll() is None, (places.root / "nights.log").read_text()[-3000:]
        executor = next((cluster.folder / "work-1").glob("app-*/*"))
        await_running_task(executor / "stderr")
        os.kill(cluster.pids()["worker-1"], signal.SIGKILL)
        out, _ = process.communicate(timeout=300)
        assert process.returncode == 0, out + (places.root / "nights.log").read_text()[-3000:]
        assert sorted(cluster.pids()) == ["master", "worker-2"]
    finally:
        stop_cluster(cluster)
    assert cluster.pids() == {}
    return places


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_cluster_that_loses_a_worker_writes_the_same_rows(here, on_cluster, table):
    expected = rows(here, table)
    assert expected
    assert rows(on_cluster, table) == expected


def test_the_jobs_ran_on_the_cluster_with_the_packages_it_was_sent(on_cluster):
    settings_there = settings(on_cluster.root / "cluster" / "conf" / "spark-defaults.conf")
    assert settings_there["spark.master"].startswith("spark://127.0.0.1:")
    (application,) = newest_applications(on_cluster.event_logs)
    assert application.application.startswith("app-")
    sent = list((on_cluster.root / "cluster").glob("work-*/app-*/*/userbert.zip"))
    assert len(sent) >= 2


def test_an_event_log_tells_the_jobs_of_one_application_apart(on_cluster):
    whole, steps = newest_applications(on_cluster.event_logs), newest_steps(on_cluster.event_logs)
    jobs = [words[0].replace("-", "_") for words in NIGHTS]
    assert [step.job for step in reversed(steps)] == jobs
    assert all(step.finished and step.seconds > 0 and step.tasks for step in steps)
    for name in ("rows_out", "tasks", "bytes_written", "bytes_read"):
        assert sum(getattr(step, name) for step in steps) == getattr(whole[0], name)
    assert steps[-1].rows_in == {}  # landing files are not read by Spark
    assert set(steps[0].rows_in) == {"sessions"}


def test_an_event_log_tells_rows_files_bytes_and_memory_of_a_job(on_cluster):
    (application,) = newest_applications(on_cluster.event_logs)
    assert (application.job, application.run) == ("browsing_logs", "by hand")
    assert application.finished
    assert application.rows_in["browsing_logs"] >= 2 * 64  # by titles and by sessions
    assert application.rows_out >= sum(len(rows(on_cluster, table)) for table in TABLES)
    assert application.files_in.keys() == application.rows_in.keys()
    counted = ("bytes_read", "bytes_written", "shuffle_bytes", "tasks")
    assert all(getattr(application, name) > 0 for name in (*counted, "peak_memory_bytes"))
    assert application.seconds >= 1


def test_a_torn_event_log_tells_what_it_holds(on_cluster, tmp_path):
    (whole,) = log_folders(on_cluster.event_logs)
    (part,) = whole.glob("events_1_*")
    torn = tmp_path / whole.name
    torn.mkdir()
    data = part.read_bytes()
    (torn / part.name).write_bytes(data[: len(data) // 2])
    facts = job_facts(torn)
    assert facts.job == "browsing_logs"
    assert not facts.finished
    assert 0 < facts.tasks < job_facts(whole).tasks


def test_a_second_cluster_is_refused_and_names_how_to_end_the_first(tmp_path):
    cluster = Cluster(tmp_path)
    sleeper = [
        sys.executable,
        "-c",
        "import time; time.sleep(60)",
        "org.apache.spark.deploy.master",
    ]
    process = subprocess.Popen(sleeper)
    try:
        (tmp_path / "master.pid").write_text(str(process.pid))
        with pytest.raises(BadInput, match=r"runs already: master .* cluster stop"):
            start_cluster(cluster, workers=1, cores=1, memory="1g", port=1, ui=2)
        assert stop_cluster(cluster) == ["master"]
        assert cluster.pids() == {}
    finally:
        process.kill()
        process.wait()


def test_the_zip_holds_every_package_and_is_the_same_each_time(tmp_path):
    first, again = (write_package_zip(tmp_path / f"{n}.zip").read_bytes() for n in (1, 2))
    assert first == again
    names = zipfile.ZipFile(tmp_path / "1.zip").namelist()
    assert {"contracts/tables.py", "spark_jobs/tables/sessions.py", "userbert/cli.py"} <= set(names)
    assert not [name for name in names if "__pycache__" in name]


def test_executors_are_sent_every_package_that_is_installed():
    ours = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert set(SENT_PACKAGES) == ours - {"benchmarks"}


def test_workers_find_the_jars_of_an_object_store(tmp_path, monkeypatch):
    monkeypatch.setattr(spark_cluster, "OBJECT_STORE_JARS", tmp_path)
    spark_cluster._write_conf(Cluster(tmp_path / "here"), "spark://h:7077", "1g")
    said = settings(tmp_path / "here" / "conf" / "spark-defaults.conf")
    for side in ("driver", "executor"):
        assert said[f"spark.{side}.extraClassPath"] == f"{tmp_path}/*"


def test_airflow_gets_the_master_as_json_and_commands_get_a_folder(tmp_path):
    conf = tmp_path / "conf"
    conf.mkdir()
    (conf / "spark-defaults.conf").write_text("spark.master local\nspark.master spark://h:7077\n")
    commands, airflow = how_to_reach(Cluster(tmp_path)).splitlines()
    assert commands == f"export SPARK_CONF_DIR={conf}"
    assert json.loads(airflow.partition("=")[2].strip("'")) == {
        "conn_type": "spark",
        "host": "spark://h",
        "port": 7077,
    }
