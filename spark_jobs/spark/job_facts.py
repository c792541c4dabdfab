"""The facts of Spark applications, and of their steps, out of the events of their logs."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from contracts.provenance import BY_HAND
from spark_jobs.spark.step import STEP_NAME, STEP_STARTED

RUN_SETTING = "spark.userbert.run"  # which Airflow task, in the application's own settings
_DELTA_JOBS = (
    "Delta: ",
    "Delta checkpoint",
    "$anonfun$recordDelta",
)  # descriptions of the Spark jobs by which Delta reads and writes its own log
_MEMORY_METRICS = ("JVMHeapMemory", "JVMOffHeapMemory")


@dataclass
class JobFacts:
    """One Spark application, or a step of one.

    Bytes read are of whole files: all of a file that was opened.
    """

    application: str
    job: str = ""
    run: str = BY_HAND
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


@dataclass
class _Sums:
    """What is counted for one step, or for the whole application."""

    facts: JobFacts
    began: int  # ms since 1970, as are all of Spark's times
    last: int
    values: Counter[int] = field(default_factory=Counter)  # of SQL metrics, by id

    def add_memory(self, measured: dict[str, int]) -> None:
        used = sum(measured.get(name, 0) for name in _MEMORY_METRICS)
        self.facts.peak_memory_bytes = max(self.facts.peak_memory_bytes, used)

    def finished_facts(self, scans: dict[int, tuple[str, str]]) -> JobFacts:
        sums = {metric: Counter[str]() for metric in _SCAN_METRICS}
        for metric, (source, name) in scans.items():
            sums[name][source] += self.values[metric]
        rows, files, sizes = (sums[name] for name in _SCAN_METRICS)
        self.facts.rows_in = {source: n for source, n in sorted(rows.items()) if n}
        self.facts.files_in = {source: n for source, n in sorted(files.items()) if n}
        self.facts.bytes_read = sizes.total()
        self.facts.seconds = round(max(self.last - self.began, 0) / 1000, 1)
        self.facts.task_seconds = round(self.facts.task_seconds, 1)
        return self.facts


@dataclass
class LogReading:
    """The sums so far, and what later events refer to."""

    application: str
    by_step: bool
    sums: list[_Sums] = field(default_factory=list)  # in the order of the steps
    run: str = BY_HAND
    started: str = ""  # of the newest step
    scans: dict[int, tuple[str, str]] = field(default_factory=dict)  # id: (source, metric)
    deltas_own: set[int] = field(default_factory=set)  # stages
    of_stage: dict[int, _Sums] = field(default_factory=dict)
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

    def finished_facts(self) -> list[JobFacts]:
        return [sums.finished_facts(self.scans) for sums in self.sums]

    def _begin(self, job: str, instant: int) -> None:
        facts = JobFacts(self.application, job, self.run)
        facts.started = datetime.fromtimestamp(instant / 1000, UTC).isoformat()
        self.sums.append(_Sums(facts, instant, instant))

    def _application(self, event: dict[str, Any]) -> None:
        self._begin(event["App Name"], event["Timestamp"])

    def _end(self, event: dict[str, Any]) -> None:
        self._close(event["Timestamp"])

    def _close(self, instant: int) -> None:
        self.sums[-1].last, self.sums[-1].facts.finished = instant, True

    def _environment(self, event: dict[str, Any]) -> None:
        self.run = event["Spark Properties"].get(RUN_SETTING, self.run)
        for sums in self.sums:
            sums.facts.run = self.run

    def _job(self, event: dict[str, Any]) -> None:
        properties = event.get("Properties", {})
        self._enter_step(properties)
        self.of_stage.update(dict.fromkeys(event["Stage IDs"], self.sums[-1]))
        described = properties.get("spark.job.description") or ""
        if described.startswith(_DELTA_JOBS):
            self.deltas_own.update(event["Stage IDs"])

    def _enter_step(self, properties: dict[str, str]) -> None:
        """The first step has begun with the application; the next ends the one before it."""
        started = properties.get(STEP_STARTED)
        if not self.by_step or started in (None, self.started):
            return
        is_first, self.started = not self.started, started
        if not is_first:
            self._close(int(started))
            self._begin(properties[STEP_NAME], int(started))

    def _task(self, event: dict[str, Any]) -> None:
        sums = self.of_stage.get(event["Stage ID"], self.sums[-1])
        metrics, facts = event.get("Task Metrics") or {}, sums.facts
        if not facts.finished:
            sums.last = max(sums.last, event["Task Info"]["Finish Time"])
        facts.tasks += 1
        facts.task_seconds += metrics.get("Executor Run Time", 0) / 1000
        facts.shuffle_bytes += metrics.get("Shuffle Write Metrics", {}).get(
            "Shuffle Bytes Written", 0
        )
        facts.spilled_bytes += metrics.get("Disk Bytes Spilled", 0)
        sums.add_memory(event.get("Task Executor Metrics") or {})
        if event["Task End Reason"]["Reason"] != "Success":
            facts.failed_tasks += 1
            return
        if event["Stage ID"] not in self.deltas_own:
            output = metrics.get("Output Metrics", {})
            facts.rows_out += output.get("Records Written", 0)
            facts.bytes_written += output.get("Bytes Written", 0)
        for metric in event["Task Info"]["Accumulables"]:
            if metric.get("Metadata") == "sql" and "Update" in metric:
                sums.values[metric["ID"]] += int(metric["Update"])

    def _memory(self, event: dict[str, Any]) -> None:
        sums = self.of_stage.get(event["Stage ID"], self.sums[-1])
        sums.add_memory(event["Executor Metrics"])

    def _driver(self, event: dict[str, Any]) -> None:
        self.sums[-1].values.update(dict(event["accumUpdates"]))

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
