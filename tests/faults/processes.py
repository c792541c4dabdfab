"""Commands in processes of their own, to be killed with everything that they started; and commands
in this process, whose one Spark application serves many: a start of one takes 20 CPU seconds."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any


def userbert_command(*words: str) -> list[str]:
    return [sys.executable, "-m", "userbert.cli", *words]


def environment(root: Path, **more: str) -> dict[str, str]:
    return os.environ | {"USERBERT_DATA": str(root), "OMP_NUM_THREADS": "1"} | more


def run_here(words: list[str], root: Path) -> "subprocess.CompletedProcess[str]":
    """A command of `userbert_command`, run to its end in this process, with what it said."""
    from userbert.cli import main

    os.environ["USERBERT_DATA"] = str(root)
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(words[len(userbert_command()) :])
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def start_command(words: list[str], root: Path) -> "subprocess.Popen[bytes]":
    """In a process group of its own, so that the JVM is killed with it."""
    return subprocess.Popen(
        words,
        env=environment(root),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill_group(process: "subprocess.Popen[Any]") -> bool:
    """Whether there was anything to kill."""
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return alive


def count_files(root: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(root))


def finished(
    words: list[str], root: Path, more: Mapping[str, str] | None = None, **options: Any
) -> "subprocess.CompletedProcess[str]":
    """A command that has run to its end, with what it said; `more` of its environment."""
    return subprocess.run(
        words,
        env=environment(root, **(more or {})),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=600,
        **options,
    )
