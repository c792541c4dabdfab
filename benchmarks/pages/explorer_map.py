"""The explorer's map of many users in a real browser: first drawing, zoom, shift and lasso.

    python -m benchmarks.pages.explorer_map [--users 100000] [--rounds 5]

A lake of one day is made without Spark, the explorer serves it, and a headless Chromium, which
draws without a graphics card, walks in the map. Seconds are until the chart says that it has drawn;
CPU seconds are of Chromium's processes, so that other work on the machine counts little. The last
line is JSON.
"""

import importlib
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]
import pyarrow as pa
from deltalake import write_deltalake

from benchmarks.harness import benchmark_parser, print_result
from contracts.paths import Places
from explorer.commands import make_app
from explorer.day_reader import DayReader
from explorer.guarded_server import Door, bind_server

DAY = date(2026, 1, 6)
INTERESTS = 12
MAX_SECONDS = 0.5  # of a zoom that is felt as one movement
sys.path.append(str(Path(__file__).parents[2] / "tests"))  # which is no package
lake_rows: Any = importlib.import_module("small_lake")
small_model: Any = importlib.import_module("small_model")
browsers: Any = importlib.import_module("headless_browser")

# Fulfilled when the map has been drawn and the browser has shown it.
_DRAWN = """window.drawn = null; (() => {
  const chart = document.querySelector('#map .js-plotly-plot');
  const began = performance.now();
  chart.once('plotly_afterplot', () => requestAnimationFrame(() => setTimeout(() => {
    window.drawn = (performance.now() - began) / 1000;
  })));
  Plotly.relayout(chart, %s);
})()"""
IS_READY = """document.querySelector('#map .main-svg')
  && document.querySelector('#map-caption').textContent.includes('users of')"""


def write_lake(places: Places, users: int) -> None:
    """Users of twelve interests, a cloud of 256 numbers each; a title marks each interest."""
    rng = np.random.default_rng(20210)
    names = [f"user {number:06}" for number in range(users)]
    interests = rng.integers(0, INTERESTS, users)
    width = lake_rows.EMBEDDING_WIDTH
    centers = rng.normal(size=(INTERESTS, width)).astype(np.float32)
    spread = rng.normal(size=(users, width)).astype(np.float32)
    matrix = centers[interests] + 1.5 * spread  # (users, width)
    offsets: Any = pa.array(np.arange(users + 1, dtype=np.int32) * width)
    embeddings = pa.ListArray.from_arrays(offsets, pa.array(matrix.ravel()))
    row = lake_rows.embedding("", DAY, [1], "m1", written_at=datetime(2026, 1, 6, 2))
    own = {"user_id": names, "embedding": embeddings}
    for name in ("user_embeddings", "published_embeddings", "published_history"):
        write_columns(places, name, row, own, users)
    views = lake_rows.views("", DAY, 0)
    each: Any = pa.array(np.arange(users + 1, dtype=np.int32))
    titles = pa.ListArray.from_arrays(each, pa.array(interests.astype(np.int64)))
    write_columns(places, "user_sequences", views, {"user_id": names, "title_ids": titles}, users)
    log = {"event_date": DAY - timedelta(days=1), "title": "a title", "log_id": 0}
    own = {"user_id": names, "title_id": interests.astype(np.int64)}
    write_columns(places, "browsing_logs", log, own, users)
    known = [{"title_id": n, "title": f"interest {n}", "words": ["x"]} for n in range(INTERESTS)]
    lake_rows.write(places, "titles", known)
    small_model.save(places, "m1")


def write_columns(
    places: Places, name: str, row: dict[str, Any], own: dict[str, Any], users: int
) -> None:
    """`users` rows of a table that differ in the columns of `own` alone."""
    table = lake_rows.BY_NAME[name]
    schema = lake_rows.arrow_schema(table)
    columns = []
    for column in table.columns:
        kind = schema.field(column.name).type
        if column.name in own:
            columns.append(pa.array(own[column.name]).cast(kind))
        else:
            value = row.get(column.name, lake_rows.filler(column))
            columns.append(pa.array([value], kind).take(pa.array(np.zeros(users, np.int64))))
    folder = Path(f"{places.lake}/{name}")
    rows = pa.table(columns, schema=schema)
    write_deltalake(str(folder), rows, partition_by=list(table.partition_by) or None)
    lake_rows.record_contract(folder / "_delta_log" / f"{0:020}.json", table)


@contextmanager
def served_page(places: Places) -> Iterator[str]:
    """The address of the page, which a thread serves."""
    door = Door()
    server = bind_server(make_app(DayReader(places), door).server, 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield door.address(server.port)
    server.shutdown()
    thread.join()
    server.server_close()


class Walk:
    """A browser with the map in it, and what each step in it takes."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser
        self._processes = [
            each for each in psutil.Process().children(recursive=True) if "chrom" in each.name()
        ]

    def cpu_seconds(self) -> float:
        return sum(sum(each.cpu_times()[:2]) for each in self._processes if each.is_running())

    def first_drawing(self, address: str) -> dict[str, float]:
        started, before = time.monotonic(), self.cpu_seconds()
        self._browser.open(address, 1280, "light")
        self._browser.wait_for(IS_READY, 120)
        self._settle()
        return {"seconds": time.monotonic() - started, "cpu": self.cpu_seconds() - before}

    def relayout(self, change: dict[str, Any]) -> dict[str, float]:
        before = self.cpu_seconds()
        self._browser.value(_DRAWN % json.dumps(change))
        self._browser.wait_for("window.drawn !== null", 60)
        seconds = float(self._browser.value("window.drawn"))
        self._settle()
        return {"seconds": seconds, "cpu": self.cpu_seconds() - before}

    def lasso(self) -> dict[str, float]:
        """Around a quarter of the map, until the page has the cohort's first sentence."""
        box = self._browser.value(
            "document.querySelector('#map .nsewdrag').getBoundingClientRect().toJSON()"
        )
        x, y, w, h = (box[name] for name in ("x", "y", "width", "height"))
        corners = [(0.3, 0.3), (0.3, 0.6), (0.6, 0.6), (0.6, 0.3), (0.3, 0.3)]
        before, started = self.cpu_seconds(), time.monotonic()
        self._browser.drag([(x + a * w, y + b * h) for a, b in corners])
        self._browser.wait_for(
            "document.querySelector('#cohort-panel').textContent.includes('users. Mean cosine')",
            120,
        )
        self._settle()
        return {"seconds": time.monotonic() - started, "cpu": self.cpu_seconds() - before}

    def _settle(self) -> None:
        """Until the page does nothing any more: work that was put off belongs to its step."""
        last = self.cpu_seconds()
        for _ in range(100):
            time.sleep(0.3)
            now = self.cpu_seconds()
            if now - last < 0.03:
                break
            last = now


def walk_map(address: str, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, browsers.Browser(folder) as browser:
        walk = Walk(browser)
        figures: dict[str, Any] = {"first": walk.first_drawing(address)}
        chart = "document.querySelector('#map .js-plotly-plot')._fullLayout"
        low, high = browser.value(f"{chart}.xaxis.range")
        middle, half = (low + high) / 2, (high - low) / 2
        zooms, shifts = [], []
        for n in range(rounds):
            part = half * 0.6 ** (n + 1)
            near = {"xaxis.range": [middle - part, middle + part]}
            zooms.append(walk.relayout(near))
            right = {"xaxis.range": [middle - part / 2, middle + 1.5 * part]}
            shifts.append(walk.relayout(right))
        figures |= {"zoom": median_of(zooms), "shift": median_of(shifts)}
        walk.relayout({"xaxis.autorange": True, "yaxis.autorange": True})
        browser.value("document.querySelector('#map').scrollIntoView()")
        figures["lasso"] = walk.lasso()
    return figures


def median_of(steps: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(each[name] for each in steps) for name in steps[0]}


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--users", type=int, default=100_000, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        places = Places(Path(folder))
        write_lake(places, given.users)
        with served_page(places) as address:
            steps = walk_map(address, given.rounds)
    figures = {
        "users": given.users,
        **{
            f"{step}_{name}": round(value, 3)
            for step, found in steps.items()
            for name, value in found.items()
        },
    }
    is_kept = figures["zoom_seconds"] <= MAX_SECONDS
    print_result({"name": "explorer_map", "agree": is_kept, "figures": figures})


if __name__ == "__main__":
    main()
