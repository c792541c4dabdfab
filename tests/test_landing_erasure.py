import gzip
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.landing_settings import LandingSettings
from erasure.landing_files import erase_lines
from erasure.landing_search import refused_line_test, search_landing_files, user_columns
from erasure.user_patterns import Users
from spark_jobs.ingest.suppression_list import add_users, read_suppression_list

COLUMNS = {"user_id": "visitor", "event_time": "at", "title": "page"}


@pytest.fixture
def land(places):
    def write(name, content):
        path = places.landing / str(date(2017, 6, 29)) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return write


@pytest.fixture
def erase(places):
    def run(form):
        add_users(places, ["u0000123", "7"], [])
        settings = LandingSettings(format=form, columns=COLUMNS)
        return erase_lines(places.landing, settings, read_suppression_list(places))

    return run


def test_a_csv_line_becomes_an_empty_one_and_the_rest_keep_bytes_and_numbers(land, erase):
    text = b'visitor,at,page\r\n7,t,a\r\n77,t,"of 7, too"\r\n"u0000123",t\r\nu00001234,t,b'
    path = land("a.csv", text)
    land(".a.csv.17", b"77,t,\r\n")  # by an erasure that was killed
    assert erase("csv") == (2, 1)
    assert path.read_bytes() == b'visitor,at,page\r\n\r\n77,t,"of 7, too"\r\n\r\nu00001234,t,b'
    assert erase("csv") == (0, 0)
    assert [each.name for each in path.parent.iterdir()] == ["a.csv"]


def test_packed_lines_are_packed_again(land, erase):
    path = land("a.jsonl.gz", gzip.compress(b'{"visitor":7,"at":1,"page":"a"}\n{"visitor":77}\n'))
    assert erase("jsonl") == (1, 1)
    assert gzip.decompress(path.read_bytes()) == b'\n{"visitor":77}\n'


def test_a_parquet_row_goes_whatever_its_type_and_the_others_move_up(land, erase, places):
    path = land("a.parquet", b"")
    rows = pa.table({"visitor": [7, 77, 7, 8], "at": list("abcd"), "page": list("wxyz")})
    pq.write_table(rows, path, row_group_size=2)
    assert erase("parquet") == (2, 1)
    assert pq.read_table(path).to_pylist() == rows.take([1, 3]).to_pylist()
    assert pq.ParquetFile(path).num_row_groups == 2


def test_refused_lines_and_landing_lines_are_the_users_by_the_column_or_by_any_word(land, places):
    settings = LandingSettings(format="jsonl", columns=COLUMNS)
    users = Users(("u0000123", "7"), user_columns(settings), longer=("u0000123-b",))
    lines = {
        '{"visitor": 7, "at": 1, "page": "a"}': "theirs",
        '{"visitor": " u0000123\\t", "at": 1, "page": "a"}': "theirs",
        '{"visitor": "0", "at": 1, "page": "of u0000123"}': "page",
        '{"visitor": "u0000123-b", "at": 1, "page": "7"}': None,
        '{"visitor": 77, "at": 1, "page": "u00001234"}': None,
        '{"visitor": 7': "theirs",
    }
    test = refused_line_test(settings, users)
    # A refused line of another user that names this one goes as well: its other columns are lost.
    assert [test(line) for line in lines] == [kind is not None for kind in lines.values()]
    path = places.landing / "settings.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        'format = "jsonl"\n[columns]\nuser_id = "visitor"\nevent_time = "at"\ntitle = "page"\n'
    )
    for number, line in enumerate(lines):
        land(f"{number}.jsonl", line.encode() + b"\n")
    search = search_landing_files(places, users)
    found = [search(places.landing / "2017-06-29" / f"{n}.jsonl") for n in range(len(lines))]
    kinds = [each and ("page" if each[0].page else "theirs") for each in found]
    assert [kind or None for kind in kinds] == list(lines.values())
    assert search(path) is None
    nested = LandingSettings(format="jsonl", columns=COLUMNS | {"user_id": "who.id"})
    assert user_columns(nested) == ("user_id", "who.id", "id")
