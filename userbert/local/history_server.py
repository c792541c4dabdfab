"""Spark's history server over this installation's event logs, until Ctrl-C.

userbert history-server [--port 18080]

It shows each job's stages, plans and settings; the job's Airflow task is the setting
spark.userbert.run. The same facts as a table: `userbert jobs`.
"""

import os
from typing import Annotated

import typer

from contracts.errors import MissingTable
from contracts.paths import Places
from spark_jobs.spark.delta_jars import spark_home
from userbert.local.ports import LOOPBACK

_HISTORY_SERVER = "org.apache.spark.deploy.history.HistoryServer"


def _server_environment(places: Places, port: int) -> dict[str, str]:
    """The environment of Spark's daemon, which listens on the loopback interface."""
    options = {
        "spark.history.fs.logDirectory": places.event_logs.as_uri(),
        "spark.history.ui.port": str(port),
        "spark.history.fs.update.interval": "10s",
    }
    java_options = " ".join(f"-D{key}={value}" for key, value in options.items())
    return {
        **os.environ,
        "SPARK_HOME": str(spark_home()),
        "SPARK_LOCAL_IP": LOOPBACK,
        "SPARK_DAEMON_MEMORY": "512m",
        "SPARK_HISTORY_OPTS": f"{java_options} {os.environ.get('SPARK_HISTORY_OPTS', '')}".strip(),
    }


def main(
    port: Annotated[int, typer.Option("--port", help="The port of the server's pages.")] = 18080,
) -> None:
    places = Places.from_environment()
    if not places.event_logs.exists():
        raise MissingTable(f"no job has left an event log below {places.event_logs}: run one first")
    print(f"Spark's history server: http://{LOOPBACK}:{port}   (Ctrl-C stops it)", flush=True)  # noqa: T201
    spark_class = str(spark_home() / "bin" / "spark-class")
    os.execve(spark_class, [spark_class, _HISTORY_SERVER], _server_environment(places, port))
