"""Spark's classes as an archive that a starting JVM maps instead of reading 300 jars.

Set-up makes it once (`userbert/local/class_archive.py`), beside the environment's packages. Each
later session of the embedded default starts from it, which spares a job 5.5 s
(docs/adr/0027). A JVM that is not the one that made it, or finds other jars, starts
without it, as does a session of a place's own SPARK_CONF_DIR or SPARK_HOME.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contracts.commands import CONF_FOLDER
from spark_jobs.spark.delta_jars import spark_home, spark_jars

ARCHIVE = Path(sys.prefix) / "spark-classes.jsa"
OPTIONS = "SPARK_SUBMIT_OPTS"  # Spark puts these behind its own on the JVM's command line


def environment() -> dict[str, str]:
    """What the environment of a JVM about to start needs besides; nothing where none fits."""
    place = Path(os.environ.get("SPARK_CONF_DIR", CONF_FOLDER))
    home = Path(os.environ.get("SPARK_HOME", spark_home()))
    if OPTIONS in os.environ or (place, home) != (CONF_FOLDER, spark_home()):
        return {}
    return {OPTIONS: options(f"-XX:SharedArchiveFile={ARCHIVE}")} if ARCHIVE.exists() else {}


@contextmanager
def in_environment() -> Iterator[None]:
    """This process starts its JVM in here. Its children may start others, in other places."""
    added = environment()
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def options(archive: str) -> str:
    """An archive holds for one class path, and for none that has a folder with files in it.

    Spark puts the folder of its settings there; the second -cp is without it, and log4j is told
    where its own are. Else the JVM would say on standard output that an archive does not fit.
    """
    logs = f"-Dlog4j2.configurationFile=file:{CONF_FOLDER / 'log4j2.properties'}"
    words = "-cp", f"{spark_jars()}/*", logs, "-Xshare:auto", "-Xlog:disable", archive
    return " ".join(f'"{word}"' for word in words)
