"""The machine: Python, Java, libraries, disk, ports and settings."""

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from contracts.errors import UserbertError
from contracts.landing_settings import read_settings
from contracts.paths import Places
from userbert.doctor.finding import FAULT, FINE, NOTE, Finding
from userbert.launchers.settings import TrainingSettings
from userbert.local.ports import LOOPBACK

_PYTHON = (3, 11)
_JAVA_VERSIONS = ("17", "21")
_JAVA_SECONDS = 10  # until `java -version` must have answered
_LEAST_FREE_BYTES = 2 << 30  # a night of the demo writes 10 MB, and a training 100 MB
_LEAST_FREE_SHARE = 0.1
_LEAST_MEMORY_BYTES = 3 << 30  # Spark's driver takes 2 GiB in a night
# What a library is for, and the extra that brings it. Finding one does not import it.
_LIBRARIES = {
    "pyspark": ("Spark's jobs", "spark"),
    "great_expectations": ("gates", "spark"),
    "torch": ("training and embedding", "model"),
    "deltalake": ("reading tables", "model"),
    "duckdb": ("questions", "features"),
    "feast": ("the feature store", "features"),
    "airflow": ("the schedule", "schedule"),
    "matplotlib": ("reports and pictures", "pictures"),
}
_PORTS = {8080: "Airflow's UI", 18080: "Spark's history server"}


def check_machine(places: Places) -> Iterator[Finding]:
    yield _check_python()
    yield _check_libraries()
    yield _check_java()
    yield _check_delta_jars()
    yield _check_memory()
    yield _check_disk(places.root)
    yield from _check_ports()
    yield _check_settings(places)


def _check_python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] != _PYTHON:
        return Finding("python", FAULT, f"Python {version}, and 3.11 is needed", "make setup")
    return Finding("python", FINE, f"{version} in {sys.prefix}")


def _check_libraries() -> Finding:
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if not missing:
        return Finding("libraries", FINE, f"all {len(_LIBRARIES)} are installed")
    uses = ", ".join(f"{name} ({_LIBRARIES[name][0]})" for name in missing)
    extras = ",".join(sorted({_LIBRARIES[name][1] for name in missing}))
    install = f"pip install 'userbert[{extras}]'"
    return Finding("libraries", NOTE, f"not installed: {uses}", install)


def _java() -> str | None:
    """The program that Spark starts."""
    home = os.environ.get("JAVA_HOME")
    if home and (Path(home) / "bin" / "java").exists():
        return str(Path(home) / "bin" / "java")
    return shutil.which("java")


def _check_java() -> Finding:
    install = "install Java 17 (Debian: apt install openjdk-17-jre-headless) or set JAVA_HOME"
    if (program := _java()) is None:
        return Finding("java", FAULT, "there is none, and Spark needs 17 or 21", install)
    try:
        answer = subprocess.run(
            [program, "-version"],
            capture_output=True,
            text=True,
            timeout=_JAVA_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Finding("java", FAULT, f"{program} does not answer ({error})", install)
    version = re.search(r'version "([^"]+)"', answer.stderr)
    number = version[1] if version else "of an unknown version"
    if number.split(".")[0] not in _JAVA_VERSIONS:
        return Finding("java", FAULT, f"{program} is {number}, Spark needs 17 or 21", install)
    return Finding("java", FINE, f"{number}, {program}")


def _check_delta_jars() -> Finding:
    from spark_jobs.spark.delta_jars import spark_jars

    if importlib.util.find_spec("pyspark") is None:
        return Finding("delta jars", NOTE, "Spark is not installed, so they have no place")
    if not list(spark_jars().glob("*delta-spark*.jar")):
        fetch = f"{sys.executable} -m spark_jobs.spark.delta_jars"
        return Finding("delta jars", FAULT, f"none in {spark_jars()}", fetch)
    return Finding("delta jars", FINE, f"next to Spark's, in {spark_jars()}")


def _check_memory() -> Finding:
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    available = pages * size
    meminfo = Path("/proc/meminfo")  # Linux alone knows what is available
    if meminfo.exists():
        line = re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text())
        available = int(line[1]) * 1024 if line else available
    says = f"{available / 2**30:.1f} GiB available, {os.cpu_count()} cores"
    if available < _LEAST_MEMORY_BYTES:
        return Finding("memory", NOTE, says, "end what is not needed: a night takes 3 GiB")
    return Finding("memory", FINE, says)


def _check_disk(root: Path) -> Finding:
    folder = next(path for path in (root, *root.parents) if path.exists())
    usage = shutil.disk_usage(folder)
    says = f"{usage.free / 2**30:.1f} GiB free below {folder}"
    if not os.access(folder, os.W_OK):
        return Finding("disk", FAULT, f"{folder} is not writable", f"give yourself {folder}")
    if usage.free < _LEAST_FREE_BYTES:
        return Finding("disk", FAULT, says, "make room: userbert maintenance, or a larger disk")
    if usage.free < usage.total * _LEAST_FREE_SHARE:
        return Finding("disk", NOTE, says, "userbert maintenance")
    return Finding("disk", FINE, says)


def _check_ports() -> Iterator[Finding]:
    for port, use in _PORTS.items():
        with socket.socket() as probe:
            probe.settimeout(0.5)
            is_taken = probe.connect_ex((LOOPBACK, port)) == 0
        says = "something answers there" if is_taken else "free"
        yield Finding(f"port {port}", FINE, f"{says} ({use})")


def _check_settings(places: Places) -> Finding:
    """Mistakes in settings files, all of them, as the jobs would name them."""
    from userbert.scheduling.landing_arrival import ArrivalSettings

    readers: dict[str, Callable[[], object]] = {
        "training": TrainingSettings.from_environment,
        "arrival": lambda: ArrivalSettings.of(places),
        "landing": lambda: read_settings(places.landing / "settings.toml"),
    }
    mistakes, read = [], []
    for name, reader in readers.items():
        if name == "landing" and not places.landing.exists():
            continue
        try:
            reader()
            read.append(name)
        except UserbertError as error:
            mistakes.append(str(error))
    if mistakes:
        return Finding("settings", FAULT, "; ".join(mistakes), "mend the file that is named")
    return Finding("settings", FINE, f"{', '.join(read)}: read without a mistake")
