"""What Spark did for each job, out of its event logs: rows, files, bytes, shuffle, spill, memory.

userbert jobs [--last 20] [--json]

Each application leaves one log below data/spark-events, which Spark's history server opens too
(userbert history-server). Rows and files in are those of the lake's tables as the scans counted
them: Delta's reading of its own log, and of cached frames, is left out. Landing files are not in
it, since Spark does not read them (spark_jobs/ingest/landing_lines.py); lines are in the job's own
words.
"""

import json as jsonlib
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import typer
from rich.table import Table as Grid

from contracts.options import AsJson
from contracts.paths import Places
from contracts.printing import grid, print_parts

KEPT = 200  # applications whose logs stay; a night leaves eight, of 0.2 to 2 MB each
RUN = "spark.userbert.run"  # which Airflow task, in the application's own settings
MIB = 1 << 20
DELTAS_OWN = ("Delta: ", "Delta checkpoint", "$anonfun$recordDelta")  # jobs that see to its log
NAME = re.compile(rb'\{"Event":"(?:[\w.]+\.)?(\w+)"')  # most lines need no more than that
MEMORY = ("JVMHeapMemory", "JVMOffHeapMemory")


@dataclass
class JobFacts:
    """One Spark application. Bytes are of files for reads (all of a file that was opened)."""

    application: str
    job: str = ""
    run: str = "by hand"
    started: str = ""  # UTC, ISO 8601
    seconds: float = 0.0
    finished: bool = False
    rows_in: dict[str, int] = field(default_factory=dict)  # by table
    files_in: dict[str, int] = field(default_factory=dict)  # by table, each opening of one
    rows_out: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    shuffle_bytes: int = 0  # written
    spilled_bytes: int = 0  # to disk
    tasks: int = 0
    failed_tasks: int = 0
    task_seconds: float = 0.0
    peak_memory_bytes: int = 0  # of the fullest JVM, heap and off-heap, sampled


def settings(folder: Path) -> dict[str, str]:
    """What a session is told so that its log lies in `folder`, which is made and kept small."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in logs(folder)[KEPT:]:
        remove(old)
    return {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": folder.absolute().as_uri(),
        "spark.eventLog.logStageExecutorMetrics": "true",
        "spark.executor.metrics.pollingInterval": "500ms",
    }


def logs(folder: Path) -> list[Path]:
    """The applications' logs, newest first."""
    found = list(folder.glob("eventlog_v2_*"))
    return sorted(found, key=lambda path: (path.stat().st_mtime, path.name), reverse=True)


def remove(log: Path) -> None:
    """Another job may be removing it too."""
    shutil.rmtree(log, ignore_errors=True)


def newest_applications(folder: Path, limit: int = 20) -> list[JobFacts]:
    """Facts of the newest `limit` applications below `folder`, newest first."""
    return [facts(log) for log in logs(folder)[:limit]]


def facts(log: Path) -> JobFacts:
    """Facts of one application; of one that still runs or was killed, as far as its log goes."""
    reading = Reading(JobFacts(log.name.removeprefix("eventlog_v2_")))
    for event in events(log):
        reading.take(event)
    return reading.told()


def events(log: Path) -> Iterator[dict[str, Any]]:
    """The events that tell facts, in order; the end of a log may be torn."""
    parts = log.glob("events_*")
    for part in sorted(parts, key=lambda path: int(path.name.split("_")[1])):
        for line in lines(part):
            name = NAME.match(line)
            if name and name[1].decode() in Reading.TAKES:
                yield jsonlib.loads(line)


def lines(part: Path) -> Iterator[bytes]:
    """Whole lines of one file, unpacked by its suffix."""
    torn = b""
    with pa.input_stream(str(part), compression=compression(part)) as stream:
        while chunk := _next(stream):
            *whole, torn = (torn + chunk).split(b"\n")
            yield from (line for line in whole if line)


def compression(part: Path) -> Literal["zstd", "detect"]:
    return "zstd" if part.suffix == ".zstd" else "detect"


def _next(stream: Any) -> bytes:
    try:
        return bytes(stream.read(MIB))
    except (OSError, pa.ArrowInvalid):
        return b""  # the writer is at it, or was killed


@dataclass
class Reading:
    """The facts so far, and what later events refer to."""

    facts: JobFacts
    began: int = 0  # ms since 1970, as are all of Spark's times
    last: int = 0
    values: Counter[int] = field(default_factory=Counter)  # of SQL metrics, by id
    scans: dict[int, tuple[str, str]] = field(default_factory=dict)  # id: (source, metric)
    deltas_own: set[int] = field(default_factory=set)  # stages
    TAKES = {  # noqa: RUF012
        "SparkListenerApplicationStart": "_application",
        "SparkListenerApplicationEnd": "_end",
        "SparkListenerEnvironmentUpdate": "_environment",
        "SparkListenerJobStart": "_job",
        "SparkListenerTaskEnd": "_task",
        "SparkListenerStageExecutorMetrics": "_memory",
        "SparkListenerSQLExecutionStart": "_plan",
        "SparkListenerSQLAdaptiveExecutionUpdate": "_plan",
        "SparkListenerDriverAccumUpdates": "_driver",
    }

    def take(self, event: dict[str, Any]) -> None:
        getattr(self, self.TAKES[event["Event"].rpartition(".")[2]])(event)

    def told(self) -> JobFacts:
        sums = {metric: Counter[str]() for metric in SCAN_METRICS}
        for metric, (source, name) in self.scans.items():
            sums[name][source] += self.values[metric]
        rows, files, sizes = (sums[name] for name in SCAN_METRICS)
        self.facts.rows_in = {source: n for source, n in sorted(rows.items()) if n}
        self.facts.files_in = {source: n for source, n in sorted(files.items()) if n}
        self.facts.bytes_read = sizes.total()
        self.facts.seconds = round(max(self.last - self.began, 0) / 1000, 1)
        self.facts.task_seconds = round(self.facts.task_seconds, 1)
        return self.facts

    def _application(self, event: dict[str, Any]) -> None:
        self.began = self.last = event["Timestamp"]
        self.facts.job = event["App Name"]
        self.facts.started = datetime.fromtimestamp(self.began / 1000, UTC).isoformat()

    def _end(self, event: dict[str, Any]) -> None:
        self.last, self.facts.finished = event["Timestamp"], True

    def _environment(self, event: dict[str, Any]) -> None:
        self.facts.run = event["Spark Properties"].get(RUN, self.facts.run)

    def _job(self, event: dict[str, Any]) -> None:
        described = event.get("Properties", {}).get("spark.job.description") or ""
        if described.startswith(DELTAS_OWN):
            self.deltas_own.update(event["Stage IDs"])

    def _task(self, event: dict[str, Any]) -> None:
        told, facts = event.get("Task Metrics") or {}, self.facts
        self.last = max(self.last, event["Task Info"]["Finish Time"])
        facts.tasks += 1
        facts.task_seconds += told.get("Executor Run Time", 0) / 1000
        facts.shuffle_bytes += told.get("Shuffle Write Metrics", {}).get("Shuffle Bytes Written", 0)
        facts.spilled_bytes += told.get("Disk Bytes Spilled", 0)
        self._heap(event.get("Task Executor Metrics") or {})
        if event["Task End Reason"]["Reason"] != "Success":
            facts.failed_tasks += 1
            return
        if event["Stage ID"] not in self.deltas_own:
            wrote = told.get("Output Metrics", {})
            facts.rows_out += wrote.get("Records Written", 0)
            facts.bytes_written += wrote.get("Bytes Written", 0)
        for metric in event["Task Info"]["Accumulables"]:
            if metric.get("Metadata") == "sql" and "Update" in metric:
                self.values[metric["ID"]] += int(metric["Update"])

    def _memory(self, event: dict[str, Any]) -> None:
        self._heap(event["Executor Metrics"])

    def _heap(self, measured: dict[str, int]) -> None:
        used = sum(measured.get(name, 0) for name in MEMORY)
        self.facts.peak_memory_bytes = max(self.facts.peak_memory_bytes, used)

    def _driver(self, event: dict[str, Any]) -> None:
        self.values.update(dict(event["accumUpdates"]))

    def _plan(self, event: dict[str, Any]) -> None:
        nodes = [event["sparkPlanInfo"]]
        while nodes:
            node = nodes.pop()
            nodes.extend(node["children"])
            if source := scanned(node):
                for metric in node["metrics"]:
                    if metric["name"] in SCAN_METRICS:
                        self.scans[metric["accumulatorId"]] = (source, metric["name"])


SCAN_METRICS = ("number of output rows", "number of files read", "size of files read")


def scanned(node: dict[str, Any]) -> str:
    """The table that a plan's node reads, by its folder's name; "" for anything else."""
    location: str = node["metadata"].get("Location", "")
    if not node["nodeName"].startswith("Scan") or "_delta_log" in location or not location:
        return ""
    path = location.partition("[")[2].split(",")[0].rstrip("].")
    return path.rpartition("/")[2]


def jobs_grid(found: list[JobFacts]) -> Grid:
    columns = "job", "run", "#s", "rows in", "#rows out", "#files", "#MiB read", "#MiB written"
    more = "#MiB shuffled", "#MiB spilled", "tasks", "#task s", "#peak MiB"
    cells = []
    for one in found:
        rows = "\n".join(f"{name} {n:,}" for name, n in one.rows_in.items())
        sizes = one.bytes_read, one.bytes_written, one.shuffle_bytes, one.spilled_bytes
        read, written, shuffled, spilled = (f"{size / MIB:,.1f}" for size in sizes)
        seconds = f"{one.seconds:,.1f}" + ("" if one.finished else " (no end)")
        failed = f" ({one.failed_tasks} failed)" if one.failed_tasks else ""
        tasks, peak = f"{one.tasks:,}{failed}", f"{one.peak_memory_bytes / MIB:,.0f}"
        files = f"{sum(one.files_in.values()):,}"
        cells.append((
            one.job, one.run, seconds, rows, one.rows_out, files, read, written,
            shuffled, spilled, tasks, f"{one.task_seconds:,.1f}", peak,
        ))  # fmt: skip
    return grid(cells, *columns, *more, title="what Spark did, newest first")


def main(
    last: Annotated[int, typer.Option("--last", help="How many applications to show.")] = 20,
    json: AsJson = False,
) -> None:
    found = newest_applications(Places.from_environment().event_logs, last)
    if json:
        sys.stdout.write(jsonlib.dumps([asdict(one) for one in found], indent=2) + "\n")
    else:
        print_parts(jobs_grid(found))
