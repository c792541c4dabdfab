"""What a job says when it ends: what it wrote, and what Spark did for it."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from pyspark.sql import SparkSession

from expectations.gx_validation import import_early
from spark_jobs.lake.lake import Commit
from spark_jobs.spark.session import session

MIB = 1 << 20
SUMS = {  # of Spark's stages, by the names of its REST API
    "tasks": "numTasks",
    "busy_ms": "executorRunTime",
    "input": "inputBytes",
    "shuffled": "shuffleWriteBytes",
    "spilled": "diskBytesSpilled",
    "written": "outputBytes",
}

Tell = Callable[..., None]


@contextmanager
def job(name: str, gated: bool = True) -> Iterator[tuple[SparkSession, Tell]]:
    """The Spark session of a job, and `tell(*commits, fact=number, ...)` for its last words.

    What the gates of a `gated` job need is imported while the JVM starts.
    """
    started = time.monotonic()
    if gated:
        import_early()
    spark = session(name)
    before = spark_facts(spark)
    lines: list[str] = []

    def tell(*commits: Commit | None, **facts: float) -> None:
        lines.extend(wrote(commit) for commit in commits if commit)
        lines.extend(f"{fact.replace('_', ' ')}: {_number(n)}" for fact, n in facts.items())

    yield spark, tell
    after = spark_facts(spark)
    did = _spark_did({key: after[key] - before[key] for key in after})
    head = f"{name}: {time.monotonic() - started:.1f} s"
    sys.stdout.write("\n  ".join([head, *(lines or ["nothing to do"]), did]) + "\n")


def wrote(commit: Commit) -> str:
    return f"{commit.table} version {commit.version}: {commit.rows:,} rows written"


def _number(value: float) -> str:
    return f"{value:,.4g}" if isinstance(value, float) and value % 1 else f"{int(value):,}"


def spark_facts(spark: SparkSession) -> dict[str, int]:
    """Totals over the stages that this application ran so far, from Spark's own status store."""
    context = spark.sparkContext
    gateway = context._gateway
    assert gateway is not None
    jvm = gateway.jvm
    none = gateway.new_array(jvm.double, 0)
    store = context._jsc.sc().statusStore()
    stages = store.stageList(None, False, False, none, jvm.java.util.ArrayList())
    totals = dict.fromkeys(("stages", *SUMS), 0)
    for i in range(stages.size()):
        stage = stages.apply(i)
        totals["stages"] += 1
        for ours, theirs in SUMS.items():
            totals[ours] += getattr(stage, theirs)()
    return totals


def _spark_did(facts: Mapping[str, int]) -> str:
    sizes = ", ".join(
        f"{facts[key] / MIB:,.1f} MiB {key}" for key in ("input", "shuffled", "spilled", "written")
    )
    busy = facts["busy_ms"] / 1000
    return f"Spark: {facts['stages']} stages, {facts['tasks']} tasks, {busy:,.1f} s busy, {sizes}"
