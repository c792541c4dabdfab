"""Airflow's scheduler is killed while it runs a night: does the night end, with the same tables?

    python -m tests.faults.scheduler_trials [--first-seed 0] [--trials 1]

A real Airflow (`userbert airflow`) runs a night of a small lake. Its scheduler is ended by kill -9
after a random number of the night's commits, and nobody does anything: it must be started again,
and the night must end. Every row of all tables is then compared with those of a night that ran in
this process, undisturbed.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil

from contracts.paths import Places
from spark_jobs.spark.session import session
from tests.faults.nightly_lake import NUM_HISTORY_DAYS, TABLES, day, done, make_lake, night_steps
from tests.faults.processes import environment, userbert_command
from tests.faults.trials import Ending, Trial, compared, main_of_trials
from userbert.local.airflow_processes import DAG_IDS
from userbert.local.ports import free_port
from userbert.scheduling.airflow_api import Airflow

NIGHT = NUM_HISTORY_DAYS
NUM_COMMITS = 7  # of a night
WAIT_S = 600  # for Airflow to be ready, and for the night to end


@contextmanager
def running(root: Path) -> Iterator[tuple[Airflow, "subprocess.Popen[str]"]]:
    port = free_port(18_080)
    airflow = Airflow(f"http://localhost:{port}")
    process = subprocess.Popen(
        userbert_command("airflow", "--port", str(port)),
        env=environment(root), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_until(lambda: airflow.is_ready(set(DAG_IDS)), process)
        yield airflow, process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def wait_until(is_true, process: "subprocess.Popen[str]") -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + WAIT_S
    while not is_true():
        if time.monotonic() > deadline or process.poll() is not None:
            raise RuntimeError(f"it did not come true in {WAIT_S} s, or Airflow ended")
        time.sleep(1)


def scheduler_of(process: "subprocess.Popen[str]") -> psutil.Process:
    return next(
        each for each in psutil.Process(process.pid).children() if "scheduler" in each.cmdline()
    )


def num_commits(root: Path) -> int:
    return sum(1 for _ in Path(Places(root).lake).glob("*/_delta_log/*.json"))


def run_trial(before: Path, quiet: Path, seed: int, root: Path) -> Ending:
    shutil.copytree(before, root)
    commits = random.Random(seed).randrange(1, NUM_COMMITS)
    as_of, at_first = str(day(NIGHT + 1)), num_commits(root)
    with running(root) as (airflow, process):
        (run,) = airflow.backfill("nightly", as_of, as_of, lambda: None).values()
        wait_until(lambda: num_commits(root) - at_first >= commits, process)
        scheduler_of(process).kill()
        ended = ("success", "failed")
        wait_until(lambda: airflow.dag_run("nightly", run)["state"] in ended, process)
        state = airflow.dag_run("nightly", run)["state"]
        tries = [task["try_number"] for task in airflow.task_instances("nightly", run)]
    said = process.stderr.read() if process.stderr else ""
    words = f"killed after {commits} commits; {state}, tries {tries}; {said.strip()[-120:]}"
    if state != "success" or "it is started again" not in said:
        return Ending("wrong", detail=words)
    return compared(root, quiet, TABLES, 1, words)


def scheduler_trials(seeds: range, scratch: Path) -> Iterator[Trial]:
    os.environ.setdefault("PYSPARK_SUBMIT_ARGS", "--master local[2] pyspark-shell")
    before, quiet = scratch / "before", scratch / "quiet"
    with session("scheduler trials", logged=False):
        make_lake(before, num_nights=1)
        shutil.copytree(before, quiet)
        done(quiet, "steps", *night_steps(NIGHT))
    for seed in seeds:
        yield Trial("a killed scheduler", seed, partial(run_trial, before, quiet, seed))


if __name__ == "__main__":
    sys.exit(main_of_trials("scheduler trials", __doc__, scheduler_trials, 1))
