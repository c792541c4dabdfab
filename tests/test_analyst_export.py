import json
from datetime import date, datetime

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from small_lake import embedding, publish, vector, write

from contracts.forecasts import FORECAST_NAMES
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


def test_a_program_is_shown_what_the_file_says_about_itself(out, capsys):
    assert export(out / "v.csv", "--format", "csv", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["model_id"], answer["as_of"], answer["rows"]) == ("m1", "2026-01-06", 2)


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


def test_forecasts_stand_next_to_the_vectors(out, places):
    publish(places, [embedding("cat", TUESDAY, [1], **dict.fromkeys(FORECAST_NAMES, 0.5))])
    assert export(out / "v.parquet") == 0
    table = pq.read_table(out / "v.parquet")
    assert table.column_names == ["user_id", "as_of", "embedding", *FORECAST_NAMES]
    assert table["views_28_days"].to_pylist() == [None, None, 0.5]
    assert export(out / "v.csv", "--format", "csv") == 0
    frame = pd.read_csv(out / "v.csv", skiprows=1)
    assert frame["no_view_7_days"].tolist()[2] == 0.5
    assert frame["no_view_7_days"].isna().tolist() == [True, True, False]


def session(user, day, hour, *title_ids):
    times = [datetime(2026, 1, day, hour, minute) for minute in range(len(title_ids))]
    return {
        "session_date": date(2026, 1, day),
        "user_id": user,
        "session_id": day * 100 + hour,
        "start_time": times[0],
        "end_time": times[-1],
        "num_views": len(times),
        "title_ids": list(title_ids),
        "event_times": times,
    }


def test_counts_are_of_the_views_before_the_day(out, places):
    """Ann: two views on Sunday at noon, one on Monday at 18:00; bob: none before Tuesday."""
    write(places, "titles", [{"title_id": 1, "title": "red tea !", "words": ["red", "tea", "!"]},
                             {"title_id": 2, "title": "tea", "words": ["tea"]}])  # fmt: skip
    rows = [session("ann", 4, 12, 1, 2), session("ann", 5, 18, 2), session("bob", 6, 0, 2)]
    write(places, "sessions", rows)
    assert export(out / "v.parquet", "--with-counts") == 0
    ann, bob = pq.read_table(out / "v.parquet").to_pylist()
    expected = {
        "past_views": 3,
        "past_sessions": 2,
        "past_active_days": 2,
        "past_titles": 2,
        "past_views_7_days": 3,
        "past_days_since_last_view": 0.25,
        "past_days_since_first_view": 1.5,
        "past_share_of_hours_12_to_18": 2 / 3,
        "past_share_of_weekends": 2 / 3,
        "past_views_of_tea": 3,
        "past_views_of_red": 1,
    }
    assert {name: ann[name] for name in expected} == pytest.approx(expected)
    assert "past_views_of_!" not in ann
    assert bob["past_views"] is None
    assert bob["past_views_of_tea"] == 0
    assert export(out / "v.npz", "--format", "npz", "--with-counts") == 0
    with np.load(out / "v.npz", allow_pickle=False) as held:
        place = held["number_names"].tolist().index("past_sessions_28_days")
        assert held["numbers"][0, place] == 2
        assert held["numbers"].shape == (2, len(ann) - 3)


def test_the_file_names_the_blocks_of_the_vectors(out, places):
    settings = {"model": {"form": "memory", "activity_width": 64, "width": 256}}
    write(places, "models", [{"model_id": "m1", "settings": json.dumps(settings)}])
    assert export(out / "v.parquet") == 0
    facts = pq.read_metadata(out / "v.parquet").metadata
    assert facts[b"userbert.blocks"] == b"activity[0:64],preference[64:256]"


def test_what_does_not_fit_is_refused_and_nothing_is_left(out, places, capsys):
    publish(places, [embedding("cat", TUESDAY, [1e6])])
    assert export(out / "v.parquet", "--fp16") == 2
    assert "no number above 65504" in capsys.readouterr().err
    assert export(out / "no" / "v.parquet") == 2
    assert not list(out.iterdir())


def test_tensorboards_projector_reads_the_folder(out, places):
    """By TensorBoard's own parsers of the configuration and of the vectors."""
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
    from tensorboard.plugins.projector.projector_plugin import _read_tensor_tsv_file

    publish(places, [embedding("a\tb\nc", TUESDAY, [1, 2])])
    assert export(out / "users", "--format", "projector") == 0
    config = ProjectorConfig()
    text_format.Parse((out / "users" / "projector_config.pbtxt").read_text(), config)
    (only,) = config.embeddings
    assert only.tensor_name == "users of m1"
    read = _read_tensor_tsv_file(str(out / "users" / only.tensor_path))
    assert np.asarray(read).shape == (3, 256)
    assert np.asarray(read)[1, :2].tolist() == [3, 4]
    lines = (out / "users" / only.metadata_path).read_text().splitlines()
    assert lines == [
        "user_id\tvector_of",
        f"a b c\t{TUESDAY}",
        f"ann\t{TUESDAY}",
        f"bob\t{MONDAY}",
    ]


def test_a_folder_that_is_there_is_left_alone(out, capsys):
    assert export(out, "--format", "projector") == 2
    assert "is there already" in capsys.readouterr().err


def private(out, *flags):
    return export(out, "--private", *flags)


def test_a_private_export_hides_the_vector_and_is_of_a_space_of_its_own(out, places, capsys):
    publish(places, [embedding("cat", TUESDAY, [1], **dict.fromkeys(FORECAST_NAMES, 0.5))])
    for name in ("a", "b"):
        assert private(out / name, "--epsilon", "4", "--clip", "2", "--round-to", "0.5") == 0
    tables = [pq.read_table(out / name) for name in ("a", "b")]
    assert tables[0].column_names == ["user_id", "as_of", "embedding"]  # no forecast
    assert set(tables[0]["as_of"].to_pylist()) == {TUESDAY}  # nobody's own last day
    first, second = (np.array(table["embedding"].to_pylist()) for table in tables)
    assert (first * 2 == np.round(first * 2)).all()
    said = json.loads((out / "a.privacy.json").read_text())
    assert (said["epsilon"], said["clip"], said["round_to"], said["rows"]) == (4, 2, 0.5, 3)
    assert first.std() == pytest.approx(said["noise_deviation"], rel=0.2)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.3
    assert said["made_from"] == "m1"
    assert said["is_repeatable"] is False
    assert said["does_not_protect"]
    spaces = {json.loads((out / f"{name}.privacy.json").read_text())["space_id"] for name in "ab"}
    assert len(spaces) == 2
    facts = pq.read_metadata(out / "a").metadata
    assert facts[b"userbert.model_id"].decode() == said["model_id"] != "m1"
    assert said["space_id"] == f"space-{said['model_id']}"


def test_a_seed_is_for_tests_and_says_so(out, capsys):
    for name in ("a", "b"):
        assert private(out / name, "--epsilon", "1", "--seed", "7", "--format", "npz") == 0
        assert "warning: --seed makes the noise repeatable" in capsys.readouterr().err
    assert (out / "a").read_bytes() == (out / "b").read_bytes()
    assert json.loads((out / "a.privacy.json").read_text())["is_repeatable"] is True


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--private"], "--private needs --epsilon"),
        (["--private", "--epsilon", "-1"], "epsilon is -1"),
        (["--private", "--epsilon", "1", "--delta", "0.5"], "far below 0.5"),
        (["--private", "--epsilon", "1", "--with-counts"], "leave one out"),
        (["--epsilon", "1"], "--epsilon is of a private export"),
        (["--round-to", "1"], "--round-to is of a private export"),
        (["--seed", "1"], "--seed is of a private export"),
    ],
)
def test_private_exports_that_promise_nothing_are_refused(out, capsys, flags, message):
    assert export(out / "v", *flags) == 2
    assert message in capsys.readouterr().err
    assert not list(out.iterdir())
