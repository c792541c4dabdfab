"""What this process and all that it started, the JVM and Python's workers, take: memory and CPU."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil  # type: ignore[import-untyped]

_INTERVAL_SECONDS = 0.2  # between two readings of the memory
# A JVM that starts a program is for a moment two processes with one memory, which must not be
# counted twice: a process counts from this age on.
_MIN_PROCESS_AGE_SECONDS = 1.0


def process_tree() -> "list[psutil.Process]":
    import psutil

    this = psutil.Process()
    return [this, *this.children(recursive=True)]


def _cpu_seconds() -> float:
    """The CPU time of the living processes, and of those that they have waited for."""
    import psutil

    total = 0.0
    for process in process_tree():
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def resident_bytes() -> int:
    """Summed over the processes: what they share counts for each."""
    import psutil

    total, now = 0, time.time()
    for process in process_tree():
        try:
            if now - process.create_time() > _MIN_PROCESS_AGE_SECONDS:
                total += process.memory_info().rss
        except psutil.Error:
            continue
    return total


@dataclass
class PeakMemory:
    """The most that was resident so far."""

    bytes: int = 0

    def read(self) -> None:
        self.bytes = max(self.bytes, resident_bytes())


@contextmanager
def measure_peak() -> Iterator[PeakMemory]:
    """The peak of the block; complete when the block has ended."""
    peak, is_over = PeakMemory(), threading.Event()

    def watch() -> None:
        while not is_over.wait(_INTERVAL_SECONDS):
            peak.read()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        peak.read()
        is_over.set()
        watcher.join()


@dataclass
class ProcessCost:
    """What a block cost this process and all that it started: JVM and Python workers."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0  # resident, summed over the processes: shared memory counts for each


@contextmanager
def measure_processes() -> Iterator[ProcessCost]:
    """The cost of the block; complete when the block has ended."""
    cost, started, cpu = ProcessCost(), time.monotonic(), _cpu_seconds()
    with measure_peak() as peak:
        try:
            yield cost
        finally:
            cost.seconds = round(time.monotonic() - started, 2)
            cost.cpu_seconds = round(_cpu_seconds() - cpu, 2)
    cost.peak_bytes = peak.bytes
