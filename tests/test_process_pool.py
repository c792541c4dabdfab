"""The processes of the judge and of the experiments: what ends when the command is killed."""

import signal
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = """
import os, sys, time
from pathlib import Path

from downstream.judging.process_pool import run_in_processes

def write_own_id(job, folder):
    (Path(folder) / job).write_text(str(os.getpid()))
    time.sleep(120)

def nothing():
    pass

if __name__ == "__main__":
    for found in run_in_processes(write_own_id, ["a", "b", "c"], sys.argv[1], 2, nothing):
        pass
"""


def _is_running(process: str) -> bool:
    state = Path("/proc") / process / "stat"
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


def _wait_until(holds, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not so after {seconds} s"
        time.sleep(0.1)


def test_the_processes_of_a_terminated_command_end_with_it(tmp_path):
    script, folder = tmp_path / "jobs.py", tmp_path / "ids"
    script.write_text(SCRIPT)
    folder.mkdir()
    command = subprocess.Popen([sys.executable, str(script), str(folder)])
    try:
        _wait_until(
            lambda: (
                len(list(folder.iterdir())) == 2 and all(p.read_text() for p in folder.iterdir())
            )
        )
        workers = [path.read_text() for path in folder.iterdir()]
        assert all(map(_is_running, workers))
        command.send_signal(signal.SIGTERM)
        command.wait(30)
        _wait_until(lambda: not any(map(_is_running, workers)), 30)
    finally:
        command.kill()
        command.wait()
    assert len(list(folder.iterdir())) == 2  # the third job was not begun
