import hashlib
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import small_model
from deltalake import DeltaTable
from small_corpus import DAY, interests
from small_lake import views, write

from contracts.errors import BadInput, MissingTable
from contracts.forecasts import FORECAST_NAMES
from contracts.paths import Places
from contracts.tables import SEQUENCE_PAIRS, USER_EMBEDDINGS
from expectations.gate import run_gate
from model.config import PRESETS
from model.data.build_corpus import training_input
from model.data.ragged import Ragged
from model.inference.embed_users import embed_users
from model.storage.checkpoint import load_model
from model.training.distributed import Processes
from model.training.pretrain import pretrain_model
from spark_jobs.lake.lake import Lake
from spark_jobs.registry.registration import model_from_folder
from spark_jobs.tables import user_embeddings
from spark_jobs.tables.models import change_models
from spark_jobs.tables.user_embeddings import update_user_embeddings

NEXT_DAY = DAY + timedelta(days=1)
TITLE_IDS = [100 * interest + nth for interest in range(4) for nth in range(12)]


def sequences(users, day=DAY):
    draw = np.random.default_rng(1)
    return [
        views(f"user{user}", day, *draw.choice(TITLE_IDS, 1 + user % 20).tolist())
        for user in range(users)
    ]


def untrained(given, out, width):
    tiny = PRESETS["tiny"]
    config = replace(tiny, steps=0, model=replace(tiny.model, width=width))
    return pretrain_model(given, config, out, Processes(), threads=1)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return Places(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def lake(spark, places):
    return Lake(spark, places.lake)


@pytest.fixture(scope="module")
def folder(lake, places):
    """Of a model of no training, in a lake with titles, the sequences of two days, and models."""
    given = interests(places)
    folder, narrow = (untrained(given, places.models, width) for width in (256, 16))
    known = {model.model_id: model for model in map(model_from_folder, (folder, narrow))}
    known |= {"other": replace(known[folder.name], model_id="other")}
    change_models(lake, places, "test", lambda now: {**now, **known})
    write(places, "user_sequences", sequences(30) + sequences(5, NEXT_DAY))
    return folder


@pytest.fixture(scope="module")
def commit(lake, places, folder):
    """Of the job, with more than one partition."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(user_embeddings, "_USERS_A_PARTITION", 8)
        yield update_user_embeddings(lake, places, DAY, folder.name)


def rows_of(lake, day=DAY):
    rows = lake.read(USER_EMBEDDINGS).where(f"as_of = '{day}'")
    return rows.orderBy("model_id", "user_id").toArrow()


def sum_of(rows):
    return hashlib.sha256(repr(rows.to_pylist()).encode()).hexdigest()


def test_each_user_of_the_day_gets_a_vector(lake, folder, commit):
    rows = rows_of(lake)
    assert commit.rows == 30
    assert sorted(rows["user_id"].to_pylist()) == sorted(f"user{n}" for n in range(30))
    assert set(rows["model_id"].to_pylist()) == {folder.name}
    vectors = np.array(rows["embedding"].to_pylist())
    np.testing.assert_allclose(rows["norm"], np.linalg.norm(vectors, axis=1), rtol=1e-6)


def test_the_vectors_are_those_that_torch_gives_here(lake, places, folder, commit):
    rows = rows_of(lake)
    by_user = dict(zip(rows["user_id"].to_pylist(), rows["embedding"].to_pylist(), strict=True))
    titles = DeltaTable(f"{places.lake}/titles").to_pyarrow_table().sort_by("title_id")
    given = sequences(30)
    ours = embed_users(
        load_model(folder),
        Ragged.of([row["title_ids"] for row in given]),
        titles["title_id"].to_numpy(),
        titles["words"],
    ).vectors
    theirs = np.array([by_user[row["user_id"]] for row in given])
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


def test_the_commit_tells_what_it_was_made_of(lake, folder, commit):
    provenance = lake.metadata(USER_EMBEDDINGS)
    assert provenance["model"] == folder.name
    assert {"user_sequences", "titles", "models"} <= set(provenance["inputs"])


def test_a_rerun_leaves_the_same_bytes(lake, places, folder, commit):
    first = rows_of(lake)
    update_user_embeddings(lake, places, DAY, folder.name)
    assert sum_of(rows_of(lake)) == sum_of(first)


def test_another_day_and_another_model_are_left_alone(lake, places, folder, commit):
    first = rows_of(lake)
    update_user_embeddings(lake, places, NEXT_DAY, "other")
    assert sum_of(rows_of(lake)) == sum_of(first)
    assert set(rows_of(lake, NEXT_DAY)["model_id"].to_pylist()) == {"other"}
    assert len(rows_of(lake, NEXT_DAY)) == 5


def test_a_model_of_the_memory_form_reads_times_and_writes_forecasts(lake, places, folder, commit):
    small_model.save(places, "long-memory", form="memory")
    change_models(
        lake,
        places,
        "test",
        lambda now: {**now, "long-memory": model_from_folder(places.models / "long-memory")},
    )
    update_user_embeddings(lake, places, DAY, "long-memory")
    rows = [row for row in rows_of(lake).to_pylist() if row["model_id"] == "long-memory"]
    by_user = {row["user_id"]: row for row in rows}
    titles = DeltaTable(f"{places.lake}/titles").to_pyarrow_table().sort_by("title_id")
    given = sequences(30)
    micros = [
        [(time - datetime(1970, 1, 1)) // timedelta(microseconds=1) for time in row["event_times"]]
        for row in given
    ]
    midnight = (DAY - date(1970, 1, 1)) // timedelta(microseconds=1)
    ours = embed_users(
        load_model(places.models / "long-memory"),
        Ragged.of([row["title_ids"] for row in given]),
        titles["title_id"].to_numpy(),
        titles["words"],
        times=Ragged.of(micros).values,
        as_of=np.full(30, midnight),
    )
    theirs = [by_user[row["user_id"]] for row in given]
    # Numbers of up to some hundreds, so 1e-4 is a few units in the last place of a float32.
    np.testing.assert_allclose(ours.vectors, [row["embedding"] for row in theirs], atol=1e-4)
    forecasts = [[row[name] for name in FORECAST_NAMES] for row in theirs]
    np.testing.assert_allclose(ours.forecasts, forecasts, rtol=1e-3)
    others = [row for row in rows_of(lake).to_pylist() if row["model_id"] == folder.name]
    assert {row[name] for row in others for name in FORECAST_NAMES} == {None}


def test_what_is_missing_is_named(lake, places, folder):
    with pytest.raises(MissingTable, match="nobody is not registered"):
        update_user_embeddings(lake, places, DAY, "nobody")
    with pytest.raises(MissingTable, match=r"no rows of 2019-01-01.*user-sequences --as-of"):
        update_user_embeddings(lake, places, date(2019, 1, 1), folder.name)


def test_a_model_of_another_width_is_refused(lake, places, folder):
    found = {each.name for each in places.models.iterdir()}
    (narrow,) = found - {folder.name, "long-memory"}
    with pytest.raises(BadInput, match=r"vectors of width 16.*pre-train with --width 256"):
        update_user_embeddings(lake, places, DAY, narrow)


def test_training_reads_what_spark_writes(spark, lake, places, folder, tmp_path):
    """Spark's own times in Parquet are of a kind that other readers must know of."""
    elsewhere = Places(tmp_path)
    frame = lake.read(SEQUENCE_PAIRS).select(SEQUENCE_PAIRS.names).repartition(3)
    passed = run_gate(frame, SEQUENCE_PAIRS, places=elsewhere, run="test")
    Lake(spark, elsewhere.lake).replace(passed, "true")
    Path(elsewhere.lake, "titles").symlink_to(Path(places.lake, "titles"))
    read = training_input(elsewhere.lake, DAY, elsewhere.arrays, max_words=30, max_views=100)
    ours = training_input(places.lake, DAY, places.arrays, max_words=30, max_views=100)
    assert read.content == ours.content
