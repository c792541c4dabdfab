"""The Spark session of a job.

What differs by installation (master, jars, memory) is in conf/spark-defaults.conf, or in the one
below SPARK_CONF_DIR, or comes from the spark-submit that started this process. This module sets
what the results depend on and, unless the installation does, where the event logs go.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

from contracts.commands import CONF_FOLDER
from contracts.paths import Places
from contracts.provenance import run_name
from contracts.storage.atomic_write import file_mask
from contracts.storage.landing_copy import landing_copy
from contracts.storage.object_store import is_on_s3, spark_settings
from spark_jobs.spark import class_archive, event_log
from spark_jobs.spark.job_facts import RUN_SETTING
from spark_jobs.spark.step import begin_step

# Columns in which hardly a value repeats within a file, so that a dictionary would save nothing.
_DISTINCT_COLUMNS = (
    "log_id",
    "session_id",
    "event_time",
    "start_time",
    "end_time",
    "event_times.list.element",
)
# How the lake's Parquet files are written and read. Spark's own choice for a time, INT96, takes 12
# bytes and has no bounds, and sessions, with their arrays of it, took 1.7 times as long to scan.
_FILE_SETTINGS = {
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # A bit that a disk has flipped would be another number, and no reader would notice.
    "parquet.page.verify-checksum.enabled": "true",
    **{f"parquet.enable.dictionary#{column}": "false" for column in _DISTINCT_COLUMNS},
}


def session(job: str, logged: bool = True) -> SparkSession:
    """The session of `job`: the one that runs, whose next step it is then, or a new one.

    All times are UTC. The executors run the interpreter of the driver, unless PYSPARK_PYTHON names
    another one.
    Without `logged`, Spark leaves no event log: plans hold the values that a query names.
    """
    os.environ.setdefault("SPARK_CONF_DIR", str(CONF_FOLDER))
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    with class_archive.in_environment():
        SparkContext._ensure_initialized()  # starts the JVM, which reads spark-defaults.conf
    builder = (
        SparkSession.builder.appName(job)
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.ansi.enabled", True)
        .config(RUN_SETTING, run_name())
    )
    # Hadoop sets the permissions of each file by itself, and does not ask the process.
    builder = builder.config("spark.hadoop.fs.permissions.umask-mode", f"{file_mask():03o}")
    for key, value in (_FILE_SETTINGS | _store_settings()).items():
        builder = builder.config(key, value)
    if SparkContext._active_spark_context is None:
        settings = _event_log_settings() if logged else {"spark.eventLog.enabled": "false"}
        for key, value in (settings | _progress_settings()).items():
            builder = builder.config(key, value)
    spark = builder.getOrCreate()
    begin_step(spark, job)
    return spark


@contextmanager
def damaged_files_left_out(spark: SparkSession) -> Iterator[None]:
    """In here a query reads data files that are gone or damaged as files without rows."""
    settings = ("spark.sql.files.ignoreCorruptFiles", "spark.sql.files.ignoreMissingFiles")
    for key in settings:
        spark.conf.set(key, "true")
    try:
        yield
    finally:
        for key in settings:
            spark.conf.unset(key)


def _progress_settings() -> dict[str, str]:
    """No progress bar but on a terminal: in a file it has no line breaks, and what a command says
    at its end stood behind a bar of 500 characters, on a line that nobody finds."""
    return {} if sys.stderr.isatty() else {"spark.ui.showConsoleProgress": "false"}


def _store_settings() -> dict[str, str]:
    """Where the object store is, if the lake or the landing files are on one. Keys are no settings:
    a setting is shown, and the JVM finds the keys in its environment."""
    places, has_own_jars = Places.from_environment(), not class_archive.is_embedded_default()
    copy = landing_copy(places)
    address = copy.address if copy and not is_on_s3(places.lake) else places.lake
    return spark_settings(address, has_own_jars=has_own_jars)


def _event_log_settings() -> dict[str, str]:
    """Those that the installation's own settings leave open."""
    given = SparkConf()
    if given.contains("spark.eventLog.enabled"):
        return {}
    return event_log.logging_settings(Places.from_environment().event_logs)
