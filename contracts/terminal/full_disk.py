"""A full disk in one line, whichever library ran into it: the folder, and what to do."""

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from contracts.errors import UserbertError, error_causes
from contracts.paths import Places

# EFBIG is what a limit on the size of files ends in (`ulimit -f`).
_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Java, Rust and DuckDB hand on the system's message and no number.
_MESSAGES = ("No space left on device", "Disk quota exceeded", "File too large")
_MIB = 1 << 20


class DiskFull(UserbertError):
    """A file could not be written. What was committed before is whole."""


@contextmanager
def full_disk_named() -> Iterator[None]:
    """Whatever a full disk stops in here ends as `DiskFull`."""
    try:
        yield
    except Exception as error:
        if full_disk := _full_disk_error(error, Places.from_environment()):
            raise full_disk from error
        raise


def _full_disk_error(error: BaseException, places: Places) -> DiskFull | None:
    """`error` as one line if a full disk is at its root; None if it is something else."""
    cause = _full_disk_cause(error)
    if cause is None:
        return None
    filename = getattr(cause, "filename", None)
    folder = Path(filename).parent if isinstance(filename, str) else _fullest_folder(places)
    usage = shutil.disk_usage(_existing(folder))
    return DiskFull(
        f"the disk is full: {folder} ({usage.free / _MIB:,.1f} of {usage.total / _MIB:,.0f} MiB "
        f"free). What was committed before is whole. Make room there{_room_needed(places)} "
        "(`userbert maintenance` removes files that nobody needs), or name another data root by "
        "USERBERT_DATA; then run the same command again"
    )


def is_of_full_disk(error: BaseException) -> bool:
    """Whether a full disk is at the root of `error`."""
    return _full_disk_cause(error) is not None


def _full_disk_cause(error: BaseException) -> BaseException | None:
    return next((each for each in error_causes(error) if _is_full_disk(each)), None)


def _is_full_disk(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _ERRORS
    return any(message in str(error) for message in _MESSAGES)


def _fullest_folder(places: Places) -> Path:
    """Spark does not name the file: the folder with the least room, of those it writes to."""
    lake = [] if "://" in places.lake else [Path(places.lake)]
    folders = [*lake, places.root, Path(tempfile.gettempdir())]
    return min(folders, key=lambda folder: shutil.disk_usage(_existing(folder)).free)


def _room_needed(places: Places) -> str:
    """How much is enough: no job writes more than its whole table anew."""
    tables = [] if "://" in places.lake else [*Path(places.lake).glob("*/_delta_log")]
    sizes = [_folder_bytes(log.parent) for log in tables]
    if not sizes:
        return ""
    return f", {max(sizes) / _MIB:,.1f} MiB to write the largest table anew"


def _folder_bytes(folder: Path) -> int:
    size = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # another process may remove it
            size += path.lstat().st_size
    return size


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
