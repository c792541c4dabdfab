"""The folder of the embedded Airflow: its settings, its secrets, and who uses it now.

Nothing in the folder names its own path, so a data root that was moved or copied is an installation
of its own.
"""

import base64
import contextlib
import fcntl
import json
import os
import re
import secrets
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from contracts.commands import CONF_FOLDER, DAGS_FOLDER, PLUGINS_FOLDER
from contracts.errors import BadInput
from contracts.paths import Places
from spark_jobs.spark import class_archive
from spark_jobs.spark.delta_jars import spark_home
from userbert.scheduling.airflow_api import AIRFLOW_USER

# Values of a generated airflow.cfg that name the folder in which it was generated. Without them
# Airflow takes the same places below AIRFLOW_HOME.
_OWN_PATHS = re.compile(
    r"^(?:dags_folder = \S+/dags|plugins_folder = \S+/plugins"
    r"|sql_alchemy_conn = sqlite:\S+/airflow\.db|base_log_folder = \S+/logs"
    r"|dag_processor_child_process_log_directory = \S+/logs/dag_processor)$\n",
    re.MULTILINE,
)
_SECRETS = {"core": "fernet_key", "api": "secret_key", "api_auth": "jwt_secret"}


def airflow_environment(places: Places, port: int) -> dict[str, str]:
    """What Airflow and the tasks that it starts find in their environment.

    A variable that is set outside wins, so that an installation with an Airflow database or a Spark
    connection of its own (a standalone master, YARN, Kubernetes) names it there. What belongs to
    this root and this start is never taken from outside.
    """
    defaults = {
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS_FOLDER),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PLUGINS_FOLDER),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{AIRFLOW_USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords_file(places)),
        # Parsing the DAG files takes 3 CPU seconds; every 30 s (the default) is a tenth of a core.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
        # A task whose process is gone is tried again after this; Airflow's default is 300.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "120",
        # The same for a task whose scheduler is gone; Airflow's default is 300.
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "60",
        # The URI spark://local[2] would silently become yarn.
        "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps({"conn_type": "spark", "host": "local[2]"}),
        "SPARK_HOME": str(spark_home()),
        "SPARK_CONF_DIR": str(CONF_FOLDER),
        **class_archive.archive_environment(),
        "PYSPARK_PYTHON": sys.executable,
    }
    own = {
        "AIRFLOW_HOME": str(places.airflow),
        "AIRFLOW_CONFIG": str(places.airflow / "airflow.cfg"),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://localhost:{port}",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://localhost:{port}/execution/",
        "USERBERT_DATA": str(places.root),
        "USERBERT_SCHEDULED_FROM": _scheduled_from(places),
    }
    path = f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**defaults, **os.environ, **own, "PATH": path}


def _scheduled_from(places: Places) -> str:
    """The first midnight (UTC) after this installation was set up, kept next to its database."""
    kept = places.airflow / "scheduled_from"
    if kept.exists():
        return kept.read_text()
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    return f"{tomorrow}T00:00:00+00:00"


def passwords_file(places: Places) -> Path:
    """Where Airflow's SimpleAuthManager finds the password of each user, as JSON."""
    return places.airflow / "passwords.json"


def prepare_home(places: Places) -> None:
    """Make the folder, its login, and its airflow.cfg with secrets and without paths."""
    places.airflow.mkdir(parents=True, exist_ok=True)
    _make_login(passwords_file(places))
    (places.airflow / "scheduled_from").write_text(_scheduled_from(places))
    config = places.airflow / "airflow.cfg"
    if config.exists():
        text = config.read_text(encoding="utf-8")
        fresh = _OWN_PATHS.sub("", text)
    else:
        text, fresh = "", _new_config()
    if fresh != text:
        config.touch(mode=0o600)
        config.write_text(fresh, encoding="utf-8")


def _make_login(path: Path) -> None:
    """A random password, which is shown once. Airflow makes none for a user who has one."""
    password = secrets.token_urlsafe(18)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        path.chmod(0o600)
        return
    with os.fdopen(file, "w", encoding="utf-8") as out:
        json.dump({AIRFLOW_USER: password}, out)
    sys.stderr.write(
        f"Airflow's login, shown this once: user {AIRFLOW_USER}, password {password}\n"
        f"  {path} keeps it; remove the file for a new one\n"
    )


def _new_config() -> str:
    """Only secrets, which all processes of Airflow must share; the rest is Airflow's default."""
    lines = ["# Secrets of this installation. Other settings: environment(), airflow_home.py."]
    for section, name in _SECRETS.items():
        key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        lines += [f"[{section}]", f"{name} = {key}"]
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def sole_use(places: Places) -> Iterator["HomeLock"]:
    """Hold this Airflow's lock; BadInput names the Airflow that holds it already.

    The lock is the kernel's, so it ends with the processes that hold it, however they end.
    """
    path = places.airflow / "running.json"
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise _already_runs(places, path.read_text(encoding="utf-8")) from None
        yield HomeLock(path, file.fileno())


def running_airflow_port(places: Places) -> tuple[bool, int | None]:
    """Whether an Airflow uses this root, and its port as far as it is known. Changes no file."""
    path = places.airflow / "running.json"
    try:
        with path.open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False, None
    except FileNotFoundError:
        return False, None
    except OSError:
        with contextlib.suppress(OSError, ValueError, KeyError):
            return True, int(json.loads(path.read_text(encoding="utf-8"))["port"])
        return True, None


class HomeLock:
    """The lock on an Airflow's folder. Child processes that are given `descriptor` hold it too."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.descriptor = descriptor
        self._path = path

    def note(self, port: int, pids: list[int]) -> None:
        """Tell whoever comes second where this Airflow is."""
        text = json.dumps({"port": port, "pids": pids})
        self._path.write_text(text, encoding="utf-8")


class AirflowInUse(BadInput):
    """Another Airflow has the folder. `port` is where its API answers, None where none does."""

    def __init__(self, message: str, port: int | None = None) -> None:
        super().__init__(message)
        self.port = port


def _already_runs(places: Places, note: str) -> AirflowInUse:
    with contextlib.suppress(ValueError, KeyError):
        running = json.loads(note)
        alive = [str(pid) for pid in running["pids"] if _is_alive(pid)]
        if not alive:
            return AirflowInUse(
                f"a task of an Airflow that was killed is still at work on {places.root}: try "
                "again when it has ended"
            )
        return AirflowInUse(
            f"an Airflow uses {places.root} already: http://localhost:{running['port']} (processes "
            f"{' '.join(alive)}). Use that one, stop it, or name another folder by USERBERT_DATA",
            running["port"],
        )
    return AirflowInUse(f"an Airflow is starting on {places.root} already")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, and alive
        pass
    return True
