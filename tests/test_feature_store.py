"""Feast over a real Delta table: written by delta-rs here, by Spark in the end-to-end test."""

import json
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from deltalake import write_deltalake
from small_features import FORECASTS_OF, midnight, publish, row

sys.path.insert(0, str(Path(__file__).parents[1]))
from contracts.errors import BadInput, GateFailed, MissingTable
from contracts.forecasts import FORECAST_NAMES
from tests.faults.consistency_trials import count_fetches, find_planted_faults, plant_faults
from userbert.cli import main

ZERO = date(2017, 6, 25)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """One store for the module: Feast takes five seconds to import."""
    from contracts.paths import Places
    from feature_store.store import Store

    return Store(Places(tmp_path_factory.mktemp("features")))


@pytest.fixture(scope="module")
def store(opened):
    """Three days of model m1, applied and materialized."""
    published = publish(opened, "m1", {26: ["u1", "u2"], 27: ["u1"], 28: ["u3"]})
    opened.apply(published)
    opened.materialize(published, date(2017, 6, 28))
    return opened


def vectors(found):
    return [np.asarray(v, np.float32) for v in found["embedding"]]


def test_the_online_store_holds_each_users_newest_vector(store):
    found = store.get(["u1", "u2", "u3", "u9"])
    assert list(found["sequence_hash"])[:3] == [
        row("m1", date(2017, 6, 27), "u1")[-1],
        row("m1", date(2017, 6, 26), "u2")[-1],
        row("m1", date(2017, 6, 28), "u3")[-1],
    ]
    assert np.array_equal(vectors(found[:1])[0], np.float32(row("m1", date(2017, 6, 27), "u1")[4]))
    assert found["model_id"].isna().tolist() == [False, False, False, True]
    assert found["no_view_7_days"].isna().all()  # m1 makes no forecasts


def test_a_point_in_time_join_gives_the_newest_vector_of_then_for_1000_times(store):
    """Hours by a fixed rule over five days around the table's three, exact midnights among them."""
    hours = [(i * 7919) % 120 for i in range(1000)]
    times = [midnight(ZERO) + timedelta(hours=h) for h in hours]
    users = [f"u{1 + i % 4}" for i in range(1000)]
    rows = pd.DataFrame({"user_id": users, "event_timestamp": times, "place": range(1000)})
    found = store.history(rows).sort_values("place")
    table = {"u1": [26, 27], "u2": [26], "u3": [28], "u4": []}
    for user, time, hash_ in zip(users, times, found["sequence_hash"], strict=True):
        known = [d for d in table[user] if midnight(date(2017, 6, d)) <= time]
        if known:
            assert hash_ == row("m1", date(2017, 6, max(known)), user)[-1]
        else:
            assert pd.isna(hash_)


def test_the_check_passes_and_says_how_fresh_it_is(store):
    from feature_store.online_check import check_online
    from feature_store.published import Published

    line = check_online(store, Published.open(store.places), date(2017, 6, 28))
    assert line == (
        "online: 3 users, newest as of 2017-06-28, m1; 0 mismatch, 0 missing, 0 extra; "
        "3 fetched and compared whole"
    )


def test_each_fault_that_is_planted_online_is_counted_and_named(store, monkeypatch, capsys):
    from feature_store.published import Published

    published = Published.open(store.places)
    said = find_planted_faults(store, published)
    assert {name: line.split("; ")[0] for name, line in said.items()} == {
        "a row changed": "1 mismatch (u1: embedding), 0 missing, 0 extra",
        "a row missing": "0 mismatch, 1 missing (u2: as of 2017-06-26 in the table), 0 extra",
        "a row extra": "0 mismatch, 0 missing, 1 extra (nobody in the table: as of 2017-06-27 "
        "online)",
        "a row a day old": "1 mismatch (u3: as of 2017-06-27 online, 2017-06-28 in the table), 0 "
        "missing, 0 extra",
    }
    monkeypatch.setenv("USERBERT_DATA", str(store.places.root))
    fault = next(plant_faults(store, published, ["u1", "u2", "u3"]))
    assert main(["features", "check", "--fetches", "0"]) == 0  # the days are right
    capsys.readouterr()
    assert main(["features", "check"]) == 3
    assert "1 mismatch (u1: embedding)" in capsys.readouterr().err
    assert main(["features", "materialize", "--as-of", "2017-06-26"]) == 0  # as the line says
    assert main(["features", "check"]) == 0
    assert fault.count == "mismatch"
    counts = count_fetches(store, published, ["u1", "u9", "u3"])
    assert counts == {"fetches": 3, "with_a_vector": 2, "mismatch": 0, "missing": 0, "extra": 0}


def test_a_day_that_is_not_materialized_makes_the_check_fail_with_what_mends_it(store):
    from feature_store.online_check import check_online

    days = {26: ["u1", "u2"], 27: ["u1"], 28: ["u3"], 29: ["u1"]}
    published = publish(store, "m1", days)
    with pytest.raises(GateFailed, match=r"1 mismatch \(u1: as of 2017-06-27 online.*mend"):
        check_online(store, published, date(2017, 6, 29))
    for _ in range(2):  # again is the same
        assert store.materialize(published, date(2017, 6, 29)) == 3
        check_online(store, published, date(2017, 6, 29))


def test_days_that_were_filled_in_behind_are_served_too(store):
    from feature_store.online_check import check_online

    days = {25: ["u4"], 26: ["u1", "u2"], 27: ["u1"], 28: ["u3"], 29: ["u1"]}
    published = publish(store, "m1", days)
    with pytest.raises(GateFailed, match=r"0 mismatch, 1 missing \(u4: as of 2017-06-25"):
        check_online(store, published, date(2017, 6, 29))
    assert store.materialize(published, date(2017, 6, 29)) == 4
    check_online(store, published, date(2017, 6, 29))


def test_an_old_day_again_puts_no_old_vector_over_a_new_one(store):
    from feature_store.online_check import check_online
    from feature_store.published import Published

    published = Published.open(store.places)
    store.materialize(published, date(2017, 6, 26))
    check_online(store, published, date(2017, 6, 29))


def test_a_user_who_is_gone_from_the_table_is_gone_online_to_the_last_byte(store):
    from feature_store.online_check import check_online

    published = publish(store, "m1", {26: ["u1"], 28: ["u3"], 29: ["u1"]})
    gone, file = store.online.key("u2"), store.online.path
    assert gone in file.read_bytes()
    store.materialize(published, date(2017, 6, 29))
    assert gone not in file.read_bytes()
    check_online(store, published, date(2017, 6, 29))


def test_a_day_that_is_not_published_is_refused(store):
    from feature_store.published import Published

    with pytest.raises(MissingTable, match="nothing is published as of 2017-06-30"):
        store.materialize(Published.open(store.places), date(2017, 6, 30))


def test_a_new_champion_is_served_whole_or_not_at_all(store):
    from feature_store.online_check import check_online

    published = publish(store, "m-2", {28: ["u1", "u3"]})
    store.apply(published)
    assert store.serving() == "m1"  # nothing of m-2 is online yet
    assert set(store.get(["u1", "u3"])["model_id"]) == {"m1"}
    with pytest.raises(GateFailed, match="it serves m1, published is m-2"):
        check_online(store, published, date(2017, 6, 28))
    store.materialize(published, date(2017, 6, 28))
    assert set(store.get(["u1", "u3"])["model_id"]) == {"m-2"}
    check_online(store, published, date(2017, 6, 28))
    assert [v.name for v in store.feast.list_feature_views()] == ["user_embeddings_m_2"]


def test_training_that_pinned_the_old_model_gets_an_error_not_the_new_space(store):
    rows = pd.DataFrame({"user_id": ["u1"], "event_timestamp": [midnight(date(2017, 6, 29))]})
    assert store.history(rows, "user_embeddings_m_2")["model_id"].tolist() == ["m-2"]
    with pytest.raises(MissingTable, match="no service user_embeddings_m1"):
        store.history(rows, "user_embeddings_m1")
    with pytest.raises(MissingTable, match="no service user_embeddings_space_m1"):
        store.get(["u1"], "user_embeddings_space_m1")
    assert store.get(["u1"], "user_embeddings_space_m_2")["space_id"].tolist() == ["space-m-2"]


def test_history_refuses_when_the_table_has_moved_on(store):
    publish(store, "m3", {28: ["u1"]})
    rows = pd.DataFrame({"user_id": ["u1"], "event_timestamp": [midnight(date(2017, 6, 29))]})
    with pytest.raises(ValueError, match="user_embeddings is of m-2 and the table now holds m3"):
        store.history(rows)


def test_the_commands_do_it_all(store, monkeypatch, capsys, tmp_path):
    def run(*words):
        assert main(["features", *words]) == 0
        return capsys.readouterr().out

    monkeypatch.setenv("USERBERT_DATA", str(store.places.root))
    publish(store, "m3", {28: ["u1"], 29: ["u2"]})
    assert "registered user_embeddings_m3" in run("apply")
    assert "online: 2 users of m3" in run("materialize", "--as-of", "2017-06-29")
    assert "online: 2 users" in run("check", "--as-of", "2017-06-29")
    assert "history (duckdb): 50 of 50 points equal" in run("check", "--points", "50")
    online = json.loads(run("get", "u2", "--service", "user_embeddings_space_m_2"))
    assert online["space_id"] == "space-m-2"  # m3 was aligned with m-2: the space goes on
    assert online["model_id"] == "m3"
    assert tuple(online[name] for name in FORECAST_NAMES) == FORECASTS_OF["m3"]
    (tmp_path / "rows.csv").write_text("user_id,event_timestamp\nu1,2017-06-28 12:00:00\n")
    line = run("history", "--file", f"{tmp_path}/rows.csv", "--out", f"{tmp_path}/out.parquet")
    assert "1 rows, 0 without a vector" in line
    past = pd.read_parquet(tmp_path / "out.parquet")
    assert past["views_28_days"].tolist() == [12]


def test_a_table_of_older_code_is_named_with_what_mends_it(store, tmp_path):
    """It lacks the columns that the contract has gained, and no job has opened it since."""
    from contracts.paths import Places
    from feature_store.published import Published, table_path

    older = publish(store, "m3", {28: ["u1"]}).connection.execute("SELECT * FROM published").arrow()
    places = Places(tmp_path)
    write_deltalake(table_path(places), older.read_all().drop_columns(["no_view_7_days"]))
    with pytest.raises(BadInput, match=r"lacks no_view_7_days, since older code.*published-embedd"):
        Published.open(places)
