import json
from datetime import date

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from small_lake import embedding, publish, vector

from userbert.cli import main

MONDAY, TUESDAY = date(2026, 1, 5), date(2026, 1, 6)


@pytest.fixture
def out(places, tmp_path, monkeypatch):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    publish(places, [embedding("bob", MONDAY, [0.1, 2]), embedding("ann", TUESDAY, [3, 4])])
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def export(out, *flags):
    return main(["export", "--out", str(out), "--as-of", str(TUESDAY), *flags])


def test_parquet_holds_the_vectors_and_says_whose_they_are(out):
    assert export(out / "v.parquet") == 0
    facts = {
        k.decode(): v.decode() for k, v in pq.read_metadata(out / "v.parquet").metadata.items()
    }
    assert facts["userbert.model_id"] == "m1"
    assert facts["userbert.as_of"] == "2026-01-06"
    assert facts["userbert.rows"] == "2"
    rows = pq.read_table(out / "v.parquet").to_pylist()
    assert [(row["user_id"], row["as_of"]) for row in rows] == [("ann", TUESDAY), ("bob", MONDAY)]
    assert rows[1]["embedding"] == vector(0.1, 2)


def test_half_precision_halves_the_numbers_and_duckdb_reads_it(out):
    assert export(out / "v.parquet", "--fp16") == 0
    found = duckdb.sql(f"SELECT embedding FROM '{out}/v.parquet' ORDER BY user_id").fetchall()
    assert found[0][0][:2] == [3, 4]
    assert found[1][0][0] == pytest.approx(0.1, rel=1e-3)


def test_csv_says_it_in_its_first_line(out):
    assert export(out / "v.csv", "--format", "csv") == 0
    first = (out / "v.csv").read_text().splitlines()[0]
    assert "model_id=m1 as_of=2026-01-06 rows=2 width=256 dtype=float32" in first
    frame = pd.read_csv(out / "v.csv", skiprows=1)
    assert frame.columns[:3].tolist() == ["user_id", "as_of", "e0"]
    assert frame.loc[1, ["user_id", "e0", "e1"]].tolist() == ["bob", 0.1, 2]


def test_npz_opens_without_pickle(out):
    assert export(out / "v.npz", "--format", "npz", "--fp16") == 0
    with np.load(out / "v.npz", allow_pickle=False) as held:
        assert held["embeddings"].dtype == np.float16
        assert held["embeddings"][0, :2].tolist() == [3, 4]
        assert held["user_ids"].tolist() == ["ann", "bob"]
        assert json.loads(str(held["metadata"]))["rows"] == 2


@pytest.mark.parametrize("format", ["parquet", "csv", "npz"])
def test_equal_vectors_make_equal_bytes_and_leave_nothing_else(out, format):
    for name in ("a", "b"):
        assert export(out / name, "--format", format) == 0
    assert (out / "a").read_bytes() == (out / "b").read_bytes()
    assert {path.name for path in out.iterdir()} == {"a", "b"}


def test_what_does_not_fit_is_refused_and_nothing_is_left(out, places, capsys):
    publish(places, [embedding("cat", TUESDAY, [1e6])])
    assert export(out / "v.parquet", "--fp16") == 2
    assert "no number above 65504" in capsys.readouterr().err
    assert export(out / "no" / "v.parquet") == 2
    assert not list(out.iterdir())
