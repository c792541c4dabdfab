"""user_sequences to user_embeddings: a vector of each user of a day, under one model.

The model and the day's titles go to each executor once, as files that its Python workers map; a
task encodes the distinct titles of its users, then the users, by the code that training encodes
with. Partitions are set by the number of users alone, and sorted, so that a batch holds the same
users on every run, and a rerun writes the same bytes.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark import SparkFiles
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.errors import BadInput, MissingTable
from contracts.forecasts import FORECAST_NAMES
from contracts.instants import midnight_microseconds
from contracts.limits import EMBEDDING_WIDTH
from contracts.paths import Places
from contracts.storage.model_folder import check_model_folder
from contracts.tables import TITLES, USER_EMBEDDINGS, USER_SEQUENCES
from contracts.terminal.options import AsOf, ModelOrChampion
from expectations.gate import run_gate
from model.storage.checkpoint_files import MANIFEST_FILE, TITLES_FILE, VOCABULARY_FILE
from spark_jobs.lake.lake import Commit, Lake
from spark_jobs.spark.job_run import spark_job
from spark_jobs.tables.models import champion_id, find_model, load_models, model_folder

if TYPE_CHECKING:  # torch takes two seconds to import, and only the workers need it
    from model.storage.checkpoint import TrainedModel

# A task's users: enough to share their titles, few enough to keep two cores busy on the demo.
_USERS_A_PARTITION = 1024
MODEL, WORDS = "model", "titles.arrow"  # names in the folder that is shipped
_VECTOR_COLUMNS = (
    "user_id string, embedding array<float>, norm double, num_views int, "
    "last_view_time timestamp, sequence_hash bigint, "
    + ", ".join(f"{name} float" for name in FORECAST_NAMES)
)
_Batches = Iterator[pa.RecordBatch]


def to_embeddings(
    sequences: DataFrame, num_users: int, shipped: str, model_id: str, as_of: date
) -> DataFrame:
    """A row of user_embeddings for each row of user_sequences."""
    partitions = -(-num_users // _USERS_A_PARTITION)
    return (
        sequences.select("user_id", "title_ids", "event_times", "last_view_time", "sequence_hash")
        .repartition(partitions, "user_id")
        .sortWithinPartitions("user_id")
        .mapInArrow(_embedded_by(shipped, as_of), _VECTOR_COLUMNS)
        .withColumn("model_id", F.lit(model_id))
        .withColumn("as_of", F.lit(as_of))
        .select(USER_EMBEDDINGS.names)
    )


def _embedded_by(shipped: str, as_of: date) -> Callable[[_Batches], _Batches]:
    """What a task does with its partition, whole: batches of Spark's size must not matter."""

    def embedded(batches: _Batches) -> _Batches:
        users = pa.Table.from_batches(kept) if (kept := list(batches)) else None
        if users:
            yield _vectors_of(users.combine_chunks(), Path(SparkFiles.get(shipped)), as_of)

    return embedded


def _vectors_of(users: pa.Table, shipped: Path, as_of: date) -> pa.RecordBatch:
    """Rows of user_sequences to the columns of `_VECTOR_COLUMNS`."""
    from model.data.row_hashes import list_values
    from model.inference.embed_users import embed_users

    sequences = list_values(users["title_ids"].chunk(0))
    titles = _titles_at(shipped)
    title_ids = titles["title_id"].to_numpy()
    embedded = embed_users(
        _model_at(shipped),
        sequences,
        title_ids,
        titles["words"],
        times=list_values(users["event_times"].chunk(0)).values,  # (R,)
        as_of=np.full(len(sequences), midnight_microseconds(as_of)),  # (N,)
    )
    vectors = embedded.vectors
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    offsets = pa.array(np.arange(len(vectors) + 1, dtype=np.int32) * vectors.shape[1])
    columns = {
        "user_id": users["user_id"].chunk(0),
        "embedding": pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel())),
        "norm": pa.array(norms),
        "num_views": pa.array(sequences.lengths().astype(np.int32)),
        "last_view_time": users["last_view_time"].chunk(0),
        "sequence_hash": users["sequence_hash"].chunk(0),
        **_forecast_columns(embedded.forecasts, len(vectors)),
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


def _forecast_columns(
    forecasts: NDArray[np.float32] | None, num_users: int
) -> dict[str, "pa.Array[Any]"]:
    """A column for each of the (N, 5) forecasts; of nulls where the model makes none."""
    if forecasts is None:
        return dict.fromkeys(FORECAST_NAMES, pa.nulls(num_users, pa.float32()))
    return {name: pa.array(forecasts[:, n]) for n, name in enumerate(FORECAST_NAMES)}


@lru_cache(maxsize=1)  # a backfill ships a folder a day to the same workers
def _model_at(shipped: Path) -> "TrainedModel":
    """Loaded once a Python worker, every checksum compared. One core a task."""
    from model.training.memory import keep_freed_memory

    keep_freed_memory()
    import torch

    from model.storage.checkpoint import load_model

    torch.set_num_threads(1)
    return load_model(shipped / MODEL)


@lru_cache(maxsize=1)
def _titles_at(shipped: Path) -> pa.Table:
    """(title_id, words) by title_id; mapped, so that an executor's workers share the memory."""
    return pa.ipc.open_file(pa.memory_map(str(shipped / WORDS))).read_all()


def titles_of(sequences: DataFrame, titles: DataFrame) -> pa.Table:
    """(title_id, words) of the titles that were viewed, by title_id."""
    viewed = sequences.select(F.explode("title_ids").alias("title_id")).distinct()
    known = titles.join(viewed, "title_id").select("title_id", "words").toArrow()
    return known.sort_by("title_id").combine_chunks()


@contextmanager
def shipped_model(spark: SparkSession, model: Path, titles: pa.Table) -> Iterator[str]:
    """Send the model and the titles to every executor; gives the name to find them by there."""
    folder = Path(tempfile.mkdtemp(prefix="userbert-"))
    try:
        names = [MANIFEST_FILE, *check_model_folder(model)["files"]]
        (folder / MODEL).mkdir()
        for name in names:
            shutil.copyfile(model / name, folder / MODEL / name)
        with (
            pa.OSFile(str(folder / WORDS), "wb") as file,
            pa.ipc.new_file(file, titles.schema) as w,
        ):
            w.write_table(titles)
        spark.sparkContext.addFile(str(folder), recursive=True)
        yield folder.name
    finally:
        shutil.rmtree(folder)


def _word_measures(model: Path, titles: pa.Table) -> dict[str, float]:
    """How many words the day's titles have, and how many of them the model does not know.

    Nothing for a model that reads no words.
    """
    from model.data.vocabulary import Vocabulary

    if (model / TITLES_FILE).exists():
        return {}
    words = pc.list_flatten(titles["words"])
    share = Vocabulary.load(model / VOCABULARY_FILE).unknown_share(words)
    return {"title_words": len(words), "unknown_words": round(share * len(words))}


def _count_sequences(sequences: DataFrame) -> tuple[int, int]:
    """The users of a day, and how many different sequences of titles they have, within 5 %."""
    distinct = F.approx_count_distinct(F.xxhash64("title_ids"))
    users, title_sequences = sequences.agg(F.count(F.lit(1)), distinct).collect()[0]
    return users, title_sequences


def check_servable(model: Path) -> None:
    """Refuse a folder that is no model, or one of another width than the table's vectors."""
    settings = check_model_folder(model)["settings"].get("model")
    width = settings.get("width") if isinstance(settings, dict) else None
    if width != EMBEDDING_WIDTH:
        raise BadInput(
            f"{model.name} makes vectors of width {width}, and user_embeddings holds "
            f"{EMBEDDING_WIDTH} floats a user: pre-train with --width {EMBEDDING_WIDTH}"
        )


def update_user_embeddings(lake: Lake, places: Places, as_of: date, model_id: str) -> Commit:
    """Replace the rows of `model_id` and `as_of`."""
    model = model_folder(places, find_model(load_models(lake), model_id))
    check_servable(model)
    sequences = lake.read(USER_SEQUENCES).where(F.col("as_of") == F.lit(as_of))
    num_users, num_title_sequences = _count_sequences(sequences)
    if not num_users:
        raise MissingTable(
            f"user_sequences has no rows of {as_of}: `userbert user-sequences --as-of {as_of}` "
            "makes them, where a user had a view on the day before"
        )
    titles = titles_of(sequences, lake.read(TITLES))
    with shipped_model(lake.spark, model, titles) as shipped:
        vectors = to_embeddings(sequences, num_users, shipped, model_id, as_of)
        run, measures = f"{as_of}_{model_id}", _word_measures(model, titles)
        measures |= {"title_sequences": num_title_sequences}
        passed = run_gate(vectors, USER_EMBEDDINGS, places=places, run=run, measures=measures)
        rows = f"model_id = '{model_id}' and as_of = '{as_of}'"
        return lake.replace(passed, rows, model=model_id)


def main(as_of: AsOf, model: ModelOrChampion = None) -> None:
    places = Places.from_environment()
    with spark_job("user_embeddings") as (spark, tell):
        lake = Lake(spark, places.lake)
        tell(update_user_embeddings(lake, places, as_of, model or champion_id(lake)))
