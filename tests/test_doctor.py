"""`userbert doctor`: each kind of fault is one line with what mends it, and nothing is changed."""

import json
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest
from small_lake import embedding, publish, write
from small_report import gate_result

from contracts.paths import Places
from expectations.results import save_result
from spark_jobs.backfill.day_locks import DayLocks
from userbert.cli import main
from userbert.local.airflow_home import prepare_home, sole_use

ROOT = Path(__file__).parents[1]
SETTINGS = """
format = "jsonl"
[columns]
user_id = "user"
event_time = "time"
title = "title"
"""
DAY = date(2026, 1, 5)  # a landing day; the night after it is as of the next


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A night that went well: a day landed, ingested, and published as of the next."""
    monkeypatch.setenv("USERBERT_DATA", str(tmp_path))
    places = Places(tmp_path)
    (places.landing / str(DAY)).mkdir(parents=True)
    (places.landing / "arrival.toml").write_text("days_expected = true\n")
    (places.landing / "settings.toml").write_text(SETTINGS)
    view = {"event_date": DAY, "landing_day": DAY, "user_id": "ann"}
    write(places, "browsing_logs", [view, {**view, "landing_day": DAY - timedelta(days=1)}])
    publish(places, [embedding("ann", DAY + timedelta(days=1), [1])])
    return places


def findings(capsys):
    """The levels and sentences of each check, what comes next, and the exit code."""
    code = main(["doctor", "--json"])
    answer = json.loads(capsys.readouterr().out)
    found = {}
    for each in answer["findings"]:
        found.setdefault(each["check"], []).append(each)
    return found, answer["next"], code


def faults(found):
    return {
        name for name, all_of_it in found.items() if any(f["level"] == "fault" for f in all_of_it)
    }


def test_a_good_root_has_a_line_a_check_and_no_fault(root, capsys):
    found, _, code = findings(capsys)
    assert (faults(found), code) == (set(), 0)
    assert found["newest good day"][0]["says"].startswith(
        "as of 2026-01-06, landed up to 2026-01-05"
    )
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == sum(map(len, found.values())) + 1
    assert lines[-1].startswith("no fault; next: ")


def test_it_starts_nothing_heavy_and_changes_no_file(root):
    before = sorted((path, path.stat().st_mtime_ns) for path in root.root.rglob("*"))
    code = (
        "import sys; from userbert.cli import main; main(['doctor']);"
        "print(*sys.modules, file=sys.stderr)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, text=True
    )
    heavy = {"pyspark", "torch", "airflow", "feast", "great_expectations", "duckdb"}
    assert heavy.isdisjoint(run.stderr.split())
    assert sorted((path, path.stat().st_mtime_ns) for path in root.root.rglob("*")) == before


def test_a_java_that_spark_cannot_use_is_a_fault(root, tmp_path, monkeypatch, capsys):
    java = tmp_path / "jdk" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    found, what_next, code = findings(capsys)
    assert (faults(found), code) == ({"java"}, 1)
    assert f"{java} is 11.0.2, Spark needs 17 or 21" in found["java"][0]["says"]
    assert what_next.startswith("install Java 17")


def test_a_torn_commit_a_cut_file_and_a_refused_gate_are_faults_with_their_own_lines(root, capsys):
    commit = root.root / "lake" / "published_embeddings" / "_delta_log" / f"{0:020d}.json"
    commit.write_bytes(commit.read_bytes()[:99])
    next((root.root / "lake" / "browsing_logs").rglob("*.parquet")).write_bytes(b"PAR1")
    line = "the gate of titles refused them"
    save_result(root.gates, gate_result("titles", "browsing_logs-1", passed=False, line=line))
    found, _, code = findings(capsys)
    assert (faults(found), code) == ({"tables", "gates"}, 1)
    said = " ".join(each["says"] for each in found["tables"])
    assert f"{commit} is damaged" in said
    assert ".parquet is damaged: it has 4 bytes" in said
    assert found["gates"][0]["says"] == line


def test_a_mistake_in_a_settings_file_is_a_fault_that_names_the_file(root, capsys):
    (root.landing / "arrival.toml").write_text("complete_when = 'never'\n")
    found, _, code = findings(capsys)
    assert (faults(found), code) == ({"settings"}, 1)
    assert "arrival.toml" in found["settings"][0]["says"]


def test_holes_and_nights_that_are_due_are_notes_with_their_commands(root, capsys):
    landed = DAY + timedelta(days=3)
    (root.landing / str(landed)).mkdir()
    write(root, "browsing_logs", [{"event_date": landed, "landing_day": landed}])
    write(root, "models", [{"model_id": "m1", "status": "champion", "path": "gone"}])
    found, what_next, code = findings(capsys)
    assert found["days"][0]["level"] == "note"
    assert found["days"][0]["to_do"].endswith("--from-day 2026-01-06 --to-day 2026-01-06")
    assert "2026-01-09 is due" in found["newest good day"][0]["says"]
    assert faults(found) == {"champion"}  # its folder is gone
    assert code == 1
    assert what_next.startswith("copy its folder again")


def test_it_knows_an_airflow_and_a_backfill_that_run(root, capsys):
    prepare_home(root)
    with sole_use(root) as lock, DayLocks(root.root / "backfill").lock(DAY, wait=False):
        lock.note(8085, [1])
        found, _, _ = findings(capsys)
        assert found["airflow"][0]["says"] == "running: http://localhost:8085"
        assert found["locks"][0]["says"] == "a backfill writes now: 2026-01-05"
    found, _, _ = findings(capsys)
    assert found["airflow"][0]["says"].startswith("not running")
    assert found["locks"][0]["level"] == "fine"


def test_an_empty_root_is_no_fault_and_gets_its_first_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(tmp_path))
    found, what_next, code = findings(capsys)
    assert (faults(found), code) == (set(), 0)
    assert what_next.startswith("userbert run")
