"""Pseudonyms by a keyed hash: what stands in the lake, and what stands nowhere."""

import hashlib
import hmac
import json

import pytest
from small_pseudonyms import DAY, HOST, LINES, USERS, found_in, write_settings

from contracts.errors import BadInput
from contracts.landing_settings import checked_settings, read_settings
from contracts.paths import Places
from contracts.settings.key_ring import KeyRing, read_key_file, write_new_key
from contracts.settings.pseudonyms import ids_as_stored, pseudonyms_of, read_key_ring, rotation_note
from erasure.pseudonyms.rotated_tables import Rotation
from erasure.pseudonyms.rotation import OlderPseudonyms
from spark_jobs.ingest.duplicates import find_duplicates
from spark_jobs.ingest.landed_days import LandedDays
from spark_jobs.ingest.landing_files import landing_parts
from spark_jobs.lake.lake import Lake
from spark_jobs.lake.pseudonym_record import recorded_keys
from spark_jobs.tables import browsing_logs
from spark_jobs.tables.browsing_logs import rejected_lines
from userbert.cli import main

OLD, NEW = KeyRing((b"a" * 32,)), KeyRing((b"a" * 32, b"b" * 32))


def test_a_pseudonym_is_the_hmac_of_the_id_and_of_the_keys_before():
    def hmac_hex(key, text):
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:32]

    first = hmac_hex(b"a" * 32, "u1")
    assert OLD.pseudonym(" u1\u00a0") == first
    assert list(NEW.stages("u1")) == [first, hmac_hex(b"b" * 32, first)]
    assert NEW.since(OLD.fingerprint).pseudonym(first) == NEW.pseudonym("u1")
    assert NEW.since(OLD.fingerprint).pseudonym(OLD.pseudonym("h", "host"), "host") == (
        NEW.pseudonym("h", "host")
    )
    assert OLD.pseudonym("u1", "host") != first
    assert OLD.since(NEW.fingerprint) is None
    assert "616161" not in OLD.fingerprint
    assert "aaaa" not in repr(OLD)


def test_a_key_file_is_its_owners_and_long_enough(tmp_path):
    ring = write_new_key(tmp_path / "a")
    assert oct((tmp_path / "a").stat().st_mode)[-3:] == "600"
    assert read_key_file(tmp_path / "a") == ring
    grown = write_new_key(tmp_path / "b", ring)
    assert read_key_file(tmp_path / "b") == grown
    assert len(grown.since(ring.fingerprint).keys) == 1
    with pytest.raises(BadInput, match="cannot be made: File exists"):
        write_new_key(tmp_path / "a")
    (tmp_path / "a").chmod(0o640)
    with pytest.raises(BadInput, match=r"permissions 640.*chmod 600"):
        read_key_file(tmp_path / "a")
    with pytest.raises(BadInput, match=r"cannot be read.*new-key"):
        read_key_file(tmp_path / "none")
    for content in ("", "ab" * 31, "zz" * 32, "é", f"{'ab' * 32}\n{'ab' * 32}\n", "secret" * 20):
        (tmp_path / "c").write_text(content)
        (tmp_path / "c").chmod(0o600)
        with pytest.raises(BadInput, match="is no key file") as refused:
            read_key_file(tmp_path / "c")
        assert not content or content not in str(refused.value)


def settings(**pseudonyms):
    columns = {"user_id": "user", "event_time": "time", "title": "title", "host": "host"}
    values = {"format": "jsonl", "columns": columns, "nobody": ["Nobody"]}
    return checked_settings({**values, "pseudonyms": pseudonyms}, "settings.toml")


def test_settings_say_which_columns_and_where_the_key_is(tmp_path, monkeypatch):
    for wrong, words in (
        ({}, "say either key_file"),
        ({"key_file": "/k", "key_variable": "K"}, "say either key_file"),
        ({"key_file": "/k", "columns": ["host"]}, "columns must name user_id"),
        ({"key_file": "/k", "columns": ["user_id", "title"]}, "say a list of user_id and"),
        ({"key": "00"}, "unknown; say one of columns, key_file, key_variable"),
    ):
        with pytest.raises(BadInput, match=words):
            settings(**wrong)
    places = Places(tmp_path / "data")
    write_new_key(tmp_path / "keys")
    write_new_key(places.root.parent / "other")
    by_name = settings(key_variable="KEYS_ARE_HERE", columns=["user_id", "host"])
    with pytest.raises(BadInput, match="KEYS_ARE_HERE, which is not set"):
        pseudonyms_of(by_name, places)
    monkeypatch.setenv("KEYS_ARE_HERE", str(tmp_path / "keys"))
    found = pseudonyms_of(by_name, places)
    assert (found.columns, found.nobody) == (("user_id", "host"), ("nobody",))
    places.root.mkdir()
    write_new_key(places.root / "keys")
    with pytest.raises(BadInput, match=r"lies in the data root .*: move it elsewhere"):
        pseudonyms_of(settings(key_file=str(places.root / "keys")), places)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return Places(tmp_path_factory.mktemp("data") / "root")


@pytest.fixture(scope="module")
def keys(places):
    return places.root.parent / "keys"


@pytest.fixture(scope="module")
def ingested(spark, places, keys):
    """A day under pseudonyms, with one user on the suppression list."""
    from spark_jobs.ingest.suppression_list import add_users

    ring = write_new_key(keys)
    write_settings(places, keys)
    folder = places.landing / str(DAY)
    folder.mkdir()
    (folder / "views.jsonl").write_text("\n".join(LINES))
    add_users(places, [ring.pseudonym("forgotten-0005")], [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("USERBERT_DATA", str(places.root))
        browsing_logs.main(DAY, DAY, False)
    return ring


def test_every_line_is_a_view_or_refused_and_no_raw_id_is_stored(spark, places, ingested):
    lake = Lake(spark, places.lake)
    table = f"{places.lake}/browsing_logs"
    views = spark.read.format("delta").load(table).collect()
    assert sorted(v["user_id"] for v in views) == sorted(2 * [*map(ingested.pseudonym, USERS)])
    assert {v["host"] for v in views} == {ingested.pseudonym(HOST, "host")}
    rows = spark.read.format("delta").load(f"{places.lake}/rejected_logs").orderBy("line").collect()
    refused = {row["line"]: (row["reasons"][0].partition(" (")[0], row["raw"]) for row in rows}
    assert len(views) + len(rows) == len(LINES)
    assert {number: kind for number, (kind, _) in refused.items()} == {
        5: "duplicate", 6: "blank title", 7: "unreadable event_time", 8: "user_id of nobody",
        9: "blank user_id", 10: "NUL character in user_id", 11: "not JSON",
        12: "no text in user_id", 17: "forgotten user",
    }  # fmt: skip
    assert json.loads(refused[6][1]) == {
        "user_id": ingested.pseudonym(USERS[1]), "event_time": f"{DAY}T10:00:05Z", "title": "",
        "host": ingested.pseudonym(HOST, "host"),
    }  # fmt: skip
    assert "event_time" not in json.loads(refused[7][1])  # it is unreadable: perhaps an id
    assert [refused[n][1] for n in (11, 12, 17)] == ["", "", ""]
    record = f"host,user_id:{ingested.fingerprint}"
    assert recorded_keys(lake) == record
    assert lake.metadata(browsing_logs.BROWSING_LOGS)["pseudonyms"] == record


def secrets_of(ring):
    """Bytes that may stand nowhere: keys as bytes and as text, and raw values."""
    keys = [form for key in ring.keys for form in (key, key.hex().encode())]
    texts = (*USERS, HOST, "forgotten-0005")
    return keys + [form for t in texts for form in (t.encode(), json.dumps(t)[1:-1].encode())]


def test_no_byte_of_the_data_root_holds_the_key_or_a_raw_id(places, ingested):
    pseudonym = ingested.pseudonym(USERS[0]).encode()
    assert found_in(places.root, [pseudonym])  # the scan finds what is there
    assert found_in(places.root, secrets_of(ingested), but=[places.landing]) == []


def test_no_plan_shows_a_key_or_a_raw_id(spark, places, ingested):
    """Event logs and the history server hold the plans of what ran."""
    found = read_settings(places.landing / "settings.toml")
    parts = landing_parts(places.landing, [DAY], found, False)
    landed = LandedDays([DAY], parts, found, None, pseudonyms_of(found, places))
    lines = landed.judged_lines(spark)
    refused = rejected_lines(lines, find_duplicates(lines, lines.limit(0), 2), landed)
    plans = "".join(frame._jdf.queryExecution().toString() for frame in (lines, refused))
    assert "mapInArrow" in plans.replace("MapInArrow", "mapInArrow")
    assert [each for each in secrets_of(ingested) if each.decode(errors="replace") in plans] == []
    assert not any(repr(key) in repr(landed) for key in ingested.keys)


def test_a_lake_takes_no_other_key_and_none_without(
    spark, places, keys, ingested, monkeypatch, capsys
):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    words = ["browsing-logs", "--from-day", str(DAY), "--to-day", str(DAY)]
    other, longer = keys.with_name("other"), keys.with_name("longer")
    write_new_key(other)
    write_new_key(longer, ingested)
    for path, message in (
        (None, "asks for none: name the key file in"),
        (other, "name the key file that the lake was written with"),
        (longer, "run `userbert pseudonyms rotate --to` with this key file"),
    ):
        write_settings(places, path)
        assert main(words) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    write_settings(places, keys)
    plain = Places(places.root.parent / "plain")
    monkeypatch.setenv("USERBERT_DATA", str(plain.root))
    write_settings(plain, None)
    (plain.landing / str(DAY)).mkdir()
    (plain.landing / str(DAY) / "views.jsonl").write_text("\n".join(LINES[:4]))
    assert main(words) == 0
    write_settings(plain, keys)
    assert main(words) == 2
    assert "ingest the landing days into a new data root" in capsys.readouterr().err


def test_ids_given_by_people_are_hashed_in_one_home(places, ingested, monkeypatch, tmp_path):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    assert ids_as_stored(["u1", " u1 "]) == 2 * [ingested.pseudonym("u1")]
    assert ids_as_stored(["u1"], are_pseudonyms=True) == ["u1"]
    assert read_key_ring(Places(tmp_path)) is None
    assert ids_as_stored(["u1"], places=Places(tmp_path)) == ["u1"]


def test_nothing_is_copied_or_forgotten_while_a_rotation_is_under_way(tmp_path, monkeypatch):
    monkeypatch.setenv("USERBERT_DATA", str(tmp_path))
    rotation_note(Places(tmp_path)).parent.mkdir()
    rotation_note(Places(tmp_path)).write_text("{}")
    for words in (["snapshot", str(tmp_path / "copy")], ["forget", "u1", "--yes"], ["titles"]):
        assert main(words) == 2, words


def test_labels_name_users_by_raw_ids_or_by_pseudonyms(places, ingested):
    from downstream.tasks.labels_file import read_labels

    places.labels.mkdir()
    content = "user_id,value\nu1,1\nu2,0\n"
    (places.labels / "bought.csv").write_text(content)
    (places.labels / "bought.toml").write_text('kind = "binary"\nis_static = true\ndoc = "x"\n')
    table, _ = read_labels(places.labels / "bought.csv")
    assert table["user_id"].to_pylist() == [ingested.pseudonym("u1"), ingested.pseudonym("u2")]
    with (places.labels / "bought.toml").open("a") as file:
        file.write('ids = "pseudonyms"\n')
    table, _ = read_labels(places.labels / "bought.csv")
    assert table["user_id"].to_pylist() == ["u1", "u2"]


COMMANDS_WITH_USERS = (
    ["neighbors", USERS[0]], ["explain", USERS[0]], ["cohort", USERS[0], USERS[1]],
    ["coverage", "--users", USERS[0]], ["forecast", USERS[0]], ["features", "get", USERS[0]],
)  # fmt: skip


def test_no_command_prints_the_raw_id_that_it_was_given(places, ingested, monkeypatch, capsys):
    """Each ends in a message that names the user as the tables do, or nobody."""
    from small_lake import embedding, publish

    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    publish(places, [embedding(ingested.pseudonym(USERS[1]), DAY, [1, 2], sequence_hash=1)])
    for words in COMMANDS_WITH_USERS:
        main(words)
        printed = capsys.readouterr()
        assert USERS[0] not in printed.out + printed.err, words


def test_rotated_tables_equal_those_of_an_ingest_under_the_newer_keys(
    spark, places, keys, ingested, monkeypatch, capsys
):
    """The short form of tests/test_pseudonym_rotation.py (make test-pseudonyms)."""
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    newer = keys.with_name("newer")
    ring = write_new_key(newer, ingested)
    assert main(["pseudonyms", "rotate", "--to", str(newer)]) == 0
    assert f'now let landing/settings.toml say key_file = "{newer}"' in capsys.readouterr().out
    older = [ingested.pseudonym(user).encode() for user in USERS]
    assert found_in(places.root, older) == []
    tables = [f"{places.lake}/{name}" for name in ("browsing_logs", "rejected_logs")]
    rotated = [sorted(map(str, spark.read.format("delta").load(t).collect())) for t in tables]
    assert ring.pseudonym(USERS[0]) in str(rotated)
    write_settings(places, newer)
    browsing_logs.main(DAY, DAY, False)
    assert rotated == [
        sorted(map(str, spark.read.format("delta").load(t).collect())) for t in tables
    ]


def test_text_is_renamed_once_however_often_it_is_read():
    newer = KeyRing((b"b" * 32,))
    rotation = Rotation("user_id:a", "user_id:a+b", ("user_id",), newer)
    older, unknown = "1" * 32, "2" * 32
    known = newer.pseudonym(older)
    users = OlderPseudonyms((), rotation=rotation, known=frozenset([known]))
    text = f"{older} user_id={older} user_id={unknown} {unknown} x{older}f".encode()
    once = users.redact_text(text)
    assert once == f"{known} user_id={known} user_id=(unknown) {unknown} x{older}f".encode()
    assert users.redact_text(once) == once
