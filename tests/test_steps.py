"""Several commands in one process: which run, where a later try goes on, and how a failure ends."""

import json
from pathlib import Path

import pytest

from contracts.paths import Places
from contracts.tables import BROWSING_LOGS
from spark_jobs.lake.commits import recent_provenance
from userbert.cli import main

INGEST = "browsing-logs --from-day 2017-06-29 --to-day 2017-06-29"
TASK = {
    "AIRFLOW_CTX_DAG_ID": "nightly",
    "AIRFLOW_CTX_DAG_RUN_ID": "2017-06-30",
    "AIRFLOW_CTX_TASK_ID": "sequences",
}


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("USERBERT_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def in_airflow(monkeypatch):
    for name, value in TASK.items():
        monkeypatch.setenv(name, value)


def heads(capsys) -> list[str]:
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("step ")]


def test_steps_run_in_their_order_and_the_first_that_fails_ends_them(root, capsys):
    assert main(["steps", "jobs --last 1", "summary", "jobs"]) == 4
    printed = capsys.readouterr()
    found = [line for line in printed.out.splitlines() if line.startswith("step ")]
    assert found == ["step 1 of 3: jobs --last 1", "step 2 of 3: summary"]
    assert printed.err.startswith("userbert summary: UB-301: there is no table below ")
    assert not (root / "steps").exists()  # by hand, every call runs every step


def test_the_next_try_of_a_task_goes_on_at_the_step_that_failed(root, in_airflow, capsys):
    words = ["steps", "jobs --last 1", "summary"]
    assert main(words) == 4
    assert main(words) == 4
    assert heads(capsys)[2:] == [
        "step 1 of 2: jobs --last 1: done by an earlier try",
        "step 2 of 2: summary",
    ]


def test_another_task_runs_every_step(root, in_airflow, capsys, monkeypatch):
    words = ["steps", "jobs --last 1", "summary"]
    main(words)
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "2017-07-01")
    main(words)
    assert heads(capsys)[2] == "step 1 of 2: jobs --last 1"


def test_a_task_that_is_done_leaves_no_record_so_that_clearing_it_runs_it_whole(
    root, in_airflow, capsys
):
    for _ in range(2):
        assert main(["steps", "jobs", "jobs --last 1"]) == 0
    assert not any("done by an earlier try" in head for head in heads(capsys))
    assert list((root / "steps").iterdir()) == []


@pytest.mark.parametrize("torn", [b"", b'{"run": ', b'{"done": [{"word": 1}]}', b"\xff\xfe"])
def test_a_record_that_is_not_whole_is_none(root, in_airflow, capsys, torn):
    words = ["steps", "jobs --last 1", "summary"]
    main(words)
    (record,) = (root / "steps").iterdir()
    record.write_bytes(torn)
    main(words)
    assert heads(capsys)[2] == "step 1 of 2: jobs --last 1"


def test_mended_landing_files_are_ingested_again_by_the_next_try(root, in_airflow, lake, capsys):
    day = Places(root).landing / "2017-06-29"
    day.mkdir(parents=True)
    (day.parent / "settings.toml").write_text(
        'format = "csv"\n[columns]\nuser_id = "user"\nevent_time = "time"\ntitle = "title"\n'
    )
    log = day / "views.csv"
    log.write_text("user,time,title\nann,2017-06-29T10:00:00Z,red shoes\n")
    words = ["steps", INGEST, "user-embeddings --as-of 2017-06-30"]
    assert main(words) == 4  # there is no model
    record = json.loads(next(Path(root / "steps").iterdir()).read_text())
    assert [step["command"] for step in record["done"]] == [INGEST]
    assert main(words) == 4
    log.write_text("user,time,title\nann,2017-06-29T10:00:00Z,red hats\n")
    assert main(words) == 4
    found = [head for head in heads(capsys) if head.startswith("step 1")]
    assert found == [f"step 1 of 2: {INGEST}{end}" for end in ("", ": done by an earlier try", "")]
    (provenance, *_) = recent_provenance(lake.log(BROWSING_LOGS))
    assert (provenance["job"], provenance["run"]) == ("browsing_logs", "/".join(TASK.values()))
