"""The README's section "Bring your own logs", followed to the letter, through real Airflow."""

import json
import os
import re
import sqlite3
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable

from contracts.paths import Places
from spark_jobs.spark.event_log import newest_applications, newest_steps

README = Path(__file__).parents[1] / "README.md"
BIN = Path(sys.prefix) / "bin"
USERS, TOPICS = 40, ("tea pots", "road bikes", "rock gardens", "old maps")


def section():
    text = README.read_text(encoding="utf-8")
    return re.search(r"## Bring your own logs\n(.*?)\n## ", text, re.S)[1]


def settings(text):
    lines = re.search(r'( +)format = .*?log_id = "[^\n]*', text, re.S)[0].splitlines()
    return "\n".join(line.strip() for line in lines)


def views(day):
    """Two sessions of three views of each user, about one topic; user 7 stays away at last."""
    for user in range(USERS):
        if user == 7 and day.day == 31:
            continue
        for n, hour in enumerate((8, 8, 8, 20, 20, 20)):
            at = day + timedelta(hours=hour, minutes=n + user)
            title = f"{TOPICS[user % 4]}: our guide {(user + n + day.day) % 9}"
            line = {"visitor": f"u{user}", "at": at.isoformat(), "page_title": title}
            yield json.dumps(line | {"site": "example.org", "request_id": f"{at}-{user}"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A week of logs where the README says, and its command run in the folder above."""
    folder, text = tmp_path_factory.mktemp("own"), section()
    last = Path(re.search(r"`(data/landing/[^`]*)`", text)[1])
    days = [datetime.fromisoformat(last.parts[2]) - timedelta(days=n) for n in range(7)]
    for day in days:
        path = folder / last.parents[1] / str(day.date()) / last.name
        path.parent.mkdir(parents=True)
        path.write_text("".join(line + "\n" for line in (*views(day), '{"visitor": "cut o')))
    (folder / re.search(r"`(data/landing/settings.toml)`", text)[1]).write_text(settings(text))
    command = re.search(r"^ +(userbert run .*)$", text, re.M)[1]
    run(folder, *command.split()[1:])
    return folder


def run(folder, *words):
    own = ("USERBERT_DATA", "PYSPARK_SUBMIT_ARGS", "AIRFLOW_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in own}
    done = subprocess.run(
        [BIN / "userbert", *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_user_of_the_week_is_published_also_who_stayed_away_on_the_last_day(folder):
    rows = DeltaTable(folder / "data/lake/published_embeddings").to_pyarrow_table().to_pylist()
    assert {row["user_id"] for row in rows} == {f"u{n}" for n in range(USERS)}
    assert {str(row["as_of"]) for row in rows} == {"2026-02-01"}
    assert len({row["model_id"] for row in rows}) == 1
    assert all(len(row["embedding"]) == 256 for row in rows)


def test_every_line_is_accepted_or_refused_and_the_summary_says_so(folder):
    lines = 7 * (USERS * 6 + 1) - 6
    facts = json.loads(run(folder, "summary", "--json"))
    assert facts["lines_in"] == lines
    assert sum(facts["refused"].values()) == 7
    assert all(gate["passed"] for gate in facts["gates"].values())


def test_the_lake_keeps_its_rules_and_feast_serves_a_user(folder):
    assert "broken" in run(folder, "audit")
    assert "u3" in run(folder, "features", "get", "u3")


def test_nobody_finds_a_red_run_in_airflow(folder):
    with sqlite3.connect(folder / "data/airflow/airflow.db") as database:
        runs = database.execute("select dag_id, state from dag_run order by dag_id").fetchall()
    assert runs == [("history", "success"), ("nightly", "success"), ("pretraining", "success")]


def test_each_task_has_a_note_with_its_rows_and_seconds_and_each_run_leads_to_its_report(folder):
    with sqlite3.connect(folder / "data/airflow/airflow.db") as database:
        notes = database.execute("""select dag_id || '.' || task_id, content from task_instance
            join task_instance_note on ti_id = id""").fetchall()
        links = database.execute("select value from xcom where key like '_link%'").fetchall()
    by_task = dict(notes)
    assert re.search(
        r"^browsing_logs: 234 rows, gate passed; .*; \d+ s$", by_task["nightly.tables"]
    )
    assert re.search(r"^sequence_pairs: \d+ rows, ", by_task["pretraining.sequence_pairs"])
    pages = {json.loads(value).partition("/userbert/")[2] for (value,) in links}
    assert {page.split("/")[1] for page in pages} == {"history", "training", "night"}
    assert [page for page in pages if not (folder / "data" / page).is_file()] == []


def test_the_folder_of_airflow_names_no_place_so_that_it_can_be_moved(folder):
    assert str(folder) not in (folder / "data/airflow/airflow.cfg").read_text()


def test_each_spark_job_left_an_event_log_without_a_failed_task(folder):
    logs = Places(folder / "data").event_logs
    history, pairs, trial, night = reversed(newest_applications(logs))
    runs = [job.run.partition("/")[0] for job in (history, pairs, trial, night)]
    assert runs == ["history", "pretraining", "pretraining", "nightly"]
    steps = newest_steps(logs)
    assert {"browsing_logs", "sessions", "user_sequences", "published_embeddings"} <= {
        step.job for step in steps if step.run == night.run
    }
    assert all(step.finished and step.failed_tasks == 0 for step in steps)
