"""What serving costs: filling the online store, reading it, joining history, finding neighbors.

    python -m benchmarks.serving [--users 100000] [--searched 500000] [--faiss-python PATH]

materialize  `userbert features materialize` of --users vectors of 256 floats, by DuckDB, into
             SQLite and into Redis (a server of its own, from the system's package)
online       Feast's reads of one user and of 100, one after the other: requests a second
history      Feast's point-in-time join of --users rows over two days of vectors, by DuckDB and by
             Spark; the second time each is asked, as the first one starts things
neighbors    benchmarks/neighbors.py over --searched users: ours, DuckDB, numpy, Spark SQL, faiss

The last line is JSON; `ratio` is Spark's time over DuckDB's for the join.
"""

import argparse
import shutil
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from benchmarks import neighbors
from benchmarks.harness import benchmark_parser, print_line, print_result, run_timed
from contracts.errors import MissingTable
from contracts.limits import EMBEDDING_WIDTH
from contracts.paths import Places
from contracts.tables import PUBLISHED_EMBEDDINGS
from userbert.local.ports import free_port

if TYPE_CHECKING:
    import pandas as pd

    from feature_store.store import Store

VECTOR_DAYS = (neighbors.VECTOR_DAY - timedelta(days=1), neighbors.VECTOR_DAY)
USERS_PER_REQUEST = 100  # users of one request
READING_SECONDS = 10.0  # seconds
REDIS_START_SECONDS = 30.0  # seconds that Redis may take


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """A real Redis of its own; its files are in `folder`. Gives its host:port."""
    if (program := shutil.which("redis-server")) is None:
        raise MissingTable("no redis-server here: `apt install redis-server`, `brew install redis`")
    port = free_port()
    flags = ["--port", str(port), "--dir", str(folder), "--save", "3600 1"]
    server = subprocess.Popen([program, *flags], stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + REDIS_START_SECONDS
        while not _listens(port) and time.monotonic() < until:
            time.sleep(0.05)
        yield f"localhost:{port}"
    finally:
        server.terminate()
        server.wait()


def _listens(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


def write_two_days(places: Places, users: int) -> None:
    """Each user has a vector of either day."""
    from deltalake import write_deltalake

    for day in VECTOR_DAYS:
        midnight = datetime(day.year, day.month, day.day)
        batches = (_of_day(batch, midnight) for batch in neighbors.synthetic_vectors(users))
        write_deltalake(
            f"{places.lake}/{PUBLISHED_EMBEDDINGS.name}",
            pa.RecordBatchReader.from_batches(next(neighbors.synthetic_vectors(1)).schema, batches),
            partition_by=list(PUBLISHED_EMBEDDINGS.partition_by),
            mode="append",
        )


def _of_day(batch: pa.RecordBatch, midnight: datetime) -> pa.RecordBatch:
    other: dict[str, Any] = {"as_of": midnight.date(), "as_of_time": midnight}
    columns = [
        pa.array([other[name]] * len(batch), batch.schema.field(name).type)
        if name in other
        else batch[name]
        for name in batch.schema.names
    ]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


@dataclass(frozen=True)
class Serving:
    """The folder of the table, and how many users it has."""

    root: Path
    users: int

    def store(self, name: str, **stores: dict[str, Any]) -> "Store":
        """One of several Feast repos over the one table: `root`/NAME links the lake."""
        import yaml  # type: ignore[import-untyped]

        from feature_store import store

        places = Places(self.root / name)
        places.feature_store.mkdir(parents=True)
        Path(places.lake).symlink_to(self.root / "lake")
        default = Path(store.__file__).with_name(store.SETTINGS_FILE).read_text()
        settings = yaml.safe_load(default) | stores
        (places.feature_store / store.SETTINGS_FILE).write_text(yaml.safe_dump(settings))
        return store.Store(places)

    def fill(self, store: "Store") -> float:
        """Seconds of the materialization."""
        from feature_store.published import Published

        published = Published.open(store.places)
        store.apply(published)
        seconds, there = run_timed(lambda: store.materialize(published, VECTOR_DAYS[-1]))
        assert there == self.users
        return seconds

    def read(self, store: "Store", batch: int) -> float:
        """Requests a second, of `batch` users each, of users far apart."""
        names = [f"user{row * 7_919 % self.users:08d}" for row in range(batch * 1_000)]
        store.get(names[:batch])
        began, requests = time.perf_counter(), 0
        while (spent := time.perf_counter() - began) < READING_SECONDS:
            start = requests * batch % len(names)
            found = store.get(names[start : start + batch])
            requests += 1
        assert found["model_id"].notna().all()
        return requests / spent

    def asked(self) -> "pd.DataFrame":
        """A row a user, at hours from the day before the first vector to that after the last."""
        import pandas as pd

        first = datetime(VECTOR_DAYS[0].year, VECTOR_DAYS[0].month, VECTOR_DAYS[0].day) - timedelta(
            days=1
        )
        times = [first + timedelta(hours=row * 31 % 96) for row in range(self.users)]
        names = [f"user{row:08d}" for row in range(self.users)]
        return pd.DataFrame({"user_id": names, "event_timestamp": pd.to_datetime(times, utc=True)})

    def join(self, store: "Store") -> tuple[float, int]:
        """(seconds of the second time, rows with a vector)."""
        rows = self.asked()
        for _ in range(2):
            seconds, found = run_timed(lambda: store.history(rows))
        return seconds, int(found["model_id"].notna().sum())


def measure_serving(users: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as address:
        serving = Serving(Path(folder), users)
        write_two_days(Places(serving.root), users)
        sqlite = serving.store("sqlite")
        redis = serving.store("redis", online_store={"type": "redis", "connection_string": address})
        measures: dict[str, Any] = {}
        for name, store in (("sqlite", sqlite), ("redis", redis)):
            measures[f"materialize_seconds_{name}"] = serving.fill(store)
            for batch in (1, USERS_PER_REQUEST):
                measures[f"requests_a_second_{name}_{batch}"] = serving.read(store, batch)
            print_line(round_floats(measures))
        utc = {"spark.sql.session.timeZone": "UTC"}
        spark = serving.store("spark", offline_store={"type": "spark", "spark_conf": utc})
        serving.fill(spark)
        rows = {}
        for name, store in (("duckdb", sqlite), ("spark", spark)):
            measures[f"history_seconds_{name}"], rows[name] = serving.join(store)
        assert rows["duckdb"] == rows["spark"]
        measures["history_rows_with_a_vector"] = rows["spark"]
        return measures


def round_floats(measures: dict[str, Any]) -> dict[str, Any]:
    return {k: round(v, 3) if isinstance(v, float) else v for k, v in measures.items()}


def arg_parser() -> argparse.ArgumentParser:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--searched", type=int, default=500_000, help="0: leave neighbors out")
    parser.add_argument("--rounds", type=int, default=5, help="of the search")
    parser.add_argument("--faiss-python", metavar="PATH", help="an interpreter that has faiss")
    return parser


def main(users: int, searched: int, rounds: int, faiss_python: str | None) -> None:
    warnings.filterwarnings("ignore", module="feast")
    found = {}
    if searched:
        found = neighbors.compare_searches(searched, rounds, True, faiss_python)
        print_line(found)
    measures = measure_serving(users)
    print_result(
        {
            "name": f"serving {users:,} x {EMBEDDING_WIDTH}",
            "ratio": round(
                measures["history_seconds_spark"] / measures["history_seconds_duckdb"], 1
            ),
            "figures": round_floats(measures),
            "neighbors": found,
        }
    )


if __name__ == "__main__":
    main(**vars(arg_parser().parse_args()))
