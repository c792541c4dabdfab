"""Training arrays of the paper's size out of a lake whose titles hardly repeat: time and memory.

    python -m benchmarks.nightly.large_arrays [--users 500000] [--titles-a-view 0.8] [--scratch DIR]

The paper has 62.9 million views of 500,000 users. Here, unlike there, four of five views are of a
title of its own, so that there are 50 million titles. A child process writes a lake with their
pairs and words, another makes vocabulary and arrays of it, and its resident memory is read ten
times a second: what it has allocated, and pages of mapped files, which the system takes back at
need; first for 4,000 users, then for all. The last line is JSON.
"""

import argparse
import multiprocessing as mp
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.harness import benchmark_parser, print_line, print_result
from benchmarks.synthetic import VIEWS_A_USER, WORDS_A_TITLE

AS_OF = date(2020, 1, 1)
NUM_WORDS = 100_000
SMALL_USERS = 4_000
CHUNK_USERS, CHUNK_TITLES = 20_000, 1_000_000
POLL_SECONDS = 0.1
_GIB_BYTES = 1 << 30


@dataclass
class Peak:
    """The most that was resident of this process, in bytes."""

    allocated: int = 0
    mapped: int = 0
    together: int = 0

    def read(self) -> None:
        facts = dict(
            line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines()
        )
        sizes = [1024 * int(facts[name].split()[0]) for name in ("RssAnon", "RssFile")]
        self.allocated = max(self.allocated, sizes[0])
        self.mapped = max(self.mapped, sizes[1])
        self.together = max(self.together, sum(sizes))

    def watch(self) -> None:
        def look() -> None:
            while True:
                self.read()
                time.sleep(POLL_SECONDS)

        threading.Thread(target=look, daemon=True).start()


def title_ids(index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ids as if they were hashes: odd multiples modulo 2 ** 64 are all different."""
    return (index.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)).view(np.int64)


def _lists(offsets: Any, values: Any) -> Any:
    return pa.ListArray.from_arrays(offsets, values)


def pair_batches(num_users: int, titles_a_view: float) -> Iterator[pa.RecordBatch]:
    """One pair a user, of 63 views each side."""
    side = round(VIEWS_A_USER / 2)
    for first in range(0, num_users, CHUNK_USERS):
        users = np.arange(first, min(first + CHUNK_USERS, num_users))
        views = np.arange(users[0] * 2 * side, (users[-1] + 1) * 2 * side)
        seen = title_ids((views * titles_a_view).astype(np.int64)).reshape(len(users), 2, side)
        times = (1_577_000_000_000_000 + views * 1_000_000).reshape(len(users), 2, side)
        offsets = pa.array(np.arange(len(users) + 1, dtype=np.int32) * side)
        columns: dict[str, Any] = {
            "user_id": pa.array([f"user{user}" for user in users]),
            "pair_id": pa.array(np.zeros(len(users), np.int64)),
        }
        for column, name in enumerate("ab"):
            ids, when = pa.array(seen[:, column].ravel()), pa.array(times[:, column].ravel())
            columns[f"{name}_title_ids"] = _lists(offsets, ids)
            stamps = when.cast(pa.timestamp("us", "UTC"))
            columns[f"{name}_event_times"] = _lists(offsets, stamps)
        columns["as_of"] = pa.array([AS_OF] * len(users))
        yield pa.RecordBatch.from_pydict(columns)


def title_batches(num_titles: int) -> Iterator[pa.RecordBatch]:
    draw = np.random.default_rng(0)
    words = pa.array([f"word{number}" for number in range(NUM_WORDS)])
    for first in range(0, num_titles, CHUNK_TITLES):
        ids = title_ids(np.arange(first, min(first + CHUNK_TITLES, num_titles)))
        # (n x 10,) a word of rank r is as likely as 1 / r, nearly
        ranks = (NUM_WORDS ** draw.random(len(ids) * WORDS_A_TITLE)).astype(np.int32) - 1
        offsets = pa.array(np.arange(len(ids) + 1, dtype=np.int32) * WORDS_A_TITLE)
        texts = words.take(ranks)
        columns = {"title_id": pa.array(ids), "words": _lists(offsets, texts)}
        yield pa.RecordBatch.from_pydict(columns)


def write_lake(lake: Path, num_users: int, titles_a_view: float) -> int:
    """Its tables; how many titles there are."""
    from deltalake import write_deltalake

    num_views = num_users * 2 * round(VIEWS_A_USER / 2)
    num_titles = int((num_views - 1) * titles_a_view) + 1
    for name, batches in (
        ("sequence_pairs", pair_batches(num_users, titles_a_view)),
        ("titles", title_batches(num_titles)),
    ):
        by = ["as_of"] if name == "sequence_pairs" else None
        for batch in batches:
            write_deltalake(lake / name, pa.table(batch), mode="append", partition_by=by)
    return num_titles


def make_arrays(lake: Path, arrays: Path) -> dict[str, Any]:
    """Vocabulary and arrays, with what they cost."""
    from model.data.build_corpus import training_input

    peak, began = Peak(), time.monotonic()
    peak.watch()
    given = training_input(str(lake), AS_OF, arrays, max_words=30, max_views=100, verify=False)
    peak.read()
    size = sum(path.stat().st_size for path in arrays.rglob("*") if path.is_file())
    return {
        "seconds": round(time.monotonic() - began, 1),
        **{f"gib_{name}": round(held / _GIB_BYTES, 2) for name, held in vars(peak).items()},
        "gib_arrays": round(size / _GIB_BYTES, 2),
        "facts": given.facts,
    }


def in_child(work: Any, *arguments: Any) -> Any:
    """In a process of its own, so that one part's memory is not counted for another."""
    with mp.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def parsed_arguments() -> argparse.Namespace:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--users", type=int, default=500_000, help="default: %(default)s")
    parser.add_argument("--titles-a-view", type=float, default=0.8, help="default: %(default)s")
    parser.add_argument("--scratch", type=Path, help="an empty folder. default: a temporary one")
    return parser.parse_args()


def measure(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, num_users in (("small", SMALL_USERS), ("large", options.users)):
        lake, arrays = scratch / name / "lake", scratch / name / "arrays"
        num_titles = in_child(write_lake, lake, num_users, options.titles_a_view)
        found[name] = {"titles": num_titles, **in_child(make_arrays, lake, arrays)}
        print_line({name: found[name]})
    return found


def main() -> int:
    options = parsed_arguments()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        found = measure(options, Path(scratch))
    print_result({"name": "large arrays", "figures": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
