"""Who may read the files that a command writes: its owner alone, or whom the installation says."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from contracts.errors import BadInput


@contextmanager
def private_files() -> Iterator[None]:
    """In here new files are for their owner alone, or as USERBERT_UMASK says."""
    before = os.umask(_wanted_mask())
    try:
        yield
    finally:
        os.umask(before)


def _wanted_mask() -> int:
    text = os.environ.get("USERBERT_UMASK", "077")
    try:
        mask = int(text, 8)
    except ValueError:
        mask = -1
    if not 0 <= mask <= 0o777:
        raise BadInput(
            f"USERBERT_UMASK is {text!r}: say three octal digits such as 077 (files for their "
            "owner alone) or 027 (readable by the group)"
        )
    return mask
