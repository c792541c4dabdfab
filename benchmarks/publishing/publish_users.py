"""Publishing everybody: time, bytes and memory of the table that readers read, by the users.

    python -m benchmarks.publishing.publish_users [--users 10000 50000] [--for 500000]

For each number, made vectors of 256 floats of one day lie in user_embeddings, and the nightly
job's own function publishes them: the gate, the commit, and the history of publications. Then
DuckDB reads every vector once. CPU seconds are of all processes, JVM included. From the two largest
numbers a line is drawn to --for users. The last line is JSON.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from benchmarks.harness import benchmark_parser, measure_processes, print_line, print_result
from contracts.limits import EMBEDDING_WIDTH
from contracts.paths import Places
from contracts.tables import PUBLISHED_EMBEDDINGS, PUBLISHED_HISTORY, USER_EMBEDDINGS
from spark_jobs.lake.lake import Lake
from spark_jobs.spark.session import session
from spark_jobs.tables.published_embeddings import publish_day
from tests.faults.as_known_trials import FIRST_DAY, MODEL, make_champion

_BATCH_USERS = 10_000
_READ_SQL = "SELECT sum(list_dot_product(embedding, embedding)) FROM published"


def write_vectors(places: Places, users: int) -> None:
    """Rows of user_embeddings of one day, in the schema of the contracts."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
    from small_lake import arrow_schema, record_contract  # type: ignore[import-not-found]

    schema, path = arrow_schema(USER_EMBEDDINGS), f"{places.lake}/{USER_EMBEDDINGS.name}"
    batches = pa.RecordBatchReader.from_batches(schema, _batches(schema, users))
    write_deltalake(path, batches, partition_by=list(USER_EMBEDDINGS.partition_by))
    record_contract(Path(path) / "_delta_log" / f"{0:020}.json", USER_EMBEDDINGS)


def _batches(schema: pa.Schema, users: int) -> Iterator[pa.RecordBatch]:
    rng = np.random.default_rng(0)
    midnight = datetime.combine(FIRST_DAY, datetime.min.time(), UTC)
    for start in range(0, users, _BATCH_USERS):
        number = min(_BATCH_USERS, users - start)
        vectors = rng.standard_normal((number, EMBEDDING_WIDTH), np.float32)  # (B, D)
        offsets: Any = pa.array(np.arange(number + 1, dtype=np.int32) * EMBEDDING_WIDTH)
        made: dict[str, Any] = {
            "model_id": [MODEL] * number,
            "as_of": [FIRST_DAY] * number,
            "user_id": [f"u{start + n}" for n in range(number)],
            "embedding": pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel())),
            "norm": np.linalg.norm(vectors.astype(np.float64), axis=1),
            "num_views": np.ones(number, np.int32),
            "last_view_time": [midnight - timedelta(hours=1)] * number,
            "sequence_hash": rng.integers(1 << 60, size=number),
        }
        columns = [
            made[field.name].cast(field.type)
            if field.name == "embedding"
            else pa.array(made.get(field.name, [None] * number), field.type)
            for field in schema
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def measure_users(spark: Any, users: int) -> dict[str, float]:
    from feature_store.published import Published

    with tempfile.TemporaryDirectory() as folder:
        places = Places(Path(folder))
        lake = Lake(spark, places.lake)
        make_champion(lake, places)
        write_vectors(places, users)
        with measure_processes() as published:
            publish_day(lake, places, FIRST_DAY)
        opened, began = Published.open(places), time.process_time()
        opened.connection.execute(_READ_SQL).fetchall()
        reading = time.process_time() - began
        sizes = [lake.log(each).size_bytes() for each in (PUBLISHED_EMBEDDINGS, PUBLISHED_HISTORY)]
    return {
        "users": users,
        "publish_seconds": published.seconds,
        "publish_cpu_seconds": published.cpu_seconds,
        "peak_bytes": published.peak_bytes,
        "table_bytes": sizes[0],
        "history_bytes": sizes[1],
        "read_cpu_seconds": round(reading, 2),
    }


def figures_for(found: Sequence[dict[str, float]], users: int) -> dict[str, float]:
    """On the line through the two largest; memory, which does not grow by the row, is left out."""
    one, other = sorted(found, key=lambda each: each["users"])[-2:]
    share = (users - other["users"]) / (other["users"] - one["users"])
    names = [name for name in other if name not in ("users", "peak_bytes")]
    return {name: round(other[name] + share * (other[name] - one[name]), 1) for name in names}


def arg_parser() -> argparse.ArgumentParser:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--users", type=int, nargs="+", default=[10_000, 50_000])
    parser.add_argument("--for", type=int, default=500_000, dest="wanted")
    return parser


def main(users: list[int], wanted: int) -> None:
    found = []
    with session("publish", logged=False) as spark:
        measure_users(spark, 100)  # warms the process up
        for number in users:
            found.append(measure_users(spark, number))
            print_line(found[-1])
    figures: dict[str, Any] = {"measured": found}
    if len(found) > 1:
        figures[f"for_{wanted}"] = figures_for(found, wanted)
    print_result({"name": "publish_users", "figures": figures})


if __name__ == "__main__":
    main(**vars(arg_parser().parse_args()))
