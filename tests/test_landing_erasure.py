import gzip
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.landing_settings import LandingSettings
from erasure.landing_files import erase_lines
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
