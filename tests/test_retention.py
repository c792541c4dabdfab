"""What the retention settings no longer keep goes, and nothing that is needed."""

import os
import time
from datetime import UTC, date, datetime, timedelta

import pytest

from contracts.errors import BadInput
from contracts.settings.retention import RetentionSettings
from contracts.tables import BROWSING_LOGS, REJECTED_LOGS
from spark_jobs.lake.expired_files import expired_files
from spark_jobs.lake.expired_rows import expired_rows
from spark_jobs.lake.maintenance import main
from spark_jobs.lake.table_properties import retention_days

TODAY = datetime.now(UTC).date()
OLD, RECENT = TODAY - timedelta(days=400), TODAY - timedelta(days=1)
NOT_INGESTED = TODAY - timedelta(days=300)


def file(path, age_days=0.0, content="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    at = time.time() - age_days * 86_400
    os.utime(path, (at, at))
    return path


def read(tmp_path, text, window_days=182):
    return RetentionSettings.read(file(tmp_path / "retention.toml", content=text), window_days)


def test_settings_that_would_take_what_is_needed_are_refused(tmp_path):
    for text, words in (
        ("landing = 1", "there is no setting landing"),
        ("landing_days = -1", "it must be a whole number of days, or 0 for ever"),
        ("reports_days = true", "it must be a whole number of days"),
        ("landing_days = 30\nviews_days = 100", "the window and trainings read 182 days"),
        ("refused_days = 30", "landing files must go first"),
        ("landing_days = 60\nrefused_days = 30", "landing files must go first"),
        ("older_versions_days = 0", "older_versions_days is 0"),
    ):
        with pytest.raises(BadInput, match=words):
            read(tmp_path, text)
    assert read(tmp_path, "") == RetentionSettings()
    assert read(tmp_path, "landing_days = 30\nviews_days = 200").views_days == 200
    with pytest.raises(BadInput, match="read 365 days"):
        read(tmp_path, "landing_days = 30\nviews_days = 200", window_days=365)
    assert RetentionSettings.from_environment() == RetentionSettings()  # conf/retention.toml


def test_files_go_by_their_kind_and_what_a_reader_needs_stays(places):
    old_log = file(places.event_logs / "eventlog_v2_a" / "events_1", 50)
    running = file(places.event_logs / "eventlog_v2_b" / "events_1", 50)
    file(places.event_logs / "eventlog_v2_b" / "events_2", 1)
    task_log = file(places.airflow / "logs" / "dag_id=a" / "attempt=1.log", 50)
    results = [file(places.gates / "results" / "titles" / f"{n}.json", 60 - n) for n in range(3)]
    days = file(places.gates / "days" / "a.json", 500)
    page = file(places.reports / "nights" / "a.html", 50)
    index = file(places.reports / "index.html", 50)
    settings = RetentionSettings(
        event_logs_days=40, task_logs_days=40, gate_results_days=40, reports_days=40
    )
    found = {each.what: each for each in expired_files(places, settings, (), TODAY)}
    assert {what: set(each.paths) for what, each in found.items()} == {
        "Spark's event logs": {old_log.parent},
        "Airflow's task logs": {task_log},
        "gate results": set(results[:2]),  # the newest shows how the gate stands
        "reports": {page},
    }
    assert str(found["gate results"]) == "gate results: 2 files, 0.0 MiB go (older than 40 days)"
    for each in found.values():
        each.remove()
        each.remove()  # a second call finds nothing, and fails at nothing
    assert [path.exists() for path in (old_log.parent, running, results[2], days, index)] == [
        False, True, True, True, True,
    ]  # fmt: skip
    assert list(expired_files(places, settings, (), TODAY)) == []


def views(lake, *rows):
    """(user, day of the view, its landing day) as one commit."""
    lake.create(BROWSING_LOGS)
    whole = [
        (day, n, user, datetime(day.year, day.month, day.day, 12, tzinfo=UTC), n, "t", None, landed)
        for n, (user, day, landed) in enumerate(rows)
    ]
    frame = lake.spark.createDataFrame(whole, BROWSING_LOGS.ddl).coalesce(1)
    frame.write.format("delta").mode("append").save(lake.path(BROWSING_LOGS))


def refused(lake, *days):
    lake.create(REJECTED_LOGS)
    rows = [(day, "f", 1, "{", ["broken"]) for day in days]
    frame = lake.spark.createDataFrame(rows, REJECTED_LOGS.ddl).coalesce(1)
    frame.write.format("delta").mode("append").save(lake.path(REJECTED_LOGS))


def test_maintenance_removes_old_days_lists_each_and_keeps_what_is_needed(
    lake, places, monkeypatch, capsys, tmp_path
):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    path = file(
        tmp_path / "keep.toml",
        content="landing_days = 30\nrefused_days = 60\nviews_days = 200\nolder_versions_days = 7\n",
    )
    monkeypatch.setenv("USERBERT_RETENTION", str(path))
    for day in (OLD, NOT_INGESTED, RECENT):
        file(places.landing / str(day) / "views.jsonl")
    edge = RECENT - timedelta(days=200)  # the last day that the settings keep
    late = OLD + timedelta(days=1)  # whose line landed on a day that stays
    views(lake, ("a", OLD, OLD), ("a", late, RECENT), ("b", edge, edge), ("b", RECENT, RECENT))
    refused(lake, OLD, RECENT)
    before = lake.version(BROWSING_LOGS)
    main(table=None, dry_run=True)
    dry = capsys.readouterr().out
    listed = [line for line in dry.splitlines() if " go (" in line]
    assert listed == [
        f"landing day {OLD}: 1 files, 0.0 MiB go (ingested, and older than 30 days)",
        f"rejected_logs: 1 rows of 1 days, {OLD} to {OLD}, go (older than 60 days)",
        f"browsing_logs: 1 rows of 1 days, {OLD} to {OLD}, go (more than 200 days before the "
        "newest view)",
    ]
    assert lake.version(BROWSING_LOGS) == before
    assert (places.landing / str(OLD)).exists()
    main(table=None, dry_run=False)
    done = capsys.readouterr().out
    assert [line for line in done.splitlines() if " go (" in line] == listed
    assert "expired groups removed: 3" in done
    assert sorted(each.name for each in places.landing.iterdir()) == [
        str(NOT_INGESTED),
        str(RECENT),
    ]
    kept = {row["event_date"] for row in lake.read(BROWSING_LOGS).collect()}
    assert kept == {late, edge, RECENT}
    assert [row["landing_day"] for row in lake.read(REJECTED_LOGS).collect()] == [RECENT]
    assert retention_days(lake.log(BROWSING_LOGS).metadata().properties) == 7


def test_nothing_goes_where_nothing_is_set(places):
    file(places.landing / "2017-01-01" / "views.jsonl", 5_000)
    file(places.event_logs / "eventlog_v2_a" / "events_1", 5_000)
    as_they_are, ingested = RetentionSettings(), {date(2017, 1, 1)}
    assert list(expired_files(places, as_they_are, ingested, TODAY)) == []
    assert list(expired_rows(None, as_they_are, bool, TODAY)) == []  # no table is opened
