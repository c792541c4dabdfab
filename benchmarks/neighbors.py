"""Nearest neighbors of one and of 64 users over 500,000 x 256, exact, from a Delta table.

    python -m benchmarks.neighbors [--users 500000] [--rounds 5] [--spark] [--faiss-python PATH]

ours    `lake.embeddings()` and `nearest`: `cold` makes the copy of the vectors first, `open` is a
        new process up to its first answer, `warm` is the search alone
duckdb  list_cosine_similarity over the Delta table: what SQL gives without us
numpy   one product with unit vectors in memory, and argpartition, without reading the table
faiss   IndexFlatIP over the same unit vectors, without building it, by an interpreter that has it
spark   vector_cosine_similarity over the Delta table, the second time it is asked

They take turns, so that other work on the machine affects all alike. `ratio` is DuckDB's time
over ours, for one user. The last line is JSON.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, date, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.harness import benchmark_parser, print_result
from contracts.forecasts import FORECAST_NAMES
from contracts.limits import EMBEDDING_WIDTH
from contracts.paths import Places
from contracts.tables import PUBLISHED_EMBEDDINGS

NUM_NEAREST = 10
NUM_ASKED = (1, 64)
VECTOR_DAY = date(2026, 1, 2)
ROWS_PER_BATCH = 20_000
NUM_CLUSTERS = 200
FAISS_PROGRAM = """
import json, sys, time, faiss, numpy as np
faiss.omp_set_num_threads(int(sys.argv[4]))
units, asked = np.load(sys.argv[1]), np.load(sys.argv[2])
index = faiss.IndexFlatIP(units.shape[1]); index.add(units)
answers = {}
for number in (1, 64):
    times = []
    for _ in range(int(sys.argv[3])):
        began = time.perf_counter()
        cosine, rows = index.search(units[asked[:number]], 11)
        times.append(time.perf_counter() - began)
    answers[str(number)] = {"seconds": times, "rows": rows.tolist()}
print(json.dumps(answers))
"""

Answer = list[list[str]]  # of each user asked for the K nearest, nearest first


def synthetic_vectors(users: int) -> Iterator[pa.RecordBatch]:
    """Users around CLUSTERS centres, with as much of their own; equal numbers for equal `users`."""
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((NUM_CLUSTERS, EMBEDDING_WIDTH), dtype=np.float32)
    midnight = datetime(VECTOR_DAY.year, VECTOR_DAY.month, VECTOR_DAY.day, tzinfo=UTC)
    for start in range(0, users, ROWS_PER_BATCH):
        number = min(ROWS_PER_BATCH, users - start)
        own = generator.standard_normal((number, EMBEDDING_WIDTH), dtype=np.float32)
        vectors: Any = (own + centres[generator.integers(NUM_CLUSTERS, size=number)]).ravel()
        ends: Any = np.arange(0, vectors.size + 1, EMBEDDING_WIDTH, dtype=np.int32)
        columns: dict[str, Any] = {
            "as_of": pa.array([VECTOR_DAY] * number),
            "user_id": pa.array([f"user{row:08d}" for row in range(start, start + number)]),
            "as_of_time": pa.array([midnight] * number, pa.timestamp("us", "UTC")),
            "model_id": pa.array(["made-up"] * number),
            "embedding": pa.ListArray.from_arrays(pa.array(ends), pa.array(vectors)),
            "norm": pa.array(np.linalg.norm(vectors.reshape(number, -1), axis=1).astype(float)),
            "num_views": pa.array([1] * number, pa.int32()),
            "last_view_time": pa.array(
                [midnight - timedelta(hours=1)] * number, pa.timestamp("us", "UTC")
            ),
            "sequence_hash": pa.array(list(range(start, start + number))),
            **dict.fromkeys(FORECAST_NAMES, pa.nulls(number, pa.float32())),
        }
        yield pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


def write_table(places: Places, users: int) -> None:
    from deltalake import write_deltalake

    first = next(synthetic_vectors(1))
    write_deltalake(
        f"{places.lake}/{PUBLISHED_EMBEDDINGS.name}",
        pa.RecordBatchReader.from_batches(first.schema, synthetic_vectors(users)),
        partition_by=list(PUBLISHED_EMBEDDINGS.partition_by),
    )


def asked_rows(users: int) -> list[int]:
    rows: list[int] = np.linspace(0, users - 1, max(NUM_ASKED)).astype(int).tolist()
    return rows


# Each search below runs in a process of its own, which keeps what it has opened.
OPENED_ONCE: dict[str, Any] = {}


def search_cold(root: Path, users: int, number: int) -> tuple[float, Answer]:
    """The copy is made anew."""
    shutil.rmtree(root / "neighbors", ignore_errors=True)
    OPENED_ONCE.clear()
    return search_ours(root, users, number)


def search_ours(root: Path, users: int, number: int) -> tuple[float, Answer]:
    from analyst import open_lake
    from analyst.vectors.search import nearest_rows

    began = time.perf_counter()
    if "vectors" not in OPENED_ONCE:
        OPENED_ONCE["vectors"] = open_lake(Places(root)).embeddings()
    vectors = OPENED_ONCE["vectors"]
    rows = np.array(asked_rows(users)[:number])
    found = nearest_rows(vectors, vectors.matrix[rows], NUM_NEAREST + 1).rows
    seconds = time.perf_counter() - began
    return seconds, without_themselves(rows, found, vectors.user_ids)


def search_duckdb(root: Path, users: int, number: int) -> tuple[float, Answer]:
    from analyst import open_lake

    lake = OPENED_ONCE.setdefault("lake", open_lake(Places(root)))
    names = [f"user{row:08d}" for row in asked_rows(users)[:number]]
    began = time.perf_counter()
    found = lake.connection.execute(
        f"""WITH asked AS (
            SELECT user_id, embedding FROM published_embeddings WHERE user_id IN $names
        )
        SELECT asked.user_id, arg_max(near.user_id, list_cosine_similarity(
            near.embedding, asked.embedding), {NUM_NEAREST})
        FROM published_embeddings AS near JOIN asked ON near.user_id <> asked.user_id
        GROUP BY asked.user_id ORDER BY asked.user_id""",
        {"names": names},
    ).fetchall()
    return time.perf_counter() - began, [nearest for _, nearest in found]


def search_numpy(root: Path, users: int, number: int) -> tuple[float, Answer]:
    units = OPENED_ONCE.setdefault("units", np.load(root / "units.npy"))
    rows = np.array(asked_rows(users)[:number])
    began = time.perf_counter()
    cosine = units[rows] @ units.T
    near = np.argpartition(-cosine, NUM_NEAREST, axis=1)[:, : NUM_NEAREST + 1]
    order = np.argsort(-np.take_along_axis(cosine, near, axis=1), axis=1)
    found = np.take_along_axis(near, order, axis=1)
    return time.perf_counter() - began, without_themselves(rows, found)


def search_spark(root: Path, users: int, number: int) -> tuple[float, Answer]:
    from analyst.lake_access.spark_views import register_views
    from spark_jobs.spark.session import session

    if "spark" not in OPENED_ONCE:
        OPENED_ONCE["spark"] = session("neighbors")
        register_views(OPENED_ONCE["spark"], Places(root))
    names = ", ".join(f"'user{row:08d}'" for row in asked_rows(users)[:number])
    began = time.perf_counter()
    found = OPENED_ONCE["spark"].sql(
        f"""SELECT asked.user_id, max_by(near.user_id, vector_cosine_similarity(
            near.embedding, asked.embedding), {NUM_NEAREST}) AS nearest
        FROM published_embeddings AS near
        JOIN (SELECT user_id, embedding FROM published_embeddings WHERE user_id IN ({names})) asked
            ON near.user_id <> asked.user_id
        GROUP BY asked.user_id ORDER BY asked.user_id"""
    )
    nearest = [row["nearest"] for row in found.collect()]
    return time.perf_counter() - began, nearest


def without_themselves(rows: Any, found: Any, user_ids: Any = None) -> Answer:
    return [
        [
            f"user{row:08d}" if user_ids is None else str(user_ids[row])
            for row in near
            if row != own
        ][:NUM_NEAREST]
        for own, near in zip(rows, found, strict=True)
    ]


def peak_gib() -> float:
    """Of this process alone: getrusage would count what its parent held when it was started."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


def write_units(root: Path) -> None:
    """What numpy and faiss search, next to the table."""
    from analyst import open_lake

    np.save(root / "units.npy", open_lake(Places(root)).embeddings().units())


def command_seconds(root: Path, users: int) -> float:
    """`userbert neighbors` from the shell, the copy being there."""
    name = f"user{asked_rows(users)[1]:08d}"
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "userbert.cli", "neighbors", name],
        env={**os.environ, "USERBERT_DATA": str(root)},
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - began


Search = Callable[[Path, int, int], tuple[float, Answer]]


def compare_searches(
    users: int, rounds: int, with_spark: bool, faiss_python: str | None
) -> dict[str, Any]:
    ways: dict[str, Search] = {"ours": search_ours, "duckdb": search_duckdb, "numpy": search_numpy}
    ways |= {"spark": search_spark} if with_spark else {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_table(Places(root), users)
        cold = [in_a_new_process(search_cold, root, users)[0] for _ in range(2)]
        opened = [in_a_new_process(search_ours, root, users)[0] for _ in range(rounds)]
        command = [command_seconds(root, users) for _ in range(rounds)]
        in_a_new_process(write_units, root)
        seconds, answers, memory = take_turns(ways, root, users, rounds)
        if faiss_python:
            answers_of_faiss = ask_faiss(faiss_python, root, users, rounds)
            for number in NUM_ASKED:
                seconds["faiss", number] = answers_of_faiss[str(number)]["seconds"]
                rows = np.array(asked_rows(users)[:number])
                answers["faiss", number] = without_themselves(
                    rows, answers_of_faiss[str(number)]["rows"]
                )
    middle = {f"{way} {n}": statistics.median(each) for (way, n), each in seconds.items()}
    return {
        "name": f"neighbors of {users:,} x {EMBEDDING_WIDTH}",
        "ratio": round(middle["duckdb 1"] / middle["ours 1"], 1),
        "agree": all(
            have_equal_users(answers["ours", n], each) for (_, n), each in answers.items()
        ),
        "figures": {
            "seconds": {way: round(each, 4) for way, each in middle.items()},
            "seconds_ours_cold": round(statistics.median(cold), 2),
            "seconds_ours_open": round(statistics.median(opened), 3),
            "seconds_command": round(statistics.median(command), 2),
            "memory_gib": {way: round(each, 2) for way, each in memory.items()},
        },
    }


def in_a_new_process(task: Callable[..., Any], *given: Any) -> Any:
    given = (*given, 1) if task in (search_ours, search_cold) else given
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(task, *given).result()


def take_turns(
    ways: dict[str, Search], root: Path, users: int, rounds: int
) -> tuple[dict[tuple[str, int], list[float]], dict[tuple[str, int], Answer], dict[str, float]]:
    """Seconds of each round but the first, which opens things, and the answers."""
    pools = {way: ProcessPoolExecutor(1, mp_context=get_context("spawn")) for way in ways}
    seconds: dict[tuple[str, int], list[float]] = {}
    answers = {}
    for turn in range(rounds + 1):
        for number in NUM_ASKED:
            for way, pool in pools.items():
                if way in ("duckdb", "spark") and number > 1 and turn > 1:
                    continue  # what takes many seconds is measured once
                took, answer = pool.submit(ways[way], root, users, number).result()
                answers[way, number] = answer
                if turn:
                    seconds.setdefault((way, number), []).append(took)
    in_python = [way for way in ways if way != "spark"]  # whose memory is that of a JVM
    memory = {way: pools[way].submit(peak_gib).result() for way in in_python}
    for pool in pools.values():
        pool.shutdown()
    return seconds, answers, memory


def ask_faiss(python: str, root: Path, users: int, rounds: int) -> dict[str, Any]:
    np.save(root / "asked.npy", np.array(asked_rows(users)))
    files = [str(root / "units.npy"), str(root / "asked.npy"), str(rounds), "2"]
    run = subprocess.run(
        [python, "-c", FAISS_PROGRAM, *files], check=True, capture_output=True, text=True
    )
    answers_of_faiss: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return answers_of_faiss


def have_equal_users(ours: Answer, theirs: Answer) -> bool:
    """The same users; those that single precision cannot tell apart may have changed places."""
    return all(set(a) == set(b) for a, b in zip(ours, theirs, strict=True))


def arg_parser() -> argparse.ArgumentParser:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--users", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--spark", action="store_true", help="ask Spark SQL too: minutes")
    parser.add_argument("--faiss-python", metavar="PATH", help="an interpreter that has faiss")
    return parser


def main(users: int, rounds: int, spark: bool, faiss_python: str | None) -> None:
    print_result(compare_searches(users, rounds, spark, faiss_python))


if __name__ == "__main__":
    main(**vars(arg_parser().parse_args()))
