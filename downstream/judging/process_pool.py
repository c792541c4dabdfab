"""Jobs in parallel processes, whose results come as they are finished."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
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
    not begun.
    """
    context = get_context("forkserver")
    with ProcessPoolExecutor(processes, context, initializer=prepare) as pool:
        running = {pool.submit(work, job, argument): job for job in jobs}
        try:
            for future in as_completed(running):
                yield running[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
