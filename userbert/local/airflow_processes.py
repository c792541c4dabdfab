"""Airflow's processes: started in the right order, started again where one ends by itself, and
stopped with all their children."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from contracts.paths import Places
from userbert.local.airflow_home import (
    AirflowInUse,
    HomeLock,
    airflow_environment,
    passwords_file,
    prepare_home,
    sole_use,
)
from userbert.local.ports import free_port
from userbert.scheduling.airflow_api import Airflow, AirflowFailed

DAG_IDS = ("history", "pretraining", "nightly", "backfill", "maintenance")
_START_SECONDS = 180  # until Airflow is ready; two cores take 25 to 40
_ATTACH_SECONDS = 60  # until an Airflow that runs already must be ready
_STOP_SECONDS = 15  # between SIGTERM and SIGKILL
_WATCH_SECONDS = 2.0  # between two looks whether all processes are there
_MAX_RESTARTS = 5  # of all processes together; then something is wrong that a start does not mend
_AIRFLOW = str(Path(sys.prefix) / "bin" / "airflow")
# Servers for logs would listen on all interfaces (ports 8793 and 8794). They are not needed: the
# API reads the log files themselves, on the same machine.
_WITHOUT_LOG_SERVER = "--skip-serve-logs"


@contextlib.contextmanager
def running_airflow(places: Places, wanted_port: int = 8080) -> Iterator[Airflow]:
    """Airflow, started and, at the end, stopped with all its children. For the main thread.

    `airflow standalone` would start the scheduler nine seconds before the API: a run that is due
    would start a task that cannot report to anybody, and is killed. So the API comes first.
    """
    prepare_home(places)
    with sole_use(places) as lock:
        port = free_port(wanted_port)
        log = places.airflow / "standalone.log"
        airflow = Airflow(f"http://localhost:{port}", passwords_file(places))
        with _Processes(airflow_environment(places, port), log, lock, port) as processes:
            processes.run_to_end("db", "migrate")
            processes.start("api-server")
            processes.start("dag-processor")
            processes.wait_until(airflow.answers)
            processes.start("scheduler", _WITHOUT_LOG_SERVER)
            processes.start("triggerer", _WITHOUT_LOG_SERVER)
            processes.wait_until(lambda: airflow.is_ready(set(DAG_IDS)))
            airflow.add_pool("gpu", slots=1)
            processes.keep_running()
            yield airflow


@contextlib.contextmanager
def own_or_running_airflow(places: Places, wanted_port: int = 8080) -> Iterator[Airflow]:
    """The Airflow that runs on this data root already, and stays; else one that is started.

    Where the command that started an Airflow was killed, that Airflow goes on with its runs: the
    same command, called again, follows them there.
    """
    with contextlib.ExitStack() as stack:
        try:
            airflow = stack.enter_context(running_airflow(places, wanted_port))
        except AirflowInUse as in_use:
            airflow = _attach(in_use, places)
        yield airflow


def _attach(in_use: AirflowInUse, places: Places) -> Airflow:
    """The API of an Airflow that is running; the error itself where it never gets ready."""
    if in_use.port is None:
        raise in_use
    airflow = Airflow(f"http://localhost:{in_use.port}", passwords_file(places))
    sys.stderr.write(f"an Airflow runs here already: {airflow.address}. It stays afterwards\n")
    if not _comes_true(lambda: airflow.is_ready(set(DAG_IDS)), _ATTACH_SECONDS):
        raise in_use
    return airflow


class _Processes:
    """Commands of Airflow, each in a session of its own so that its children can be ended too."""

    def __init__(self, environ: dict[str, str], log: Path, lock: HomeLock, port: int) -> None:
        self._environ, self._log, self._lock, self._port = environ, log, lock, port
        self._started: list[subprocess.Popen[bytes]] = []
        self._is_closing = threading.Event()
        self._watcher: threading.Thread | None = None
        self._num_restarts = 0

    def __enter__(self) -> "_Processes":
        # Who ends this process ends Airflow with it.
        self._earlier_handler = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        return self

    def __exit__(self, *error: object) -> None:
        self._is_closing.set()
        if self._watcher:
            self._watcher.join()
        for process in reversed(self._started):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        for process in self._started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
        time.sleep(1)  # for the children of a parent that has ended
        for process in self._started:
            _kill_session(process)
            process.wait()
        signal.signal(signal.SIGTERM, self._earlier_handler)

    def run_to_end(self, *words: str) -> None:
        process = self._popen(words)
        exit_code = process.wait()
        self._started.remove(process)
        if exit_code:
            raise AirflowFailed(f"`airflow {' '.join(words)}` failed; read {self._log}")

    def start(self, *words: str) -> None:
        self._popen(words)

    def keep_running(self) -> None:
        """From now on start again what ends by itself or is killed.

        Without its scheduler a night would stand still for ever, and nobody would hear of it.
        """
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def _watch(self) -> None:
        while not self._is_closing.wait(_WATCH_SECONDS):
            for place, process in enumerate(self._started):
                if process.poll() is not None and not self._start_again(place, process):
                    os.kill(os.getpid(), signal.SIGTERM)
                    return

    def _start_again(self, place: int, dead: "subprocess.Popen[bytes]") -> bool:
        """Whether it is worth it. What a dead scheduler had at work ends first: the new one gives
        these tasks another try, and one that still ran would do the same work at the same time."""
        words = tuple(dead.args[1:])  # type: ignore[index]
        ended = f"`airflow {words[0]}` ended with exit code {dead.returncode}"
        if self._num_restarts == _MAX_RESTARTS:
            sys.stderr.write(f"{ended}, after {_MAX_RESTARTS} starts again; read {self._log}\n")
            return False
        sys.stderr.write(f"{ended}; it is started again\n")
        self._num_restarts += 1
        _kill_session(dead)
        self._started[place] = self._launched(words)
        self._note()
        return True

    def wait_until(self, is_true: Callable[[], bool]) -> None:
        def holds() -> bool:
            self._must_all_run()
            return is_true()

        if not _comes_true(holds, _START_SECONDS):
            raise AirflowFailed(f"Airflow was not ready after {_START_SECONDS} s; read {self._log}")

    def _must_all_run(self) -> None:
        for process in self._started:
            if process.poll() is not None:
                name = " ".join(map(str, process.args[1:]))  # type: ignore[index]
                raise AirflowFailed(
                    f"`airflow {name}` stopped with exit code {process.returncode}; "
                    f"read {self._log}"
                )

    def _popen(self, words: tuple[str, ...]) -> "subprocess.Popen[bytes]":
        process = self._launched(words)
        self._started.append(process)
        self._note()
        return process

    def _note(self) -> None:
        self._lock.note(self._port, [each.pid for each in self._started])

    def _launched(self, words: tuple[str, ...]) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as out:
            return subprocess.Popen(
                [_AIRFLOW, *words],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[self._lock.descriptor],
            )


def _comes_true(is_true: Callable[[], bool], seconds: float) -> bool:
    """Ask twice a second, for at most `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if is_true():
            return True
        time.sleep(0.5)
    return False


def _kill_session(process: "subprocess.Popen[bytes]") -> None:
    """All that is left of it. A task is a process group of its own, and outlives its scheduler."""
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(pid) == process.pid:
                os.kill(pid, signal.SIGKILL)
