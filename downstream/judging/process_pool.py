"""Jobs in parallel processes, whose results come as they are finished."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TypeVar

_Job = TypeVar("_Job")
_Argument = TypeVar("_Argument")
_Found = TypeVar("_Found")


def run_in_processes(
    work: Callable[[_Job, _Argument], _Found],
    jobs: Sequence[_Job],
    argument: _Argument,
    processes: int,
    prepare: Callable[[], None],
) -> Iterator[tuple[_Job, _Found]]:
    """Each job with what `work(job, argument)` made of it, the first finished first.

    Each process calls `prepare` once. Who stops reading, say by Ctrl-C, waits for no job that has
    not begun. Where this process is killed, its processes end in the middle of their jobs.
    """
    context = get_context("forkserver")
    with ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(prepare,)) as pool:
        running = {pool.submit(work, job, argument): job for job in jobs}
        try:
            for future in as_completed(running):
                yield running[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _begin(prepare: Callable[[], None]) -> None:
    Thread(target=_end_with_parent, daemon=True).start()
    prepare()


def _end_with_parent() -> None:
    """A worker of a killed parent would finish its job, and the queue's next ones, for nobody."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
