"""A night of the demo in Airflow: one Spark application against one for each table.

    python -m benchmarks.nightly.one_application --root DATA [--nights 2]

DATA is a data root on which `make run` has ended; it is copied twice, and not changed. Each copy
gets an Airflow of its own and the next days of the demo's logs, and runs their nights: by the DAG
`nightly`, and by one with a Spark application a table (nightly_apart.py). The first night is
not counted: it warms the disk's cache. The copies' tables must be equal afterwards. The last line
is JSON; `ratio` is how many times as long the night with an application a table takes.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from benchmarks.harness import benchmark_parser, print_line, print_result
from contracts.commands import DAGS_FOLDER
from contracts.paths import Places
from contracts.tables import WRITTEN_AT, Table
from spark_jobs.spark.process_cost import measure_processes
from userbert.local.airflow_processes import running_airflow
from userbert.report.subject import Subject
from userbert.scheduling.airflow_api import Airflow

APART_DAG = Path(__file__).with_name("nightly_apart.py")
_WAIT_SECONDS = 0.5


@dataclass(frozen=True)
class Night:
    """One run of a DAG: from the moment that it was queued until it ended."""

    dag: str
    as_of: date
    seconds: float
    cpu_seconds: float
    tasks: dict[str, float]


@contextmanager
def dags_of_both(folder: Path) -> Iterator[None]:
    """Airflow reads the project's DAGs and the one that is compared."""
    shutil.copytree(DAGS_FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(APART_DAG, folder)
    os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(folder)
    try:
        yield
    finally:
        del os.environ["AIRFLOW__CORE__DAGS_FOLDER"]


def copied_root(root: Path, folder: Path, days: list[date]) -> Places:
    """A copy of the root with the demo's logs of `days` in its landing folder."""
    from landing import completejourney

    shutil.copytree(root, folder)
    os.environ["USERBERT_DATA"] = str(folder)
    completejourney.main(from_day=days[0], to_day=days[-1])
    return Places(folder)


def run_night(airflow: Airflow, dag: str, as_of: date) -> Night:
    with measure_processes() as cost:
        run = airflow.trigger(dag, {"as_of": str(as_of)})
        while (state := airflow.dag_run(dag, run)["state"]) not in ("success", "failed"):
            time.sleep(_WAIT_SECONDS)
    if state == "failed":
        raise SystemExit(f"{dag} of {as_of} failed")
    facts = airflow.dag_run(dag, run)
    tasks = {task["task_id"]: task["duration"] for task in airflow.task_instances(dag, run)}
    began, ended = (datetime.fromisoformat(facts[name]) for name in ("queued_at", "end_date"))
    return Night(dag, as_of, (ended - began).total_seconds(), cost.cpu_seconds, tasks)


def run_nights(places: Places, dag: str, days: list[date]) -> Iterator[Night]:
    with running_airflow(places) as airflow:
        airflow.call("PATCH", f"/api/v2/dags/{dag}", {"is_paused": False})
        for day in days:
            yield run_night(airflow, dag, day + timedelta(days=1))


def rows_of(places: Places, table: Table) -> pa.Table:
    """The rows without when they were written, in the order of their key."""
    names = [name for name in table.names if name != WRITTEN_AT]
    rows = DeltaTable(f"{places.lake}/{table.name}").to_pyarrow_dataset().to_table(names)
    return rows.sort_by([(name, "ascending") for name in table.key])


def parsed_arguments() -> argparse.Namespace:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--root", type=Path, default=Path("data"), help="default: %(default)s")
    parser.add_argument("--nights", type=int, default=2, help="after the first. default: 2")
    return parser.parse_args()


def main() -> int:
    options = parsed_arguments()
    last = max(path.name for path in (options.root / "landing").glob("????-??-??"))
    first = date.fromisoformat(last) + timedelta(days=1)
    days = [first + timedelta(days=n) for n in range(options.nights + 1)]
    nights: dict[str, list[Night]] = {}
    with tempfile.TemporaryDirectory() as scratch, dags_of_both(Path(scratch) / "dags"):
        copies = {}
        for dag in ("nightly_apart", "nightly"):
            copies[dag] = copied_root(options.root, Path(scratch) / dag, days)
            nights[dag] = []
            for night in run_nights(copies[dag], dag, days):
                nights[dag].append(night)
                print_line({**vars(night), "as_of": str(night.as_of)})
        apart, ours = copies.values()
        written = Subject("night", first, first).tables
        unequal = [t.name for t in written if not rows_of(apart, t).equals(rows_of(ours, t))]
    figures: dict[str, Any] = {"unequal": unequal}
    for dag, found in nights.items():
        counted = found[1:]
        figures[f"{dag}_seconds"] = sum(night.seconds for night in counted) / len(counted)
        figures[f"{dag}_cpu_seconds"] = sum(night.cpu_seconds for night in counted) / len(counted)
    ratio = figures["nightly_apart_seconds"] / figures["nightly_seconds"]
    print_result(
        {"name": "night", "ratio": round(ratio, 2), "agree": not unequal, "figures": figures}
    )
    return 1 if unequal else 0


if __name__ == "__main__":
    sys.exit(main())
