"""Everybody at once: what embedding and publishing all users takes, by their number.

    python -m benchmarks.publishing.everybody [--users 50000 500000] [--views 20] [--preset small]

For each number, made sequences of one day lie in user_sequences. The nightly jobs' own functions
embed them by an untrained model of the preset's shape, whose titles are few, and publish the
vectors: 256 floats a user, the gates, the commits, and the history of publications. Then DuckDB
reads every published vector once. Sessions are left out, so nobody's coverage is counted. CPU
seconds are of all processes, JVM and Python's workers included. A line of JSON a number; the last
line is JSON too.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from benchmarks.harness import (
    benchmark_parser,
    print_line,
    print_result,
)
from contracts.instants import midnight_microseconds
from contracts.limits import EMBEDDING_WIDTH
from contracts.paths import Places
from contracts.tables import (
    PUBLISHED_EMBEDDINGS,
    PUBLISHED_HISTORY,
    USER_EMBEDDINGS,
    USER_SEQUENCES,
)
from model.config import PRESETS
from spark_jobs.lake.lake import Lake
from spark_jobs.spark.process_cost import ProcessCost, measure_processes
from spark_jobs.spark.session import session
from spark_jobs.tables.models import change_models
from spark_jobs.tables.published_embeddings import publish_day
from spark_jobs.tables.user_embeddings import update_user_embeddings
from tests.faults.as_known_trials import FIRST_DAY

_BATCH_USERS = 50_000
_VIEW_MICROSECONDS = 60_000_000  # from one view to the next
_READ_SQL = "SELECT sum(list_dot_product(embedding, embedding)) FROM published"


def make_model(lake: Lake, places: Places, preset: str) -> tuple[str, list[int]]:
    """The id of an untrained champion of the preset's shape, and the titles that it knows."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
    from small_corpus import (  # type: ignore[import-not-found]
        INTERESTS,
        TITLES_AN_INTEREST,
        interests,
    )

    from model.training.distributed import Processes
    from model.training.pretrain import pretrain_model
    from spark_jobs.registry.model_status import with_champion
    from spark_jobs.registry.registration import model_from_folder

    given, config = interests(places), PRESETS[preset]
    config = replace(config, steps=0, model=replace(config.model, width=EMBEDDING_WIDTH))
    folder = pretrain_model(given, config, places.models, Processes(), threads=1)
    made = model_from_folder(folder)
    change_models(
        lake,
        places,
        made.model_id,
        lambda now: with_champion({made.model_id: made}, made.model_id, "-"),
    )
    titles = [100 * i + n for i in range(INTERESTS) for n in range(TITLES_AN_INTEREST)]
    return made.model_id, titles


def write_sequences(places: Places, users: int, views: int, titles: list[int]) -> None:
    """Rows of user_sequences of one day, in the schema of the contracts."""
    from small_lake import arrow_schema, record_contract  # type: ignore[import-not-found]

    schema, path = arrow_schema(USER_SEQUENCES), f"{places.lake}/{USER_SEQUENCES.name}"
    batches = pa.RecordBatchReader.from_batches(schema, _batches(schema, users, views, titles))
    write_deltalake(path, batches, partition_by=list(USER_SEQUENCES.partition_by))
    record_contract(Path(path) / "_delta_log" / f"{0:020}.json", USER_SEQUENCES)


def _batches(
    schema: pa.Schema, users: int, views: int, titles: list[int]
) -> Iterator[pa.RecordBatch]:
    rng, midnight = np.random.default_rng(0), midnight_microseconds(FIRST_DAY)
    for start in range(0, users, _BATCH_USERS):
        number = min(_BATCH_USERS, users - start)
        ids = rng.choice(titles, number * views)  # (B * V,)
        newest = midnight - rng.integers(1, 86_400_000_000, number)  # (B,)
        ages = np.arange(views - 1, -1, -1) * _VIEW_MICROSECONDS  # (V,)
        times = (newest[:, None] - ages).ravel()  # (B * V,)
        offsets: Any = pa.array(np.arange(number + 1, dtype=np.int32) * views)
        columns: dict[str, Any] = {
            "as_of": pa.array([FIRST_DAY] * number),
            "user_id": pa.array([f"u{start + n:07}" for n in range(number)]),
            "title_ids": pa.ListArray.from_arrays(offsets, pa.array(ids)),
            "event_times": pa.ListArray.from_arrays(
                offsets, pa.array(times).cast(pa.timestamp("us", "UTC"))
            ),
            "num_views": pa.array(np.full(number, views, np.int32)),
            "last_view_time": pa.array(newest).cast(pa.timestamp("us", "UTC")),
            "sequence_hash": pa.array(rng.integers(1 << 60, size=number)),
        }
        arrays = [columns[field.name].cast(field.type) for field in schema]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def measure_users(spark: Any, users: int, views: int, preset: str) -> dict[str, Any]:
    """Figures of one number of users, on a lake of their own."""
    from feature_store.published import Published

    with tempfile.TemporaryDirectory() as folder:
        places = Places(Path(folder))
        lake = Lake(spark, places.lake)
        model_id, titles = make_model(lake, places, preset)
        write_sequences(places, users, views, titles)
        with measure_processes() as embedding:
            update_user_embeddings(lake, places, FIRST_DAY, model_id)
        with measure_processes() as publishing:
            publish_day(lake, places, FIRST_DAY)
        opened, began = Published.open(places), time.process_time()
        opened.connection.execute(_READ_SQL).fetchall()
        reading = time.process_time() - began
        tables = (USER_EMBEDDINGS, PUBLISHED_EMBEDDINGS, PUBLISHED_HISTORY)
        sizes = {table.name: lake.log(table).size_bytes() for table in tables}
    return {
        "users": users,
        "embed": _cost(embedding),
        "publish": _cost(publishing),
        "bytes": sizes,
        "read_cpu_seconds": round(reading, 2),
    }


def _cost(cost: ProcessCost) -> dict[str, float]:
    gigabytes = round(cost.peak_bytes / 1e9, 2)
    return {"seconds": cost.seconds, "cpu_seconds": cost.cpu_seconds, "peak_GB": gigabytes}


def arg_parser() -> argparse.ArgumentParser:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--users", type=int, nargs="+", default=[50_000, 500_000])
    parser.add_argument("--views", type=int, default=20, help="of each user")
    parser.add_argument("--preset", choices=PRESETS, default="small")
    return parser


def main(users: list[int], views: int, preset: str) -> None:
    found = []
    with session("everybody", logged=False) as spark:
        measure_users(spark, 100, views, preset)  # warms the process up
        for number in users:
            found.append(measure_users(spark, number, views, preset))
            print_line(found[-1])
    print_result({"name": f"everybody, {preset}, {views} views a user", "figures": found})


if __name__ == "__main__":
    main(**vars(arg_parser().parse_args()))
