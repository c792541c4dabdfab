"""Which job runs now, where several share one Spark application (`userbert steps`).

Its name goes with each of Spark's jobs as a local property, so that the event log tells the steps
of one application apart, and into the provenance of its commits.
"""

import time

from pyspark.sql import SparkSession

STEP_NAME = "userbert.step"
STEP_STARTED = "userbert.step.started"  # ms since 1970


def begin_step(spark: SparkSession, name: str) -> None:
    """From here on, what this thread does is of the step `name`."""
    context = spark.sparkContext
    context.setLocalProperty(STEP_NAME, name)
    context.setLocalProperty(STEP_STARTED, str(int(time.time() * 1000)))


def running_step(spark: SparkSession) -> str:
    """The step's name; the application's in a thread that began none."""
    context = spark.sparkContext
    name: str | None = context.getLocalProperty(STEP_NAME)
    return str(name or context.appName)
