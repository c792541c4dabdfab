"""A standalone Spark cluster on this machine's loopback interface, out of the installed pyspark.

userbert cluster start      a master and two workers; prints how commands and Airflow reach them
userbert cluster status     which of them live
userbert cluster stop
userbert cluster package    this project's packages as one zip, for executors without a checkout

What a command needs of a cluster is in one folder of settings, which `SPARK_CONF_DIR` names: no
code and no flag differs. Pids, logs, settings and the zip lie below data/cluster (docs/cluster.md).
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from contracts.commands import CONF_FOLDER, PROJECT_ROOT
from contracts.errors import BadInput, UserbertError
from contracts.paths import Places
from contracts.storage.atomic_write import atomic_file
from contracts.storage.object_store import OBJECT_STORE_JARS
from contracts.terminal.command_line import command_group
from spark_jobs.spark.delta_jars import spark_home
from userbert.local.ports import LOOPBACK, free_port

_DEFAULTS = CONF_FOLDER / "spark-defaults.conf"
SENT_PACKAGES = (
    "analyst",
    "contracts",
    "downstream",
    "erasure",
    "expectations",
    "experiments",
    "explorer",
    "feature_store",
    "landing",
    "model",
    "spark_jobs",
    "userbert",
)
_BOTH_SIDES = ("driver", "executor")
_DAEMONS = "org.apache.spark.deploy"  # in the command line of each
_START_SECONDS = 60  # seconds; two idle cores take 6
_STOP_SECONDS = 10  # seconds between SIGTERM and SIGKILL
_DAEMON_MEMORY = "256m"  # of the master and of each worker; executors have their own


class ClusterFailed(UserbertError):
    """The cluster did not start."""


@dataclass(frozen=True)
class Cluster:
    """What lies below one folder: NAME.pid and NAME.log of each process, conf, work, the zip."""

    folder: Path

    @property
    def conf(self) -> Path:
        return self.folder / "conf"

    @property
    def zip(self) -> Path:
        return self.folder / "userbert.zip"

    @property
    def address(self) -> str:
        """The master's, spark://HOST:PORT, of a cluster that was started."""
        return settings(self.conf / "spark-defaults.conf")["spark.master"]

    def pids(self) -> dict[str, int]:
        """Processes that live, by name, workers first: the order to stop them in."""
        found = {
            path.stem: int(path.read_text())
            for path in sorted(self.folder.glob("*.pid"), reverse=True)
        }
        return {name: pid for name, pid in found.items() if _is_ours(pid)}

    def launch(self, name: str, *words: str) -> None:
        """Start one of Spark's daemons, which outlives this process."""
        environment = {
            **os.environ,
            "SPARK_HOME": str(spark_home()),
            "SPARK_CONF_DIR": str(self.conf),
            "SPARK_LOCAL_IP": LOOPBACK,
            "SPARK_DAEMON_MEMORY": _DAEMON_MEMORY,
        }
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [str(spark_home() / "bin" / "spark-class"), *words],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        (self.folder / f"{name}.pid").write_text(str(process.pid))


def _is_ours(pid: int) -> bool:
    """Whether `pid` is one of Spark's daemons, and not a later process of the same number.

    A process has no command line for the instant in which it becomes Java: ask more than once.
    """
    for _ in range(3):
        state, _, command = _process_line(pid).partition(" ")
        if not state or state.startswith("Z") or _DAEMONS in command:
            return _DAEMONS in command
        time.sleep(0.1)
    return False


def _process_line(pid: int) -> str:
    """Its state and command line; nothing when there is none."""
    ask = ["ps", "-ww", "-p", str(pid), "-o", "stat=", "-o", "command="]
    return subprocess.run(ask, capture_output=True, text=True, check=False).stdout.strip()


def settings(path: Path) -> dict[str, str]:
    """What a spark-defaults.conf says; of a key that is said twice the last, as Spark takes it."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    said = (line.partition(" ") for line in lines if line and not line.startswith("#"))
    return {key: value.strip() for key, _, value in said}


def write_package_zip(target: Path) -> Path:
    """The project's packages as a zip, the same bytes for the same files."""
    with (
        atomic_file(target) as unfinished,
        zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for path in _package_files():
            entry = zipfile.ZipInfo(
                str(path.relative_to(PROJECT_ROOT))
            )  # dated 1980, whoever packs
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    return target


def _package_files() -> Iterator[Path]:
    for name in SENT_PACKAGES:
        for path in sorted((PROJECT_ROOT / name).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def start_cluster(
    cluster: Cluster, *, workers: int, cores: int, memory: str, port: int, ui: int
) -> None:
    """Start master and workers, and return when all workers have registered."""
    if living := cluster.pids():
        raise BadInput(
            f"a cluster runs already: {', '.join(living)} ({cluster.folder}); "
            "`userbert cluster stop` ends it"
        )
    master = f"spark://{LOOPBACK}:{port}"
    shutil.rmtree(cluster.folder, ignore_errors=True)
    _write_conf(cluster, master, memory)
    at = ("--host", LOOPBACK)
    ports = ("--port", str(port), "--webui-port", str(ui))
    cluster.launch("master", f"{_DAEMONS}.master.Master", *at, *ports)
    _await(cluster, ui, workers=0)
    for number in range(1, workers + 1):
        size = ("--cores", str(cores), "--memory", memory, "--webui-port", "0")
        work = ("--work-dir", str(cluster.folder / f"work-{number}"))
        cluster.launch(f"worker-{number}", f"{_DAEMONS}.worker.Worker", *at, *size, *work, master)
    _await(cluster, ui, workers)


def _write_conf(cluster: Cluster, master: str, memory: str) -> None:
    """The settings of this installation, and after them what a standalone cluster adds."""
    cluster.conf.mkdir(parents=True)
    added = {
        "spark.master": master,
        "spark.submit.pyFiles": write_package_zip(cluster.zip),
        "spark.executor.memory": memory,
        "spark.executor.extraJavaOptions": settings(_DEFAULTS)["spark.driver.extraJavaOptions"],
        "spark.driver.host": LOOPBACK,
        "spark.driver.bindAddress": LOOPBACK,
    }
    if OBJECT_STORE_JARS.is_dir():  # for a lake on S3: the workers are of this machine
        jars = {f"spark.{each}.extraClassPath": f"{OBJECT_STORE_JARS}/*" for each in _BOTH_SIDES}
        added |= jars
    lines = "\n".join(f"{key:<60} {value}" for key, value in added.items())
    text = _DEFAULTS.read_text(encoding="utf-8")
    (cluster.conf / "spark-defaults.conf").write_text(f"{text}# This cluster.\n{lines}\n")


def _await(cluster: Cluster, ui: int, workers: int) -> None:
    """Until the master answers and knows `workers` workers, or something is plainly wrong."""
    for _ in range(_START_SECONDS * 2):
        if _alive_workers(ui) >= workers:
            return
        if "master" not in cluster.pids():
            break
        time.sleep(0.5)
    logs = "; ".join(str(path) for path in sorted(cluster.folder.glob("*.log")))
    stop_cluster(cluster)
    raise ClusterFailed(f"Spark's master and {workers} workers did not come up; read {logs}")


def _alive_workers(ui: int) -> int:
    """What the master says of its workers; -1 while it does not answer."""
    try:
        address = f"http://{LOOPBACK}:{ui}/json/"
        with urllib.request.urlopen(address, timeout=5) as answer:  # nosec B310: http, loopback
            return int(json.load(answer)["aliveworkers"])
    except OSError:
        return -1


def stop_cluster(cluster: Cluster) -> list[str]:
    """End what lives, workers (and with them their executors) before the master; the names."""
    names = []
    for name, pid in cluster.pids().items():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
            for _ in range(_STOP_SECONDS * 10):
                if not _is_ours(pid):
                    break
                time.sleep(0.1)
            else:
                os.kill(pid, signal.SIGKILL)
        names.append(name)
    for path in cluster.folder.glob("*.pid"):
        path.unlink()
    return names


def how_to_reach(cluster: Cluster) -> str:
    """Two exports: one for commands and spark-submit, one for Airflow's connection."""
    host, _, port = cluster.address.rpartition(":")
    connection = json.dumps({"conn_type": "spark", "host": host, "port": int(port)})
    return (
        f"export SPARK_CONF_DIR={cluster.conf}\nexport AIRFLOW_CONN_SPARK_DEFAULT='{connection}'\n"
    )


app = command_group(__doc__)


def _cluster() -> Cluster:
    return Cluster(Places.from_environment().root / "cluster")


@app.command("start")
def start_command(
    workers: Annotated[int, typer.Option("--workers", help="How many workers.")] = 2,
    cores: Annotated[int, typer.Option("--cores", help="The cores of each worker.")] = 1,
    memory: Annotated[
        str, typer.Option("--memory", help="The memory of each worker, all for one executor.")
    ] = "1g",
    port: Annotated[int, typer.Option("--port", help="The master's port, if it is free.")] = 7077,
    ui_port: Annotated[
        int, typer.Option("--ui-port", help="The port of the master's page, if it is free.")
    ] = 8090,
) -> None:
    """Start a master and its workers; print how commands and Airflow reach them."""
    cluster = _cluster()
    port, ui = free_port(port), free_port(ui_port)
    start_cluster(cluster, workers=workers, cores=cores, memory=memory, port=port, ui=ui)
    _print(f"# {cluster.address}, its page http://{LOOPBACK}:{ui}, its logs {cluster.folder}\n")
    _print(f"# Commands and Airflow's tasks run there with:\n{how_to_reach(cluster)}")


@app.command("status")
def show_status() -> None:
    """Show which processes of the cluster live."""
    cluster = _cluster()
    living = cluster.pids()
    _print("".join(f"{name}: pid {pid}\n" for name, pid in living.items()) or "nothing runs\n")
    _print(how_to_reach(cluster) if living else "")


@app.command("stop")
def stop_command() -> None:
    """Stop the workers and the master."""
    _print(f"stopped: {', '.join(stop_cluster(_cluster())) or 'nothing ran'}\n")


@app.command("package")
def write_package(
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="FILE",
            help="The file to write. [default: cluster/userbert.zip in the data root]",
        ),
    ] = None,
) -> None:
    """Write this project's packages as one zip, for executors without a checkout."""
    _print(f"{write_package_zip(to or _cluster().zip)}\n")


def _print(text: str) -> None:
    sys.stdout.write(text)
