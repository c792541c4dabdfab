"""Damage on disk is one line: the file, what is wrong, and what mends it."""

import json
import shutil
import zlib
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_lake import embedding, publish, write

from contracts.storage.checked_pages import check_pages_daily
from contracts.storage.damage import (
    DamagedFile,
    check_delta_log,
    check_parquet_files,
    check_parquet_pages,
)
from userbert.cli import main

MONDAY, TUESDAY = date(2026, 1, 5), date(2026, 1, 6)


@pytest.fixture
def table(places):
    """published_embeddings of two commits."""
    for day in (MONDAY, TUESDAY):
        publish(places, [embedding("ann", day, [1, 2])])
    return Path(places.lake) / "published_embeddings"


def commit(table, version):
    return table / "_delta_log" / f"{version:020d}.json"


def halved(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES = {
    "it has 0 bytes": lambda path: path.write_bytes(b""),
    "its line 1 is not whole": lambda path: path.write_bytes(path.read_bytes()[:40]),
    "its line 2 is not whole": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "its line 1 is not": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "it holds no action": lambda path: path.write_bytes(b"\n \n"),
    "no action of Delta": lambda path: path.write_bytes(b"7\n"),
}


@pytest.mark.parametrize("fault", DAMAGES)
def test_a_damaged_newest_commit_says_how_to_go_back_by_one_version(table, fault):
    check_delta_log(table)
    path = commit(table, 1)
    DAMAGES[fault](path)
    with pytest.raises(DamagedFile) as raised:
        check_delta_log(table)
    line = str(raised.value)
    assert "\n" not in line
    assert line.startswith(f"{path} is damaged: ")
    assert fault in line
    assert f"`mv {path} {path}.damaged && rm -f " in line
    assert "`userbert published-embeddings`" in line
    path.rename(f"{path}.damaged")  # what the line says
    check_delta_log(table)


def test_an_older_commit_that_is_damaged_or_gone_must_come_from_a_backup(table):
    path = commit(table, 0)
    halved(path)
    with pytest.raises(DamagedFile, match="copy it back from a backup"):
        check_delta_log(table)


def test_a_hole_between_commits_is_named(places, table):
    publish(places, [embedding("bob", TUESDAY, [1])])
    commit(table, 1).unlink()
    with pytest.raises(DamagedFile, match=r"1\.json is gone, and later commits are there"):
        check_delta_log(table)


def test_a_newest_commit_that_is_gone_is_named_by_the_checksums_that_it_left(table):
    path = commit(table, 1)
    path.with_name(f".{path.name}.crc").write_bytes(hadoops_checksums(path))
    check_delta_log(table)
    path.unlink()
    with pytest.raises(
        DamagedFile, match=r"1\.json is gone, and its checksums are there"
    ) as raised:
        check_delta_log(table)
    assert f"`rm {path.parent}/.{path.name}.crc`" in str(raised.value)


def test_commits_before_a_checkpoint_need_not_be_there(table):
    from deltalake import DeltaTable

    DeltaTable(table).create_checkpoint()
    commit(table, 0).unlink()
    check_delta_log(table)
    commit(table, 1).unlink()
    check_delta_log(table)


def test_a_checkpoint_that_was_cut_off_is_named(table):
    from deltalake import DeltaTable

    DeltaTable(table).create_checkpoint()
    (checkpoint,) = table.glob("_delta_log/*.checkpoint.parquet")
    halved(checkpoint)
    with pytest.raises(DamagedFile, match=r"checkpoint.parquet is damaged: it was cut off"):
        check_delta_log(table)


@pytest.mark.parametrize(
    ("fault", "damage"),
    [
        ("it is gone", Path.unlink),
        ("it has 0 bytes", lambda path: path.write_bytes(b"")),
        ("it was cut off", halved),
        ("it cannot be read", lambda path: (path.unlink(), path.mkdir())),
    ],
)
def test_a_data_file_that_is_not_whole_names_the_rows_and_their_job(table, fault, damage):
    (path,) = table.glob("as_of=2026-01-05/*.parquet")
    check_parquet_files([path])
    damage(path)
    with pytest.raises(DamagedFile, match=fault) as raised:
        check_parquet_files([path])
    line = str(raised.value)
    assert line.startswith(f"{path} is damaged: ")
    assert "the rows of 2026-01-05 anew: `userbert published-embeddings --as-of 2026-01-05`" in line


def test_one_flipped_bit_anywhere_in_the_pages_is_found(tmp_path):
    path = tmp_path / "rows.parquet"
    rows = pa.table({"embedding": [[0.1 * n, 0.2] for n in range(500)]})
    pq.write_table(rows, path, write_page_checksum=True, compression="snappy")
    whole = path.read_bytes()
    check_parquet_pages([path])
    column = pq.read_metadata(path).row_group(0).column(0)
    first, size = column.dictionary_page_offset, column.total_compressed_size
    missed = []
    for place in range(first + 60, first + size, 97):  # beyond the first page's own header
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            check_parquet_pages([path])
        except DamagedFile:
            continue
        missed.append(place)
        assert pq.read_table(path).equals(rows), place  # a statistic that no reader of rows uses
    assert len(missed) <= 1


def hadoops_checksums(path):
    """The file that Hadoop writes next to `path`, as its ChecksumFileSystem does."""
    content = path.read_bytes()
    sums = (zlib.crc32(content[at : at + 512]) for at in range(0, len(content), 512))
    head = b"crc\0" + (512).to_bytes(4, "big")
    return head + b"".join(each.to_bytes(4, "big") for each in sums)


def test_one_flipped_bit_in_the_footer_is_found_by_the_checksums_next_to_the_file(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"n": range(500)}), path, write_page_checksum=True)
    (tmp_path / ".rows.parquet.crc").write_bytes(hadoops_checksums(path))
    check_parquet_pages([path])
    whole = path.read_bytes()
    size = int.from_bytes(whole[-8:-4], "little")
    for place in range(len(whole) - 8 - size, len(whole) - 4, 29):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(DamagedFile, match=r"a page|footer is not .* \(\.rows\.parquet\.crc\)"):
            check_parquet_pages([path])
    path.write_bytes(whole)
    stored = hadoops_checksums(path)
    for torn in (b"torn", stored[:8] + b"1234" + stored[12:]):  # says nothing of a whole file
        (tmp_path / ".rows.parquet.crc").write_bytes(torn)
        check_parquet_pages([path])


@pytest.fixture
def run(places, monkeypatch, capsys):
    """A command's exit code, and what it printed to each stream."""
    monkeypatch.setenv("USERBERT_DATA", str(places.root))

    def run(*words):
        code = main(list(words))
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


READERS = (
    ("sql", "SELECT sum(embedding[1]) FROM published_embeddings"),
    ("neighbors", "ann", "-k", "1"),
    ("audit",),
)
CHECKERS = (*READERS, ("summary",))  # no row is read for a summary


@pytest.mark.parametrize("words", CHECKERS, ids=lambda words: words[0])
def test_a_reader_ends_in_one_line_at_each_damage(run, table, words):
    assert run(*words)[0] == 0
    (data,) = table.glob("as_of=2026-01-05/*.parquet")
    for path, damage in (
        (commit(table, 1), lambda path: path.write_bytes(b"")),
        (commit(table, 1), halved),
        (commit(table, 0), Path.unlink),
        (data, Path.unlink),
        (data, halved),
        (data, lambda path: path.write_bytes(b"")),
    ):
        whole = path.read_bytes()
        damage(path)
        shutil.rmtree(table.parents[1] / "neighbours", ignore_errors=True)
        code, out, err = run(*words)
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
        assert str(path) in err
        path.write_bytes(whole)
    assert run(*words)[0] == 0


def test_a_flipped_bit_is_found_before_vectors_are_read(run, table):
    """Spark writes a checksum into each page, and so does this test; delta-rs does not."""
    (path,) = table.glob("as_of=2026-01-05/*.parquet")
    pq.write_table(pq.read_table(path, partitioning=None), path, write_page_checksum=True)
    whole = path.read_bytes()
    pages = pq.read_metadata(path).row_group(0)
    names = [pages.column(n).path_in_schema.split(".")[0] for n in range(pages.num_columns)]
    column = pages.column(names.index("embedding"))
    place = column.data_page_offset + column.total_compressed_size // 2
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    for words in READERS:
        code, out, err = run(*words)
        assert (code, out) == (2, "")
        assert f"{path} is damaged: a page of it is wrong" in err
        assert err.count("\n") == 1
    query = "SELECT user_id FROM rejected_logs"  # it names another table
    assert "damaged" not in run("sql", query)[2]


@pytest.mark.parametrize("place", [60, -60])  # in a page, in the footer
@pytest.mark.parametrize(
    ("name", "words"),
    [("titles", ("sql", "SELECT title_id FROM titles")), ("models", ("models", "list"))],
)
def test_a_flipped_bit_of_any_table_is_found_before_a_query_reads_it(
    run, places, place, name, words
):
    texts = dict.fromkeys(("settings", "inputs", "measures"), "{}")
    write(places, name, [{"title_id": n, "model_id": f"m{n}"} | texts for n in range(9)])
    (path,) = Path(places.lake).glob(f"{name}/*.parquet")
    pq.write_table(pq.read_table(path), path, write_page_checksum=True)
    path.with_name(f".{path.name}.crc").write_bytes(hadoops_checksums(path))
    assert run(*words)[0] == 0
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    code, out, err = run(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"{path} is damaged" in err


def test_a_file_is_checked_once_a_day_and_when_it_was_written_to(places):
    path = places.root / "rows.parquet"
    pq.write_table(pa.table({"n": range(500)}), path, write_page_checksum=True)
    check_pages_daily([str(path)], places)
    ((name, stamp),) = json.loads(places.checked_files.read_text()).items()
    assert name == "rows.parquet"  # a root that was moved has the same names
    path.write_bytes(path.read_bytes()[:-50] + bytes(50))
    with pytest.raises(DamagedFile, match="it was cut off"):
        check_pages_daily([str(path)], places)
    state = path.stat()
    now = [state.st_size, state.st_mtime_ns, state.st_ctime_ns]
    places.checked_files.write_text(json.dumps({name: [*now, stamp[-1]]}))
    check_pages_daily([str(path)], places)  # nobody has written to it since
    for record in ({name: [*now, stamp[-1] - 90_000]}, {name: [1]}, [], {name: "whole"}):
        places.checked_files.write_text(json.dumps(record))
        with pytest.raises(DamagedFile):
            check_pages_daily([str(path)], places)
    places.checked_files.write_text('{"rows')
    with pytest.raises(DamagedFile):
        check_pages_daily([str(path)], places)
    path.unlink()
    with pytest.raises(DamagedFile, match="it is gone"):
        check_pages_daily([str(path)], places)


def test_the_copy_for_searches_mends_itself(run, table):
    ask = ("neighbors", "ann", "-k", "1", "--json")
    first = run(*ask)
    assert first[0] == 0
    (folder,) = (table.parents[1] / "neighbours").iterdir()
    for name, damage in (
        ("snapshot.json", halved),
        ("snapshot.json", lambda path: path.write_bytes(b"{}")),
        ("snapshot.json", lambda path: path.write_bytes(b"")),
        ("matrix.npy", halved),
        ("user_ids.npy", lambda path: path.write_bytes(b"")),
        ("norms.npy", Path.unlink),
        ("days.npy", lambda path: path.write_bytes(b"not an array")),
    ):
        damage(folder / name)
        assert run(*ask) == first


OTHER_TABLES = {  # the commands that read each, which take turns over the damages
    "browsing_logs": (("gates", "list"), ("sql", "SELECT * FROM browsing_logs")),
    "titles": (("sql", "SELECT * FROM titles"),),
    "sessions": (("sql", "SELECT * FROM sessions"),),
    "user_sequences": (("sql", "SELECT * FROM user_sequences"),),
    "models": (("models", "list"), ("models", "show", "ann")),
}
OTHER_DAMAGES = (
    ("newest commit", lambda path: path.write_bytes(b"")),
    ("data file", Path.unlink),
    ("newest commit", halved),
    ("data file", halved),
    ("data file", lambda path: path.write_bytes(b"")),
    ("oldest commit", Path.unlink),
    ("oldest commit", halved),
)


@pytest.mark.parametrize("name", OTHER_TABLES)
def test_each_table_is_named_with_its_damage_and_what_mends_it(run, places, name):
    for value in ("ann", "bob"):
        row = {"user_id": value, "title": value, "model_id": value}
        json_texts = dict.fromkeys(("settings", "inputs", "measures"), "{}")
        write(places, name, [row | json_texts])
    folder = Path(places.lake) / name
    paths = {
        "newest commit": commit(folder, 1),
        "oldest commit": commit(folder, 0),
        "data file": next(folder.rglob("*.parquet")),
    }
    commands = OTHER_TABLES[name]
    undamaged = run(*commands[0])
    assert undamaged[0] == 0
    for turn, (what, damage) in enumerate(OTHER_DAMAGES):
        path = paths[what]
        whole = path.read_bytes()
        damage(path)
        code, out, err = run(*commands[turn % len(commands)])
        assert (code, out, err.count("\n")) == (2, "", 1), (what, turn, err)
        assert str(path) in err
        assert err.count("`") >= 2  # a command
        path.write_bytes(whole)
    assert run(*commands[0]) == undamaged
