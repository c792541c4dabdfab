"""Fetch Delta's jars once and put them next to Spark's own, where every session finds them.

With `spark.jars.packages` Ivy would resolve 33 artifacts at each start: 2 s and 60 lines of log
for each of a night's six jobs. On a cluster the submit names the same package instead (docs/).
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from contracts.storage.atomic_write import atomic_file

_DELTA_PACKAGE = "io.delta:delta-spark_4.2_2.13:4.4.0"
# Packages that Spark has already, in the versions that it was tested with.
_BROUGHT_BY_SPARK = (
    "org.apache.hadoop:*",
    "org.apache.parquet:*",
    "org.apache.logging.log4j:*",
    "com.fasterxml.jackson.core:*",
    "com.fasterxml.jackson.datatype:*",
    "org.slf4j:*",
    "org.xerial.snappy:*",
    "org.roaringbitmap:*",
    "com.github.luben:*",
    "io.airlift:*",
    "commons-logging:*",
    "commons-pool:*",
)
# Resolves the packages, and ends.
_RESOLVE_ONLY = "from pyspark.sql import SparkSession; SparkSession.builder.getOrCreate().stop()"


def spark_home() -> Path:
    """Of the Spark that came with pyspark."""
    pyspark = importlib.util.find_spec("pyspark")
    assert pyspark is not None
    assert pyspark.origin is not None
    return Path(pyspark.origin).parent


def spark_jars() -> Path:
    return spark_home() / "jars"


def fetch_jars(ivy: Path, packages: Sequence[str], brought: Sequence[str]) -> list[Path]:
    """Resolve `packages` into the folder `ivy`; the jars of all but what is `brought` already."""
    submit = (
        f"--conf spark.jars.packages={','.join(packages)} --conf spark.jars.ivy={ivy} "
        f"--conf spark.jars.excludes={','.join(brought)} --conf spark.ui.enabled=false "
        "--master local[1] pyspark-shell"
    )
    empty = ivy / "conf"  # the project's own conf names classes of jars that are not there yet
    empty.mkdir(parents=True)
    found = subprocess.run(
        [sys.executable, "-c", _RESOLVE_ONLY],
        env={**os.environ, "PYSPARK_SUBMIT_ARGS": submit, "SPARK_CONF_DIR": str(empty)},
        capture_output=True,  # the resolver writes 60 lines, which matter only where it fails
        text=True,
        check=False,
    )
    if found.returncode:
        sys.exit(f"{found.stdout}{found.stderr}Delta's jars ({_DELTA_PACKAGE}) were not fetched")
    return sorted((ivy / "jars").glob("*.jar"))


def main() -> None:
    target = spark_jars()
    if list(target.glob("io.delta_delta-spark_*")):
        return
    with tempfile.TemporaryDirectory() as scratch:
        jars = fetch_jars(Path(scratch), [_DELTA_PACKAGE], _BROUGHT_BY_SPARK)
        # Delta's own jar last: its presence says that the rest is there.
        for jar in sorted(jars, key=lambda jar: "delta-spark" in jar.name):
            with atomic_file(target / jar.name) as unfinished:
                shutil.copy(jar, unfinished)
            print(f"fetched {jar.name}")  # noqa: T201


if __name__ == "__main__":
    main()
