"""A lake's first night and a promotion embed everybody in the window, the nights who was active."""

from datetime import datetime, timedelta

import pytest
from small_backfill import DAYS, FIRST, active, session, two_models, write_sessions
from small_lake import write

from analyst.lake_access.open_lake import open_lake
from analyst.questions.audit import audit
from contracts.errors import BadInput, GateFailed
from contracts.paths import Places
from contracts.settings.embedding import EmbeddingSettings
from contracts.tables import PUBLISHED_EMBEDDINGS, USER_EMBEDDINGS, USER_SEQUENCES
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


def test_a_mistake_in_the_settings_is_named(tmp_path):
    file = tmp_path / "embedding.toml"
    file.write_text("window_days = 0\nwindow = 3\n")
    with pytest.raises(BadInput, match="there is no setting window; window_days is 0; it must"):
        EmbeddingSettings.read(file)
