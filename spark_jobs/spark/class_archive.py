"""Spark's classes as an archive that a starting JVM maps instead of reading 300 jars.

Set-up makes it once (`userbert/local/class_archive.py`), next to the environment's packages. Each
later session of the embedded default starts from it, which spares a job 5.5 s
(docs/adr/0027). A JVM that is not the one that made it, or finds other jars, starts
without it, as does a session of this installation's own SPARK_CONF_DIR or SPARK_HOME.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contracts.commands import CONF_FOLDER
from contracts.storage.object_store import OBJECT_STORE_JARS
from spark_jobs.spark.delta_jars import spark_home, spark_jars

ARCHIVE_FILE = Path(sys.prefix) / "spark-classes.jsa"
OPTIONS_VARIABLE = "SPARK_SUBMIT_OPTS"  # Spark puts these behind its own on the JVM's command line


def archive_environment() -> dict[str, str]:
    """Variables to add to the environment of a JVM that is about to start; none if none fits.

    They name the archive, and the jars of s3a:// where set-up was asked for them. Behind Spark's
    own jars on the class path they cost nothing (3.4 CPU seconds to start, without them 3.3), and
    the archive still fits. Named by --jars, they are copied at each start: 8 s.
    """
    if OPTIONS_VARIABLE in os.environ or not is_embedded_default():
        return {}
    if not ARCHIVE_FILE.exists() and not OBJECT_STORE_JARS.is_dir():
        return {}
    archive = [f"-XX:SharedArchiveFile={ARCHIVE_FILE}"] if ARCHIVE_FILE.exists() else []
    return {OPTIONS_VARIABLE: archive_options(*archive, more_jars=_store_jars())}


def is_embedded_default() -> bool:
    """Whether Spark and its settings are those that came with this project."""
    place = Path(os.environ.get("SPARK_CONF_DIR", CONF_FOLDER))
    home = Path(os.environ.get("SPARK_HOME", spark_home()))
    return (place, home) == (CONF_FOLDER, spark_home())


@contextmanager
def in_environment() -> Iterator[None]:
    """This process starts its JVM in here. Its children may start others, with other settings."""
    added = archive_environment()
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def _store_jars() -> str:
    return f"{os.pathsep}{OBJECT_STORE_JARS}/*" if OBJECT_STORE_JARS.is_dir() else ""


def archive_options(*archive: str, more_jars: str = "") -> str:
    """An archive holds for one class path, and for none that has a folder with files in it.

    Spark puts the folder of its settings there; the second -cp is without it, and a property
    names the settings of log4j. Otherwise the JVM would print that the archive does not fit.
    """
    logs = f"-Dlog4j2.configurationFile=file:{CONF_FOLDER / 'log4j2.properties'}"
    jars = f"{spark_jars()}/*{more_jars}"
    words = "-cp", jars, logs, "-Xshare:auto", "-Xlog:disable", *archive
    return " ".join(f'"{word}"' for word in words)
