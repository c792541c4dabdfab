"""What Spark did for each job, read from its event logs: rows, bytes, shuffle, spill, memory.

userbert jobs [--last 20] [--json]

Each application leaves one log below data/spark-events, which Spark's history server opens too
(userbert history-server). An application of several jobs (userbert steps) has a row for each. Rows
and files in are those of the lake's tables as the scans counted them: Delta's reading of its own
log, and of cached frames, is left out. Landing files are not in it, since Spark does not read them
(spark_jobs/ingest); the job itself prints the number of lines.
"""

import json as jsonlib
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import typer
from rich.table import Table as Grid

from contracts.paths import Places
from contracts.terminal.options import AsJson
from contracts.terminal.printing import grid, print_parts
from spark_jobs.spark.job_facts import JobFacts, LogReading

_MAX_LOGS = 200  # applications whose logs stay; a night leaves two, of 0.5 to 4 MB each
_MIN_LOG_BYTES = 1 << 20  # of a short job
_MIB = 1 << 20
_EVENT_NAME = re.compile(rb'\{"Event":"(?:[\w.]+\.)?(\w+)"')  # most lines are read no further


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


def newest_steps(folder: Path, limit: int = 20) -> list[JobFacts]:
    """Facts of the steps of the newest `limit` applications below `folder`, newest first."""
    logs = log_folders(folder)[:limit]
    return [facts for log in logs for facts in reversed(_facts(log, by_step=True))]


def job_facts(log: Path) -> JobFacts:
    """Facts of one application; of one that still runs or was killed, as far as its log goes."""
    (facts,) = _facts(log, by_step=False) or [JobFacts(_application_id(log))]
    return facts


def _facts(log: Path, by_step: bool) -> list[JobFacts]:
    reading = LogReading(_application_id(log), by_step)
    for event in _read_events(log):
        reading.take(event)
    return reading.finished_facts()


def _application_id(log: Path) -> str:
    return log.name.removeprefix("eventlog_v2_")


def _read_events(log: Path) -> Iterator[dict[str, Any]]:
    """The events that the facts are read from, in order; the end of a log may be torn."""
    parts = log.glob("events_*")
    for part in sorted(parts, key=lambda path: int(path.name.split("_")[1])):
        for line in _whole_lines(part):
            name = _EVENT_NAME.match(line)
            if name and name[1].decode() in LogReading.TAKES:
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
    found = newest_steps(Places.from_environment().event_logs, last)
    if json:
        sys.stdout.write(jsonlib.dumps([asdict(one) for one in found], indent=2) + "\n")
    else:
        print_parts(_jobs_grid(found))
