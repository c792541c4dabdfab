"""Too little memory, and a Java process that ended, in one line each, whoever ran into it."""

import errno
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from contracts.errors import UserbertError, error_causes

# What Java, torch, CUDA, DuckDB and the system say; Python, numpy and Arrow raise a MemoryError.
_NO_MEMORY = re.compile(
    r"OutOfMemoryError[^\n]*|System memory \d+ must be at least \d+|not enough memory[^\n]*"
    r"|can't allocate memory[^\n]*|Cannot allocate memory|CUDA out of memory|Out of Memory Error"
    r"|can't start new thread|failed to map segment from shared object"
)
_NO_JAVA = "JAVA_GATEWAY_EXITED"  # PySpark's word for a Java that has ended before it answered
_AGAIN = "What was committed before is whole; run the same command again"


class LittleMemory(UserbertError):
    """More memory was asked for than there is, or than a limit allows."""


class JavaEnded(UserbertError):
    """Spark's Java process did not start, or has ended while it was at work."""


@contextmanager
def lost_process_named() -> Iterator[None]:
    """Whatever too little memory or the end of Java stops in here ends as one of these errors."""
    try:
        yield
    except Exception as error:
        if named := _named(error):
            raise named from error
        raise


def _named(error: BaseException) -> UserbertError | None:
    causes = list(error_causes(error))
    if memory := next(filter(None, map(_memory_words, causes)), None):
        return LittleMemory(
            f"there is too little memory: {memory}. {_AGAIN} where more is free (a limit of a "
            "container or of `ulimit`, other jobs at the same time), or with another "
            "spark.driver.memory in conf/spark-defaults.conf if it was Spark's"
        )
    if any(_NO_JAVA in str(each) for each in causes):
        return JavaEnded(
            "Spark's Java process did not start; the lines above are its own. `userbert doctor` "
            "looks at Java and at memory: spark.driver.memory in conf/spark-defaults.conf must fit "
            "into what a container or `ulimit` allows"
        )
    if any(map(_is_of_gateway, causes)):
        return JavaEnded(
            "Spark's Java process ended while it was at work: somebody killed it, or the machine "
            f"did, for want of memory (`dmesg | grep -i kill` tells). {_AGAIN}"
        )
    return None


def _memory_words(error: BaseException) -> str:
    """What it says of memory; nothing if it is of something else."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return str(error).partition("\n")[0] or "Python got no more"
    found = _NO_MEMORY.search(str(error))
    return found[0].rstrip(".") if found else ""


def _is_of_gateway(error: BaseException) -> bool:
    """Whether Java does not answer: the connection is gone, within py4j's own code."""
    is_lost = isinstance(error, ConnectionError) or type(error).__name__ == "Py4JNetworkError"
    frames = traceback.extract_tb(error.__traceback__)
    return is_lost and any("py4j" in frame.filename.split("/") for frame in frames)
