"""Rows that a person hands to `userbert features history`, and files of Feast that are damaged."""

import json
import os
import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest
from small_features import publish, row

from contracts.errors import BadInput
from feature_store.history_file import iso_time, read_points
from userbert.cli import main

MIDNIGHT = datetime(2026, 1, 11, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-01-11", MIDNIGHT),
        ("2026-01-11 00:00", MIDNIGHT),
        ("2026-01-11T00:00Z", MIDNIGHT),
        ("2026-01-11T00:00:00.000000000Z", MIDNIGHT),
        (" 2026-01-11t01:00:00+01:00 ", MIDNIGHT),
        ("2026-01-10T19:00:00,0 -0500", MIDNIGHT),
        ("2026-01-11T05:30+05:30", MIDNIGHT),
        ("2026-01-10 23:59:59.9999999", datetime(2026, 1, 10, 23, 59, 59, 999999, tzinfo=UTC)),
        ("2026-01-10 23:59:59.9", datetime(2026, 1, 10, 23, 59, 59, 900000, tzinfo=UTC)),
    ],
)
def test_iso_times_of_any_precision_are_read_with_and_without_a_zone(text, time):
    assert iso_time(text) == time


NO_ISO_TIMES = (
    *("yesterday", "05/02/2026", "1768089600", "1768089600000", "20260111", "2026-W02-1", ""),
    *("2026-02-30", "2026-01-11T24:30", "0001-01-01", "9999-12-31", "NaT", "now", "2026-1-1"),
)


@pytest.mark.parametrize("text", NO_ISO_TIMES)
def test_anything_else_is_one_line_with_the_number_of_the_line(tmp_path, text):
    path = tmp_path / "rows.csv"
    path.write_text(f"user_id,event_timestamp\nu1,2026-01-11\nu1,{text}\n")
    with pytest.raises(BadInput, match="line 3: event_timestamp is") as raised:
        read_points(path)
    assert "\n" not in str(raised.value)


def test_every_other_column_is_text_as_it_was_given(tmp_path):
    path = tmp_path / "rows.csv"
    ids = ["007", "7", "NULL", "NA", "nan", "None", "1e5", "True", "ü"]
    lines = [f"{user},2026-01-11,{user}" for user in ids]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(["user_id,event_timestamp,x", *lines]).encode())
    rows = read_points(path)
    assert rows["user_id"].tolist() == ids
    assert rows["x"].tolist() == ids


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("user,event_timestamp\nu1,2026-01-11\n", "has no column user_id"),
        ("user_id,event_timestamp,x,x\nu1,2026-01-11,1,2\n", "names a column twice: x"),
        ("user_id,event_timestamp\n  ,2026-01-11\n", "line 2: user_id is blank"),
        ("user_id,event_timestamp\nu1\n", "line 2: 1 values"),
        ("", "is empty"),
    ],
)
def test_a_file_that_is_no_table_of_points_is_one_line(tmp_path, content, message):
    path = tmp_path / "rows.csv"
    path.write_text(content)
    with pytest.raises(BadInput, match=message):
        read_points(path)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A root whose champion's vectors are online."""
    from contracts.paths import Places
    from feature_store.store import Store

    store = Store(Places(tmp_path_factory.mktemp("served")))
    published = publish(store, "m1", {26: ["u1", "NA", "007"], 27: ["u1"]})
    store.apply(published)
    store.materialize(published, date(2017, 6, 27))
    return store.places


@pytest.fixture
def places(served, tmp_path):
    from contracts.paths import Places

    shutil.copytree(served.root, tmp_path / "root")
    return Places(tmp_path / "root")


@pytest.fixture
def run(places, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))

    def run(*words):
        code = main(["features", *words])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_unknown_users_are_named_with_exit_code_4_and_the_others_are_printed(run):
    code, out, err = run("get", "u1", "nobody", "NA", "else")
    assert code == 4
    assert [json.loads(line)["user_id"] for line in out.splitlines()] == ["u1", "NA"]
    assert "no vector of nobody, else online" in err
    assert err.count("\n") == 1


def test_ids_that_look_like_nulls_or_numbers_have_their_own_vectors(run, tmp_path):
    points = ("NA", "007", "7", "u1", "u1", "NA")
    lines = "".join(f"{user},2017-06-27T12:00Z,{n}\n" for n, user in enumerate(points))
    (tmp_path / "rows.csv").write_text(f"user_id,event_timestamp,label\n{lines}")
    out = tmp_path / "out.parquet"
    code, printed, _ = run("history", "--file", f"{tmp_path}/rows.csv", "--out", str(out))
    assert code == 0
    assert "6 rows, 1 without a vector" in printed
    found = pd.read_parquet(out)
    assert found["user_id"].tolist() == list(points)
    assert found["label"].tolist() == list("012345")
    assert found["sequence_hash"].fillna(0).tolist() == [
        row("m1", date(2017, 6, 26), "NA")[-1],
        row("m1", date(2017, 6, 26), "007")[-1],
        0,
        *(2 * [row("m1", date(2017, 6, 27), "u1")[-1]]),
        row("m1", date(2017, 6, 26), "NA")[-1],
    ]


def test_columns_that_are_called_as_features_are_are_named(run, tmp_path):
    (tmp_path / "rows.csv").write_text(
        "user_id,event_timestamp,Norm,num_views\nu1,2017-06-27,1,2\n"
    )
    code, _, err = run("history", "--file", f"{tmp_path}/rows.csv", "--out", f"{tmp_path}/o")
    assert code == 2
    assert "called as features are: Norm, num_views" in err
    code, _, err = run("history", "--file", f"{tmp_path}/rows.csv", "--out", f"{tmp_path}/no/o")
    assert code == 2
    assert "there is no folder" in err


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scramble(path):
    whole = path.read_bytes()
    path.write_bytes(b"\xff" * 4096 + whole[4096:])


ONLINE_DAMAGES = {
    "gone": Path.unlink,
    "of 0 bytes": lambda path: path.write_bytes(b""),
    "cut off": halve,
    "overwritten": scramble,
}


@pytest.mark.parametrize("damage", ONLINE_DAMAGES)
def test_a_damaged_online_file_is_named_and_refresh_makes_it_anew(run, places, damage):
    path = places.feature_store / "online.db"
    ONLINE_DAMAGES[damage](path)
    for words in (["get", "u1"], ["check"]):
        code, _, err = run(*words)
        assert code == 2, words
        assert f"{path} is damaged" in err
        assert "`userbert features refresh --as-of DAY` makes it anew" in err
        assert err.count("\n") == 1
    code, out, _ = run("refresh", "--as-of", "2017-06-27")
    assert code == 0
    assert "online: 3 users, newest as of 2017-06-27" in out
    assert run("get", "u1", "NA", "007")[0] == 0


@pytest.mark.parametrize("damage", [halve, scramble, lambda path: path.write_bytes(b"")])
def test_a_damaged_registry_is_named_and_refresh_makes_it_anew(run, places, damage):
    path = places.feature_store / "registry.db"
    damage(path)
    for words in (["get", "u1"], ["check"]):
        code, _, err = run(*words)
        assert code == 2, words
        assert f"{path} is damaged" in err
        assert err.count("\n") == 1
    code, out, _ = run("refresh", "--as-of", "2017-06-27")
    assert code == 0
    assert f"{path} was damaged: it is kept as registry.db.damaged" in out
    assert run("get", "u1", "NA", "007")[0] == 0


@pytest.mark.parametrize("name", ["online.db", "registry.db"])
def test_a_bit_that_the_disk_has_flipped_is_named_and_refresh_makes_the_file_anew(
    run, places, name
):
    assert run("refresh", "--as-of", "2017-06-27")[0] == 0
    path = places.feature_store / name
    whole, times = path.read_bytes(), path.stat()
    place = whole.index(b"days_until_next_view")
    path.write_bytes(whole[:place] + b"e" + whole[place + 1 :])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    for words in (["get", "u1"], ["check"]):
        code, _, err = run(*words)
        assert code == 2, words
        assert f"{path} is damaged: nobody has written to it since userbert did" in err
        assert err.count("\n") == 1
    code, out, _ = run("refresh", "--as-of", "2017-06-27")
    assert code == 0
    assert f"{path} was damaged" in out
    assert run("get", "u1", "NA", "007")[0] == 0


def test_a_table_that_is_damaged_is_not_served(run, places):
    table = Path(places.lake) / "published_embeddings"
    (data,) = table.glob("as_of=2017-06-26/*.parquet")
    newest = max((table / "_delta_log").glob("*.json"))
    for path, damage in ((newest, lambda path: path.write_bytes(b"")), (newest, halve),
                         (data, halve), (data, Path.unlink)):  # fmt: skip
        whole = path.read_bytes()
        damage(path)
        for words in (["refresh", "--as-of", "2017-06-27"], ["check"]):
            code, _, err = run(*words)
            assert code == 2, words
            assert f"{path} is damaged" in err
            assert err.count("\n") == 1
        path.write_bytes(whole)
    assert run("check")[0] == 0


def test_a_flipped_bit_is_not_refreshed_into_the_online_store(run, places):
    """Spark writes a checksum into each page, and so does this test; delta-rs does not."""
    import pyarrow.parquet as pq

    table = Path(places.lake) / "published_embeddings"
    (path,) = table.glob("as_of=2017-06-27/*.parquet")
    pq.write_table(pq.read_table(path, partitioning=None), path, write_page_checksum=True)
    assert run("refresh", "--as-of", "2017-06-27")[0] == 0
    whole = path.read_bytes()
    group = pq.read_metadata(path).row_group(0)
    (column,) = [
        group.column(n)
        for n in range(group.num_columns)
        if group.column(n).path_in_schema.startswith("embedding")
    ]
    place = column.data_page_offset + column.total_compressed_size // 2
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    code, _, err = run("refresh", "--as-of", "2017-06-27")
    assert code == 2
    assert f"{path} is damaged: a page of it is wrong" in err


def test_a_root_that_was_copied_reads_its_own_table(run, places, served, tmp_path):
    shutil.rmtree(Path(places.lake) / "published_embeddings" / "as_of=2017-06-27")
    (tmp_path / "rows.csv").write_text("user_id,event_timestamp\nu1,2017-06-27\n")
    words = ("history", "--file", f"{tmp_path}/rows.csv", "--out", f"{tmp_path}/out.parquet")
    code, _, err = run(*words)
    assert code == 2
    assert f"{places.lake}/published_embeddings/as_of=2017-06-27" in err
    assert str(served.root) not in err
    shutil.copytree(served.root / "lake", places.lake, dirs_exist_ok=True)
    assert run(*words)[0] == 0
