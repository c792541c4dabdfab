import gzip
import json
import sqlite3
import struct
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from erasure.redaction import redact_file
from erasure.scan import scan_files
from erasure.user_patterns import Users, is_unmistakable

GONE = Users(("u0000123", "7"), ("user_id", "visitor"))


@pytest.fixture
def found(tmp_path):
    """(file, where) of each finding; a page's mention is marked."""

    def look():
        findings, _, _ = scan_files([tmp_path], GONE)
        return [(f.path.name, f.where + (" (page)" if f.page else "")) for f in findings]

    return look


def test_an_id_is_a_word_of_any_file_unless_it_may_be_something_else():
    assert [
        is_unmistakable(user) for user in ("u0000123", "anna.b@x.org", "7", "1467", "jonathan")
    ] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert is_unmistakable("204816317")


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("a user u0000123 was here", True),
        ("u00001234 and xu0000123", False),
        ('{"user_id": "7"}', True),
        ('{"stats":"{\\"minValues\\":{\\"user_id\\":\\"7\\"}}"}', True),
        ("&quot;user_id&quot;: &quot;7&quot;", True),
        ("as_of=2017-06-30, user_id=7, n=3", True),
        ('{"visitor": 7}', True),
        ('{"user_id": "77", "version": 7, "title": "7 ways"}', False),
    ],
)
def test_text_names_a_user_as_a_word_or_beside_the_columns_name(tmp_path, found, text, is_found):
    (tmp_path / "a.log").write_text(text)
    assert bool(found()) == is_found
    assert redact_file(tmp_path / "a.log", GONE) == is_found
    assert found() == []


def test_packed_files_and_arrays_of_text_are_opened(tmp_path, found):
    (tmp_path / "a.gz").write_bytes(gzip.compress(b'{"user_id":"7"}'))
    with pa.output_stream(str(tmp_path / "b.zstd"), compression="zstd") as packed:
        packed.write(b"x u0000123 y" * 1000)
    np.save(tmp_path / "c.npy", np.array(["u0000123", "u2"]))
    assert dict(found()) == {
        "a.gz": "unpacked by gzip",
        "b.zstd": "unpacked by zstd",
        "c.npy": "its bytes",
    }


def test_each_column_of_parquet_is_decoded_and_pages_are_distinguished(tmp_path, found):
    stats = json.dumps({"maxValues": {"user_id": "7"}})
    tables = {
        "rows": {"user_id": ["7"], "n": [1]},
        "others": {"user_id": ["77", "u00001234"], "title": ["7 ways", "x"]},
        "page": {"user_id": ["u2"], "title": ["of u0000123"]},
        "checkpoint": {"add": [{"path": "p", "stats": stats}]},
        "struct": {"add": [{"minValues": {"user_id": "7"}}]},
        "lists": {"users": [["x", "u0000123"]]},
    }
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    assert [each for each in found() if each[1] != "its bytes"] == [
        ("checkpoint.parquet", "column stats"),
        ("lists.parquet", "column users"),
        ("page.parquet", "column title (page)"),
        ("rows.parquet", "column user_id"),
        ("struct.parquet", "column user_id"),
    ]


def test_keys_of_the_online_store_are_found_and_text_in_sqlite_is_redacted(tmp_path, found):
    def key(user):
        return b"\x01\0\0\0user_id" + struct.pack("<II", 2, len(user)) + user.encode()

    with sqlite3.connect(tmp_path / "a.db") as sql:
        sql.execute("CREATE TABLE online (entity_key BLOB, value BLOB)")
        sql.execute("CREATE TABLE logs (event TEXT)")
        sql.executemany("INSERT INTO online VALUES (?, ?)", [(key("7"), b"1"), (key("77"), b"7")])
        sql.execute("INSERT INTO logs VALUES ('forget u0000123')")
    sql.close()
    assert found()[:2] == [
        ("a.db", "table online, column entity_key"),
        ("a.db", "table logs, column event"),
    ]
    assert redact_file(tmp_path / "a.db", GONE)
    with sqlite3.connect(tmp_path / "a.db") as sql:
        assert sql.execute("SELECT event FROM logs").fetchone() == ("forget (forgotten)",)
        sql.execute("DELETE FROM online WHERE entity_key = ?", (key("7"),))
    sql.close()
    assert found() == []


def test_another_users_longer_id_is_no_mention_and_is_not_redacted(tmp_path):
    longer = ("u0000123-b", "x.u0000123", "7-a", "u0000123@x.org")
    users = Users(("u0000123", "7"), ("user_id",), longer=longer)
    others = "user_id=u0000123-b user_id=7-a x.u0000123 u0000123@x.org u00001234\n"
    (tmp_path / "a.log").write_text(others)
    np.save(tmp_path / "c.npy", np.array(["u0000123-b", "x.u0000123"]))
    pq.write_table(pa.table({"user_id": ["u0000123-c", "x"]}), tmp_path / "b.parquet")
    with sqlite3.connect(tmp_path / "a.db") as sql:
        sql.execute("CREATE TABLE logs (user_id TEXT, event TEXT)")
        sql.execute("INSERT INTO logs VALUES ('u0000123-b', 'x.u0000123 came')")
    sql.close()
    assert scan_files([tmp_path], users)[0] == []
    (tmp_path / "a.log").write_text(others + "user_id=7. u0000123-d user_id=u0000123\n")
    (found,) = scan_files([tmp_path], users)[0]
    assert found.path.name == "a.log"
    assert redact_file(tmp_path / "a.log", users)
    assert (tmp_path / "a.log").read_text() == (
        others + "user_id=(forgotten). (forgotten)-d user_id=(forgotten)\n"
    )


def test_a_hundred_users_are_looked_for_as_quickly_as_one(tmp_path):
    """A pattern that tried each id at each byte would take a hundred times as long."""
    (tmp_path / "a.bin").write_bytes(b"u0000000 n=12 some text, user_id=u1111111; " * 50_000)

    def seconds(count):
        users = Users(tuple(f"u{n:07}" for n in range(2_000_000, 2_000_000 + count)))
        began = time.process_time()
        assert scan_files([tmp_path], users)[0] == []
        return time.process_time() - began

    assert seconds(100) < 5 * seconds(1) + 0.5
