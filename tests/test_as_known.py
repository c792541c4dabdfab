"""What was known when: published_history and Feast's created timestamp, against a replay."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from contracts.paths import Places
from contracts.tables import PUBLISHED_EMBEDDINGS, PUBLISHED_HISTORY, WRITTEN_AT
from feature_store.definitions import AS_KNOWN_SERVICE
from spark_jobs.lake.lake import Lake
from spark_jobs.tables.published_embeddings import publish_day
from tests.faults.as_known_trials import (
    FIRST_DAY,
    MODEL,
    differing_points,
    make_champion,
    play_writes,
    random_points,
    random_writes,
)
from userbert.cli import main

USERS = 5
SPARK_SETTINGS = "  spark_conf:\n    spark.sql.session.timeZone: UTC\n"


@pytest.fixture(scope="module")
def played(spark, tmp_path_factory):
    """(lake, store, writes): two nights, and three backfills of random days between them."""
    from feature_store.published import Published
    from feature_store.store import Store

    places = Places(tmp_path_factory.mktemp("played"))
    lake, rng = Lake(spark, places.lake), np.random.default_rng(3)
    make_champion(lake, places)
    made = random_writes(2, 3, rng)
    play_writes(lake, places, made, USERS, rng)
    store = Store(places)
    store.apply(Published.open(places))
    return lake, store, made


def rows(lake, table):
    names = [name for name in table.names if name != "embedding"]
    return sorted(map(tuple, lake.read(table).select(names).collect()), key=str)


def test_what_was_known_at_200_times_is_what_a_replay_of_the_commits_finds(played):
    lake, store, made = played
    points = random_points(made, USERS, 200, np.random.default_rng(1))
    differing, with_vector = differing_points(store, lake, points)
    assert differing == 0
    assert 100 < with_vector < 200
    assert any(row["is_gone"] for row in lake.read(PUBLISHED_HISTORY).collect())


def test_publishing_the_same_again_changes_no_row_and_adds_nothing_to_the_history(played):
    lake, store, _ = played
    before = [rows(lake, table) for table in (PUBLISHED_EMBEDDINGS, PUBLISHED_HISTORY)]
    publish_day(lake, store.places, FIRST_DAY)  # at the time of this very moment
    assert [rows(lake, table) for table in (PUBLISHED_EMBEDDINGS, PUBLISHED_HISTORY)] == before


def test_the_command_knows_nothing_of_before_the_first_publication(
    played, monkeypatch, capsys, tmp_path
):
    _, store, made = played
    monkeypatch.setenv("USERBERT_DATA", str(store.places.root))
    last = made[-1].at
    times = "".join(f"u{n},{time}\n" for n in range(USERS) for time in (FIRST_DAY, last))
    (tmp_path / "rows.csv").write_text(f"user_id,event_timestamp\n{times}")
    out = tmp_path / "out.parquet"
    words = ["features", "history", "--file", f"{tmp_path}/rows.csv", "--out", str(out)]
    assert main([*words, "--as-known", "--model", MODEL]) == 0, capsys.readouterr().err
    found = pd.read_parquet(out)
    assert found["model_id"][::2].isna().all()
    assert set(found["model_id"][1::2].dropna()) == {MODEL}
    assert main([*words, "--model", MODEL]) == 2
    assert "--model goes with --as-known" in capsys.readouterr().err


def test_feast_itself_answers_as_known_by_its_own_flag(played):
    _, store, made = played
    rows = pd.DataFrame(
        {"user_id": ["u0", "u1"], "model_id": MODEL, "event_timestamp": [made[0].at] * 2}
    )
    service = store.feast.get_feature_service(AS_KNOWN_SERVICE)
    found = store.feast.get_historical_features(rows, service, filter_by_created_timestamp=True)
    known = store.history_as_known(rows.drop(columns="model_id"), MODEL)
    ours = found.to_df().sort_values("user_id")["sequence_hash"]
    assert list(ours.fillna(-1)) == list(known["sequence_hash"].fillna(-1))


def test_feast_over_spark_knows_the_same_as_over_duckdb(played, spark, tmp_path):
    from feature_store import store as stores
    from feature_store.published import Published

    lake, store, made = played
    places = Places(tmp_path)
    shutil.copytree(lake.root, places.lake)
    places.feature_store.mkdir()
    text = Path(stores.__file__).with_name(stores.SETTINGS_FILE).read_text()
    text = text.replace("  type: duckdb\n", f"  type: spark\n{SPARK_SETTINGS}")
    (places.feature_store / stores.SETTINGS_FILE).write_text(text)
    over_spark = stores.Store(places)
    over_spark.apply(Published.open(places))
    assert over_spark.offline == "spark"
    points = random_points(made, USERS, 60, np.random.default_rng(2))
    found = [each.history_as_known(points, MODEL)["sequence_hash"] for each in (over_spark, store)]
    spark.conf.unset("spark.sql.parser.quotedRegexColumnNames")  # Feast sets it
    assert found[0].notna().sum() > 20
    assert list(found[0].fillna(-1)) == list(found[1].fillna(-1))


def test_a_publication_that_was_killed_before_it_recorded_itself_is_recorded_by_the_next(
    played, tmp_path, spark
):
    lake, store, made = played
    places = Places(tmp_path)
    shutil.copytree(store.places.root, places.root, dirs_exist_ok=True)
    whole = rows(lake, PUBLISHED_HISTORY)
    shutil.rmtree(f"{places.lake}/{PUBLISHED_HISTORY.name}")
    copy = Lake(spark, places.lake)
    publish_day(copy, places, made[-1].day)
    recorded = rows(copy, PUBLISHED_HISTORY)
    assert set(recorded) <= set(whole)
    keys = PUBLISHED_EMBEDDINGS.key, WRITTEN_AT
    assert len(recorded) == copy.read(PUBLISHED_EMBEDDINGS).select(*keys[0], keys[1]).count()
