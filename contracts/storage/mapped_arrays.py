"""Arrays in files that are written through memory."""

import os
from pathlib import Path
from typing import Any


def new_mapped_array(path: Path, shape: tuple[int, ...], dtype: Any) -> Any:
    """A new .npy file of zeros, mapped, to be written in any order.

    Its place on the disk is taken before a byte is written: where a mapped page finds no room the
    kernel ends the process by SIGBUS, without a word, and here a full disk is an OSError.
    """
    import numpy as np

    try:
        array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    return array
