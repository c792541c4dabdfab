"""The summary that a job prints when it ends: what it wrote, and what Spark did for it."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from pyspark.sql import SparkSession

from contracts.paths import Places
from contracts.settings.pseudonyms import must_not_rotate
from contracts.terminal.full_disk import is_of_full_disk
from expectations.gx_validation import import_early
from spark_jobs.spark.session import session

_MIB = 1 << 20
_STAGE_TOTALS = {  # of Spark's stages, by the names of its REST API
    "tasks": "numTasks",
    "busy_ms": "executorRunTime",
    "input": "inputBytes",
    "shuffled": "shuffleWriteBytes",
    "spilled": "diskBytesSpilled",
    "written": "outputBytes",
}

_Report = Callable[..., None]


@contextmanager
def spark_job(name: str, gated: bool = True) -> Iterator[tuple[SparkSession, _Report]]:
    """The Spark session of a job, and `report(*written, fact=number, ...)` for its summary.

    What the gates of a `gated` job need is imported while the JVM starts.
    """
    started = time.monotonic()
    must_not_rotate(Places.from_environment())
    if gated:
        import_early()
    spark = session(name)
    before = _spark_totals(spark)
    lines: list[str] = []

    def report(*written: object | None, **facts: float) -> None:
        lines.extend(str(commit) for commit in written if commit)
        lines.extend(f"{fact.replace('_', ' ')}: {_number(n)}" for fact, n in facts.items())

    try:
        yield spark, report
    except Exception as error:
        if is_of_full_disk(error):
            # Spark's event log, which lies on that disk too, would complain for pages at its end.
            spark.sparkContext.setLogLevel("OFF")
        raise
    after = _spark_totals(spark)
    spark_line = _spark_line({key: after[key] - before[key] for key in after})
    head = f"{name}: {time.monotonic() - started:.1f} s"
    sys.stdout.write("\n  ".join([head, *(lines or ["nothing to do"]), spark_line]) + "\n")


def _number(value: float) -> str:
    return f"{value:,.4g}" if isinstance(value, float) and value % 1 else f"{int(value):,}"


def _spark_totals(spark: SparkSession) -> dict[str, int]:
    """Totals over the stages that this application ran so far, from Spark's own status store."""
    context = spark.sparkContext
    gateway = context._gateway
    assert gateway is not None
    jvm = gateway.jvm
    none = gateway.new_array(jvm.double, 0)
    store = context._jsc.sc().statusStore()
    stages = store.stageList(None, False, False, none, jvm.java.util.ArrayList())
    totals = dict.fromkeys(("stages", *_STAGE_TOTALS), 0)
    for i in range(stages.size()):
        stage = stages.apply(i)
        totals["stages"] += 1
        for ours, theirs in _STAGE_TOTALS.items():
            totals[ours] += getattr(stage, theirs)()
    return totals


def _spark_line(facts: Mapping[str, int]) -> str:
    sizes = ", ".join(
        f"{facts[key] / _MIB:,.1f} MiB {key}" for key in ("input", "shuffled", "spilled", "written")
    )
    busy = facts["busy_ms"] / 1000
    return f"Spark: {facts['stages']} stages, {facts['tasks']} tasks, {busy:,.1f} s busy, {sizes}"
