"""Models that were trained on users who have been forgotten since are marked, and then stopped."""

import json
from datetime import UTC, date, datetime, timedelta

import pytest
from small_lake import write

from analyst import open_lake
from contracts.errors import BadInput, GateFailed
from contracts.settings.embedding import EmbeddingSettings
from erasure.known_users import models_that_saw
from model.storage.training_record import recorded_seconds
from spark_jobs.ingest.suppression_list import add_users, forgotten_users
from spark_jobs.registry.promotion import Registry
from spark_jobs.tables.forgotten_users import (
    SeenUsers,
    must_not_be_overdue,
    seen_by_models,
    why_overdue,
)
from spark_jobs.tables.published_embeddings import publish_day
from userbert.cli import main

TODAY = datetime.now(UTC).date()
ALIGNED = "old-aligned-0123abcd"
WARM = json.dumps({"warm_start": f"{ALIGNED} sha256:ff"})
SETTINGS = {"old": "{}", ALIGNED: "{}", "warm": WARM, "new": json.dumps({"warm_start": ""})}


def test_a_model_inherits_what_the_model_saw_that_it_began_from(places):
    assert seen_by_models(places, SETTINGS) == {}
    add_users(places, ["ann", "bob"], ["old"])
    add_users(places, ["ann"], ["old"])  # again is no other user
    add_users(places, ["cat"], ["warm"])
    seen = seen_by_models(places, SETTINGS)
    assert seen == {
        "old": SeenUsers(2, TODAY),
        ALIGNED: SeenUsers(2, TODAY),
        "warm": SeenUsers(3, TODAY),
    }
    assert str(seen["old"]) == f"2 since {TODAY}"
    assert not any("ann" in repr(each) for each in forgotten_users(places))


def test_a_line_of_an_earlier_day_counts_from_that_day(places):
    add_users(places, ["ann"], ["old"])
    path = places.root / "forgotten" / "users.jsonl"
    path.write_text(path.read_text().replace(str(TODAY), "2026-01-01") + path.read_text() + '{"us')
    assert seen_by_models(places, SETTINGS)["old"] == SeenUsers(1, date(2026, 1, 1))


@pytest.mark.parametrize(
    ("limit", "days", "is_overdue"), [(0, 999, False), (30, 30, False), (30, 31, True)]
)
def test_a_limit_counts_days_and_none_stops_nothing(limit, days, is_overdue):
    seen = SeenUsers(3, date(2026, 1, 1))
    reason = why_overdue(seen, limit, date(2026, 1, 1) + timedelta(days=days))
    assert bool(reason) == is_overdue
    assert not reason or "3 users who were forgotten, the first 31 days ago" in reason
    assert why_overdue(None, limit) == ""


def test_a_training_took_as_long_as_its_curves_say(tmp_path):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    assert recorded_seconds(tmp_path) is None
    for nth, times in enumerate([(100.0, 130.0, 160.0), (500.0, 530.0)]):  # it was resumed
        writer = EventFileWriter(str(tmp_path / "tensorboard"), filename_suffix=str(nth))
        for time in times:
            writer.add_event(Event(wall_time=time))
        writer.close()
    # Each file begins with an entry of its own, of now.
    assert recorded_seconds(tmp_path) > 0


def register(places, *models):
    write(places, "models", [
        {"model_id": model_id, "status": status, "settings": "{}", "inputs": "{}",
         "measures": "{}", "status_reason": "fit: ", "trained_before": date(2026, 1, 1)}
        for model_id, status in models
    ])  # fmt: skip


@pytest.fixture
def served(places, monkeypatch):
    """A champion that saw ann, who was forgotten 40 days ago, and a candidate that did not."""
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    register(places, ("old", "champion"), ("new", "candidate"))
    add_users(places, ["ann"], ["old"])
    path = places.root / "forgotten" / "users.jsonl"
    path.write_text(path.read_text().replace(str(TODAY), str(TODAY - timedelta(days=40))))
    return places


def set_limit(places, monkeypatch, days):
    path = places.root / "embedding.toml"
    path.write_text(f"retrain_within_days = {days}\n")
    monkeypatch.setenv("USERBERT_EMBEDDING", str(path))


def test_the_list_and_the_card_say_so(served, capsys):
    assert main(["models", "list"]) == 0
    text = capsys.readouterr().out
    assert "saw forgotten users" in text
    assert f"1 since {TODAY - timedelta(days=40)}" in text
    assert main(["models", "show", "old"]) == 0
    assert "trained on 1 users who were forgotten since" in capsys.readouterr().out
    assert main(["models", "show", "new"]) == 0
    assert "forgotten" not in capsys.readouterr().out


def test_nobody_forgotten_leaves_the_list_as_it_was(places, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    register(places, ("old", "champion"))
    assert main(["models", "list"]) == 0
    assert "forgotten" not in capsys.readouterr().out


@pytest.mark.parametrize(("limit", "level"), [(0, "note"), (60, "note"), (30, "fault")])
def test_doctor_notes_it_and_then_finds_fault(served, monkeypatch, capsys, limit, level):
    set_limit(served, monkeypatch, limit)
    main(["doctor", "--json"])
    findings = json.loads(capsys.readouterr().out)["findings"]
    said = [each for each in findings if "forgotten" in each["says"]]
    assert [each["level"] for each in said] == [level]
    assert said[0]["to_do"].startswith("userbert pretrain")


def test_a_model_over_the_limit_is_neither_promoted_nor_published(served, lake, monkeypatch):
    set_limit(served, monkeypatch, 30)
    settings = {"old": "{}", "new": "{}"}
    must_not_be_overdue(served, "new", lambda: settings)
    refusals = (
        lambda: must_not_be_overdue(served, "old", lambda: settings),
        lambda: Registry(lake, served).promote("old", "why not", force=True),
        lambda: publish_day(lake, served, date(2026, 1, 2)),
    )
    for refused in refusals:
        with pytest.raises(GateFailed, match="old was trained on 1 users who were forgotten"):
            refused()
    set_limit(served, monkeypatch, 40)
    must_not_be_overdue(served, "old", lambda: settings)


def test_a_limit_is_a_number_of_days(places, monkeypatch):
    set_limit(places, monkeypatch, -1)
    with pytest.raises(BadInput, match="retrain_within_days is -1; it must be a whole number"):
        EmbeddingSettings.from_environment()


def test_folders_that_are_not_registered_are_looked_at_too(places):
    seen = {"session_date": date(2026, 1, 1), "user_id": "ann"}
    write(places, "sessions", [seen])
    for folder, name, day in (
        ("later", "later", "2026-02-01"),
        ("begun.training/step-000000500", "begun", "2026-02-01"),
        ("before", "before", "2025-12-01"),
    ):
        (places.models / folder).mkdir(parents=True)
        facts = {"model_id": name, "trained_before": day}
        (places.models / folder / "manifest.json").write_text(json.dumps(facts))
    with open_lake(places) as lake:
        assert sorted(models_that_saw(lake, ["ann"])) == ["begun", "later"]
        assert models_that_saw(lake, ["bob"]) == []
