"""A lake's first night and a promotion embed everybody in the window, the nights who was active."""

import shutil
from datetime import datetime, timedelta

import pytest
from small_backfill import DAYS, FIRST, active, session, two_models, write_sessions
from small_lake import write

from analyst.lake_access.open_lake import open_lake
from analyst.questions.audit import audit
from analyst.questions.coverage import coverage
from contracts.errors import BadInput, GateFailed
from contracts.paths import Places
from contracts.settings.embedding import EmbeddingSettings
from contracts.tables import (
    PUBLISHED_EMBEDDINGS,
    PUBLISHED_HISTORY,
    USER_EMBEDDINGS,
    USER_SEQUENCES,
)
from spark_jobs.backfill.days import survey_days
from spark_jobs.lake.lake import Lake
from spark_jobs.registry.promotion import Registry
from spark_jobs.tables.published_embeddings import publish_day
from spark_jobs.tables.user_embeddings import update_user_embeddings
from spark_jobs.tables.user_sequences import update_user_sequences

IDLE, LATE, LEFT = 20, 21, 22  # users who never come on the days before the nights


def session_before(user, days):
    noon = datetime(FIRST.year, FIRST.month, FIRST.day) - timedelta(days=days, hours=-12)
    return session(user, noon, 100, 101)


def users_of(lake, table, day, model_id=None):
    rows = lake.read(table).where(f"as_of = '{day}'")
    rows = rows.where(f"model_id = '{model_id}'") if model_id else rows
    return sorted(int(row["user_id"][1:]) for row in rows.select("user_id").collect())


def run_night(lake, places, day, model_id, users="auto"):
    update_user_sequences(lake, places, day, users)
    update_user_embeddings(lake, places, day, model_id)
    publish_day(lake, places, day)


@pytest.fixture(scope="module")
def nights(spark, tmp_path_factory):
    """(lake, places, models) after two nights; a third day's sessions are there."""
    places = Places(tmp_path_factory.mktemp("everybody"))
    lake = Lake(spark, places.lake)
    old, new = two_models(lake, places)
    write_sessions(places)
    write(places, "sessions", [session_before(IDLE, 40), session_before(LEFT, 300)])
    for day in DAYS[:2]:
        run_night(lake, places, day, old)
    return lake, places, (old, new)


def test_the_first_night_has_everybody_in_the_window_and_the_next_who_was_active(nights):
    lake, places, (old, _) = nights
    for table in (USER_SEQUENCES, PUBLISHED_EMBEDDINGS):
        assert users_of(lake, table, DAYS[0]) == [*active(DAYS[0]), IDLE]
        assert users_of(lake, table, DAYS[1]) == active(DAYS[1])
    update_user_sequences(lake, places, DAYS[0], "active")  # again: nobody is dropped
    assert users_of(lake, USER_SEQUENCES, DAYS[0]) == [*active(DAYS[0]), IDLE]
    assert [day.finished for day in survey_days(lake, old, DAYS[:2])] == [True, True]


def test_a_user_whom_no_night_saw_is_made_up_for_and_without_that_the_gate_refuses(nights):
    lake, places, (old, _) = nights
    write(places, "sessions", [session_before(LATE, 30)])
    with pytest.raises(GateFailed, match="users_without_vector is 1"):
        run_night(lake, places, DAYS[2], old, users="active")
    run_night(lake, places, DAYS[2], old)
    assert users_of(lake, PUBLISHED_EMBEDDINGS, DAYS[2]) == [*active(DAYS[2]), LATE]


def test_a_promotion_has_everybody_as_of_the_newest_day(nights):
    lake, places, (_, new) = nights
    registry = Registry(lake, places)
    from spark_jobs.backfill.days import fill_days

    list(fill_days(lake, places, new, DAYS))
    registry.promote(new, "test", force=True)
    everybody = sorted({*active(DAYS[0]), *active(DAYS[1]), *active(DAYS[2]), IDLE, LATE})
    assert users_of(lake, PUBLISHED_EMBEDDINGS, DAYS[2]) == everybody
    before = lake.version(USER_EMBEDDINGS)
    registry.promote(new, "again", force=True)
    assert lake.version(USER_EMBEDDINGS) == before
    measured = lake.measures(PUBLISHED_EMBEDDINGS)
    assert (measured["usable_users"], measured["users_without_vector"]) == (len(everybody), 0)
    with open_lake(places) as opened:
        broken = [finding.rule for finding in audit(opened) if finding.broken]
    assert broken == []


def test_by_a_setting_who_left_the_window_leaves_the_published_table_and_not_what_was_known(
    nights, tmp_path, monkeypatch
):
    """LATE's newest view is 30 days old: a window of 29 days leaves LATE out, and IDLE too."""
    lake, there, _ = nights
    shutil.copytree(there.root, tmp_path / "left")
    places = Places(tmp_path / "left")
    copy = Lake(lake.spark, places.lake)
    settings = tmp_path / "embedding.toml"
    settings.write_text('window_days = 29\nstale_users = "leave"\n')
    monkeypatch.setenv("USERBERT_EMBEDDING", str(settings))
    before = {*users_of(copy, PUBLISHED_EMBEDDINGS, DAYS[0]), *active(DAYS[2]), LATE}
    publish_day(copy, places, DAYS[2])
    published = {int(row["user_id"][1:]) for row in copy.read(PUBLISHED_EMBEDDINGS).collect()}
    assert before - published == {IDLE, LATE}
    measured = copy.measures(PUBLISHED_EMBEDDINGS)
    assert (measured["stale_users_kept"], measured["users_without_vector"]) == (0, 0)
    entries = copy.read(PUBLISHED_HISTORY).where(f"user_id = 'u{IDLE:07}'").collect()
    assert {(row["is_gone"], row["embedding"] is None) for row in entries} == {
        (False, False),
        (True, True),
    }
    publish_day(copy, places, DAYS[0])  # a day from before: they do not come back
    again = {int(row["user_id"][1:]) for row in copy.read(PUBLISHED_EMBEDDINGS).collect()}
    assert again == published
    with open_lake(places) as opened:
        assert [finding.rule for finding in audit(opened) if finding.broken] == []
    views = [
        {"user_id": f"u{user:07}", "event_date": FIRST - timedelta(days=days), "title_id": 100}
        for user, days in ((IDLE, 40), (LATE, 30))
    ]
    write(places, "browsing_logs", views)
    with open_lake(places) as opened:
        (stale,) = [r for r in coverage(opened).reasons if r.reason.startswith("stale")]
    assert (stale.has_vector, stale.users) == (False, 2)


def test_a_mistake_in_the_settings_is_named(tmp_path):
    file = tmp_path / "embedding.toml"
    file.write_text("window_days = 0\nwindow = 3\nstale_users = 1\n")
    with pytest.raises(BadInput, match=r"setting window; window_days is 0; it must.*stale"):
        EmbeddingSettings.read(file)
