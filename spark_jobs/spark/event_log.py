"""What Spark did for each job, read from its event logs: rows, bytes, shuffle, spill, memory.

userbert jobs [--last 20] [--json]

Each application leaves one log below data/spark-events, which Spark's history server opens too
(userbert history-server). Rows and files in are those of the lake's tables as the scans counted
them: Delta's reading of its own log, and of cached frames, is left out. Landing files are not in
it, since Spark does not read them (spark_jobs/ingest); the job itself prints the number of lines.
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

from contracts.paths import Places
from contracts.terminal.options import AsJson
from contracts.terminal.printing import grid, print_parts

_MAX_LOGS = 200  # applications whose logs stay; a night leaves eight, of 0.2 to 2 MB each
_MIN_LOG_BYTES = 1 << 20  # of a short job
RUN_SETTING = "spark.userbert.run"  # which Airflow task, in the application's own settings
_MIB = 1 << 20
_DELTA_JOBS = (
    "Delta: ",
    "Delta checkpoint",
    "$anonfun$recordDelta",
)  # descriptions of the Spark jobs by which Delta reads and writes its own log
_EVENT_NAME = re.compile(rb'\{"Event":"(?:[\w.]+\.)?(\w+)"')  # most lines are read no further
_MEMORY_METRICS = ("JVMHeapMemory", "JVMOffHeapMemory")


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


def logging_settings(folder: Path) -> dict[str, str]:
    """Settings of a session that logs into `folder`, which is made and kept small."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in log_folders(folder)[_MAX_LOGS:]:
        _remove_log(old)
    _require_room(folder)
    return {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": folder.absolute().as_uri(),
        "spark.eventLog.logStageExecutorMetrics": "true",
        "spark.executor.metrics.pollingInterval": "500ms",
    }


def _require_room(folder: Path) -> None:
    """Raise OSError, with the folder, if it has no room for a log.

    Spark would end its start in pages of Java.
    """
    path = folder / ".room"
    try:
        path.write_bytes(bytes(_MIN_LOG_BYTES))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        path.unlink(missing_ok=True)


def log_folders(folder: Path) -> list[Path]:
    """The applications' logs, newest first."""
    found = list(folder.glob("eventlog_v2_*"))
    return sorted(found, key=lambda path: (path.stat().st_mtime, path.name), reverse=True)


def _remove_log(log: Path) -> None:
    """Another job may be removing it too."""
    shutil.rmtree(log, ignore_errors=True)


def newest_applications(folder: Path, limit: int = 20) -> list[JobFacts]:
    """Facts of the newest `limit` applications below `folder`, newest first."""
    return [job_facts(log) for log in log_folders(folder)[:limit]]


def job_facts(log: Path) -> JobFacts:
    """Facts of one application; of one that still runs or was killed, as far as its log goes."""
    reading = _LogReading(JobFacts(log.name.removeprefix("eventlog_v2_")))
    for event in _read_events(log):
        reading.take(event)
    return reading.finished_facts()


def _read_events(log: Path) -> Iterator[dict[str, Any]]:
    """The events that the facts are read from, in order; the end of a log may be torn."""
    parts = log.glob("events_*")
    for part in sorted(parts, key=lambda path: int(path.name.split("_")[1])):
        for line in _whole_lines(part):
            name = _EVENT_NAME.match(line)
            if name and name[1].decode() in _LogReading.TAKES:
                yield jsonlib.loads(line)


def _whole_lines(part: Path) -> Iterator[bytes]:
    """Whole lines of one file, unpacked by its suffix."""
    torn = b""
    with pa.input_stream(str(part), compression=_compression_of(part)) as stream:
        while chunk := _next(stream):
            *whole, torn = (torn + chunk).split(b"\n")
            yield from (line for line in whole if line)


def _compression_of(part: Path) -> Literal["zstd", "detect"]:
    return "zstd" if part.suffix == ".zstd" else "detect"


def _next(stream: Any) -> bytes:
    try:
        return bytes(stream.read(_MIB))
    except (OSError, pa.ArrowInvalid):
        return b""  # the writer has not finished it, or was killed


@dataclass
class _LogReading:
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

    def finished_facts(self) -> JobFacts:
        sums = {metric: Counter[str]() for metric in _SCAN_METRICS}
        for metric, (source, name) in self.scans.items():
            sums[name][source] += self.values[metric]
        rows, files, sizes = (sums[name] for name in _SCAN_METRICS)
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
        self.facts.run = event["Spark Properties"].get(RUN_SETTING, self.facts.run)

    def _job(self, event: dict[str, Any]) -> None:
        described = event.get("Properties", {}).get("spark.job.description") or ""
        if described.startswith(_DELTA_JOBS):
            self.deltas_own.update(event["Stage IDs"])

    def _task(self, event: dict[str, Any]) -> None:
        metrics, facts = event.get("Task Metrics") or {}, self.facts
        self.last = max(self.last, event["Task Info"]["Finish Time"])
        facts.tasks += 1
        facts.task_seconds += metrics.get("Executor Run Time", 0) / 1000
        facts.shuffle_bytes += metrics.get("Shuffle Write Metrics", {}).get(
            "Shuffle Bytes Written", 0
        )
        facts.spilled_bytes += metrics.get("Disk Bytes Spilled", 0)
        self._heap(event.get("Task Executor Metrics") or {})
        if event["Task End Reason"]["Reason"] != "Success":
            facts.failed_tasks += 1
            return
        if event["Stage ID"] not in self.deltas_own:
            output = metrics.get("Output Metrics", {})
            facts.rows_out += output.get("Records Written", 0)
            facts.bytes_written += output.get("Bytes Written", 0)
        for metric in event["Task Info"]["Accumulables"]:
            if metric.get("Metadata") == "sql" and "Update" in metric:
                self.values[metric["ID"]] += int(metric["Update"])

    def _memory(self, event: dict[str, Any]) -> None:
        self._heap(event["Executor Metrics"])

    def _heap(self, measured: dict[str, int]) -> None:
        used = sum(measured.get(name, 0) for name in _MEMORY_METRICS)
        self.facts.peak_memory_bytes = max(self.facts.peak_memory_bytes, used)

    def _driver(self, event: dict[str, Any]) -> None:
        self.values.update(dict(event["accumUpdates"]))

    def _plan(self, event: dict[str, Any]) -> None:
        nodes = [event["sparkPlanInfo"]]
        while nodes:
            node = nodes.pop()
            nodes.extend(node["children"])
            if source := _scanned_table(node):
                for metric in node["metrics"]:
                    if metric["name"] in _SCAN_METRICS:
                        self.scans[metric["accumulatorId"]] = (source, metric["name"])


_SCAN_METRICS = ("number of output rows", "number of files read", "size of files read")


def _scanned_table(node: dict[str, Any]) -> str:
    """The table that a plan's node reads, by its folder's name; "" for anything else."""
    location: str = node["metadata"].get("Location", "")
    if not node["nodeName"].startswith("Scan") or "_delta_log" in location or not location:
        return ""
    path = location.partition("[")[2].split(",")[0].rstrip("].")
    return path.rpartition("/")[2]


def _jobs_grid(found: list[JobFacts]) -> Grid:
    columns = "job", "run", "#s", "rows in", "#rows out", "#files", "#MiB read", "#MiB written"
    more = "#MiB shuffled", "#MiB spilled", "tasks", "#task s", "#peak MiB"
    cells = []
    for one in found:
        rows = "\n".join(f"{name} {n:,}" for name, n in one.rows_in.items())
        sizes = one.bytes_read, one.bytes_written, one.shuffle_bytes, one.spilled_bytes
        read, written, shuffled, spilled = (f"{size / _MIB:,.1f}" for size in sizes)
        seconds = f"{one.seconds:,.1f}" + ("" if one.finished else " (no end)")
        failed = f" ({one.failed_tasks} failed)" if one.failed_tasks else ""
        tasks, peak = f"{one.tasks:,}{failed}", f"{one.peak_memory_bytes / _MIB:,.0f}"
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
        print_parts(_jobs_grid(found))
