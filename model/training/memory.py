"""Memory that is freed stays with the process: what multiplying on a CPU needs most.

A step makes and drops tensors of tens of megabytes. By default glibc gives each back to the kernel
and gets it again as pages of zeros, 4 KiB at a time. On two cores with AVX-512 a (50,000 x 256) by
(256 x 200) multiplication ran at 65 GFLOP/s so, and at 266 with freed memory kept and huge pages.
"""

import ctypes
import os

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # names of mallopt's settings, from malloc.h


def keep_freed_memory() -> None:
    """Set this process's allocator, before its first tensor if it can be; harmless elsewhere."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # read at torch's first allocation
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_TOP_PAD, 2**26)
