"""A rotated lake equals one that was written under the newer keys from the start, and forgetting
knows pseudonyms. `make test-pseudonyms` runs it; a short form is in tests/test_pseudonyms.py."""

import json
from datetime import timedelta

import pytest
from small_lake import embedding, publish
from small_pseudonyms import DAY, LINES, USERS, found_in, write_settings

from contracts.paths import Places
from contracts.settings.key_ring import write_new_key
from contracts.settings.pseudonyms import rotation_note
from contracts.tables import BROWSING_LOGS, SESSIONS, TABLES, TITLES
from erasure.pseudonyms import rotation as rotation_module
from spark_jobs.ingest.suppression_list import add_users
from spark_jobs.lake.lake import Lake
from spark_jobs.tables import browsing_logs
from userbert.cli import main

NEXT = DAY + timedelta(days=1)
JOBS = (
    ["browsing-logs", "--from-day", str(DAY), "--to-day", str(DAY)],
    ["titles"],
    ["sessions"],
    ["user-sequences", "--as-of", str(NEXT)],
)


class Killed(BaseException):
    pass


def make_lake(spark, root, keys, ring, patch):
    """A day through the jobs, vectors, an online store and a gate result that names a user."""
    places = Places(root)
    patch.setenv("USERBERT_DATA", str(root))
    write_settings(places, keys)
    (places.landing / str(DAY)).mkdir()
    (places.landing / str(DAY) / "views.jsonl").write_text("\n".join(LINES))
    for job in JOBS:
        assert main(job) == 0
    users = sorted(map(ring.pseudonym, USERS))
    vectors = [embedding(ring.pseudonym(u), NEXT, [n + 1, 2], sequence_hash=n)
               for n, u in enumerate(USERS)]  # fmt: skip
    publish(places, sorted(vectors, key=lambda row: row["user_id"]))
    sample = {"rows": [{"user_id": users[0]}, {"user_id": "0" * 32}, {"commit": "1" * 32}]}
    (places.gates / "a.json").write_text(json.dumps(sample))
    return places


def rows(spark, places):
    """All rows of all tables, sorted, without what is of the time of the run."""
    lake = Lake(spark, places.lake)
    return {
        table.name: sorted(
            map(
                str,
                lake.read(table).select([n for n in table.names if n != "written_at"]).collect(),
            )
        )
        for table in TABLES
        if lake.exists(table)
    }


@pytest.fixture(scope="module")
def rotated(spark, tmp_path_factory):
    """(the rotated lake, one that was written under the newer keys, older keys, newer keys)."""
    folder = tmp_path_factory.mktemp("rotation")
    old = write_new_key(folder / "old")
    new = write_new_key(folder / "new", old)
    with pytest.MonkeyPatch.context() as patch:
        fresh = make_lake(spark, folder / "fresh", folder / "new", new, patch)
        places = make_lake(spark, folder / "root", folder / "old", old, patch)
        add_users(places, [old.pseudonym(USERS[3])], [])
        assert main(["features", "refresh", "--as-of", str(NEXT)]) == 0
        rotate = ["pseudonyms", "rotate", "--to", str(folder / "new")]
        with pytest.MonkeyPatch.context() as kill:
            kill.setattr(rotation_module, "rotate_table", _killed_at_the_third())
            with pytest.raises(Killed):
                main(rotate)
        assert main(["titles"]) == 2  # nobody writes meanwhile
        with pytest.MonkeyPatch.context() as kill:
            kill.setattr(rotation_module, "drop_older_versions", _killed_at_the_third(True))
            with pytest.raises(Killed):
                main(rotate)
        assert main(rotate) == 0
    return places, fresh, old, new


def _killed_at_the_third(drops=False):
    name = "drop_older_versions" if drops else "rotate_table"
    whole, calls = getattr(rotation_module, name), []

    def killed(*args):
        calls.append(args)
        if len(calls) == 3:
            raise Killed
        return whole(*args)

    return killed


def test_all_tables_equal_those_of_a_lake_under_the_newer_keys(spark, rotated):
    places, fresh, *_ = rotated
    assert rows(spark, places) == rows(spark, fresh)


def test_no_byte_holds_an_older_pseudonym(rotated):
    places, _, old, new = rotated
    wanted = [old.pseudonym(user).encode() for user in USERS]
    wanted.append(old.pseudonym("intranet-of-ann.example", "host").encode())
    assert found_in(places.root, wanted) == []
    assert found_in(places.root, [new.pseudonym(USERS[0]).encode()])
    assert json.loads((places.gates / "a.json").read_text())["rows"] == [
        {"user_id": new.pseudonym(sorted(USERS, key=old.pseudonym)[0])},
        {"user_id": "(unknown)"}, {"commit": "1" * 32},
    ]  # fmt: skip


def test_the_next_jobs_go_on_and_find_nothing_to_do(spark, rotated, monkeypatch):
    places, *_ = rotated
    lake = Lake(spark, places.lake)
    for table in (TITLES, SESSIONS):
        assert lake.watermark(table, BROWSING_LOGS) == lake.version(BROWSING_LOGS)
    assert not rotation_note(places).exists()


def test_the_online_store_serves_the_newer_pseudonyms(rotated, monkeypatch, capsys):
    places, _, old, new = rotated
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    get = ["features", "get", "--pseudonyms"]
    assert main([*get, *map(new.pseudonym, USERS)]) == 0
    assert main([*get, old.pseudonym(USERS[0])]) == 4
    capsys.readouterr()


def test_the_ingest_goes_on_under_the_newer_key_file_alone(spark, rotated, monkeypatch, capsys):
    places, _, _, new = rotated
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    assert main(JOBS[0]) == 2  # the settings name the older file
    assert "name the key file that the lake was written with" in capsys.readouterr().err
    write_settings(places, places.root.parent / "new")
    browsing_logs.main(DAY, DAY, False)
    views = spark.read.format("delta").load(f"{places.lake}/browsing_logs").collect()
    # Who was forgotten under the older key, the fourth, stays away.
    named = (*USERS[:3], "forgotten-0005")
    assert {view["user_id"] for view in views} == set(map(new.pseudonym, named))
    assert main(["pseudonyms", "rotate", "--to", str(places.root.parent / "new")]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert main(["pseudonyms", "rotate", "--to", str(places.root.parent / "old")]) == 2
    assert "does not begin with the keys of the lake" in capsys.readouterr().err


def test_who_is_forgotten_by_a_raw_id_is_in_no_file_and_stays_away(
    spark, rotated, monkeypatch, capsys
):
    _, places, _, ring = rotated
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    assert main(["forget", USERS[0], "--yes"]) == 0, capsys.readouterr()
    printed = "".join(capsys.readouterr())
    assert USERS[0] not in printed
    assert "; 0 name a user" in printed
    wanted = [USERS[0].encode(), ring.pseudonym(USERS[0]).encode()]
    assert found_in(places.root, wanted, but=[places.landing]) == []
    landed = (places.landing / str(DAY) / "views.jsonl").read_text().split("\n")
    assert [n for n, text in enumerate(landed, 1) if USERS[0] in text] == [10]  # of another id
    assert main(["forget", ring.pseudonym(USERS[1]), "--pseudonyms", "--yes"]) == 0
    left = (places.landing / str(DAY) / "views.jsonl").read_text()
    assert USERS[1] not in left
    browsing_logs.main(DAY, DAY, False)
    views = spark.read.format("delta").load(f"{places.lake}/browsing_logs").collect()
    named = (*USERS[2:], "forgotten-0005")
    assert {v["user_id"] for v in views} == set(map(ring.pseudonym, named))
