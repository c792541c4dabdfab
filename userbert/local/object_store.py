"""Fetch what a lake on S3 needs, 28 MB, into a folder of its own: docs/object-store.md.

    python -m userbert.local.object_store      # or: make object-store

Hadoop's client of S3 comes with single modules of the AWS SDK, since the SDK's bundle, which
hadoop-aws asks for, has 600 MB. DuckDB's extension comes from PyPI as the others do.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from contracts.storage.atomic_write import atomic_folder
from contracts.storage.object_store import (
    DUCKDB_EXTENSION,
    OBJECT_STORE_FOLDER,
    OBJECT_STORE_JARS,
)
from spark_jobs.spark.delta_jars import fetch_jars

_HADOOP = "org.apache.hadoop:hadoop-aws:3.5.0"  # of the same version as Spark's own Hadoop client
_SDK_VERSION = "2.57.8"
_SDK_MODULES = ("s3", "sts", "s3-transfer-manager", "apache-client", "netty-nio-client")
_PACKAGES = [_HADOOP, *(f"software.amazon.awssdk:{each}:{_SDK_VERSION}" for each in _SDK_MODULES)]
# What Spark has already, and the SDK's bundle.
_LEFT_OUT = (
    "software.amazon.awssdk:bundle",
    *(f"org.apache.hadoop:hadoop-{part}" for part in ("client-api", "client-runtime", "common")),
    "com.fasterxml.jackson.core:*",
    "commons-logging:*",
    "io.netty:*",
    "org.apache.logging.log4j:*",
    "org.slf4j:*",
)
# The version of DuckDB's other extensions, with the sums of its five wheels.
_EXTENSION = "duckdb-extension-httpfs==1.5.5"
_SHA256 = (
    "138fd4368906c04636642023c123bd564d1bd1b9b75cd762f9f9bfad6fccb1ba",
    "567d17e398fc29f7ea4bc42ea277ea19643bd1ad1815f676cb6dd994b50399bb",
    "5dc6e48e7a6d4c775d88fcd9b6529b385559600c0cd17a2600addfdd34ae3060",
    "84913dbe172ccb54368de2c4a020c38ca8b0e76f99df548f7fac37934cc7826f",
    "a6d9b245ac83834543354e826020b35b8dba16291bb876b2b00bd49f2c6aeb9d",
)


def _fetch_extension(scratch: Path, target: Path) -> None:
    """Take the extension out of its wheel: a wheel of DuckDB's carries one file of it."""
    wanted = scratch / "extension.txt"
    sums = " ".join(f"--hash=sha256:{each}" for each in _SHA256)
    wanted.write_text(f"{_EXTENSION} {sums}\n")
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check")
    options = ("--no-deps", "--only-binary", ":all:", "--require-hashes")
    subprocess.run([*pip, *options, "-r", wanted, "-d", scratch], check=True)
    (wheel,) = scratch.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        (name,) = (name for name in packed.namelist() if name.endswith(target.name))
        with packed.open(name) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file)


def fetch_object_store(folder: Path) -> None:
    """Fill `folder` with the jars and the extension; the folder appears whole."""
    with tempfile.TemporaryDirectory() as scratch, atomic_folder(folder) as unfinished:
        jars = unfinished / OBJECT_STORE_JARS.name
        jars.mkdir()
        for jar in fetch_jars(Path(scratch) / "ivy", _PACKAGES, _LEFT_OUT):
            shutil.copy(jar, jars / jar.name)
        _fetch_extension(Path(scratch), unfinished / DUCKDB_EXTENSION.name)


def main() -> None:
    if OBJECT_STORE_JARS.is_dir() and DUCKDB_EXTENSION.exists():
        return
    fetch_object_store(OBJECT_STORE_FOLDER)
    files = [path for path in OBJECT_STORE_FOLDER.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files) >> 20
    print(f"fetched {len(files)} files, {size} MiB, into {OBJECT_STORE_FOLDER}")  # noqa: T201


if __name__ == "__main__":
    main()
