"""Time, CPU time and memory of this process and of all that it started: JVM and Python workers."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil  # type: ignore[import-untyped]

EVERY = 0.2  # seconds between two looks at the memory
# Seconds. A JVM that starts a program is for a moment two processes with one memory.
YOUNG = 1.0


@dataclass
class Measured:
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0  # resident, summed over the processes: what they share counts for each


def tree() -> list[psutil.Process]:
    me = psutil.Process()
    return [me, *me.children(recursive=True)]


def cpu_seconds() -> float:
    """Of the processes that are there, and of those that they have waited for."""
    total = 0.0
    for process in tree():
        try:
            told = process.cpu_times()
        except psutil.Error:
            continue
        total += told.user + told.system + told.children_user + told.children_system
    return total


def resident_bytes() -> int:
    total, now = 0, time.time()
    for process in tree():
        try:
            if now - process.create_time() > YOUNG:
                total += process.memory_info().rss
        except psutil.Error:
            continue
    return total


@contextmanager
def measured() -> Iterator[Measured]:
    """What the block takes; whole when it has ended."""
    told, over = Measured(), threading.Event()

    def watch() -> None:
        while not over.wait(EVERY):
            told.peak_bytes = max(told.peak_bytes, resident_bytes())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    began, cpu = time.monotonic(), cpu_seconds()
    try:
        yield told
    finally:
        told.seconds = round(time.monotonic() - began, 2)
        told.cpu_seconds = round(cpu_seconds() - cpu, 2)
        over.set()
        watcher.join()
