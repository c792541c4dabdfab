"""Which process writes which day, so that several backfills share days instead of repeating them.

The lock is on a file, and the system releases it when its holder ends, however it ends. It saves
work and answers `plan`; the tables are safe without it, by Delta's own conflict checks.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path


@dataclass(frozen=True)
class DayLock:
    """A day that is ours until the `with` ends."""

    path: Path
    file: int

    def is_untouched_since(self, moment: float) -> bool:
        """Whether nobody has finished the day since `moment` (seconds since 1970)."""
        return os.fstat(self.file).st_size == 0 or os.fstat(self.file).st_mtime < moment

    def touch(self) -> None:
        """Record that the day was written now."""
        os.pwrite(self.file, b"written\n", 0)


@dataclass(frozen=True)
class DayLocks:
    folder: Path

    def _path(self, day: date) -> Path:
        return self.folder / f"{day}.claim"

    @contextmanager
    def lock(self, day: date, wait: bool) -> Iterator[DayLock | None]:
        """The lock on `day`; None where another process has it and we do not `wait` for it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = os.open(self._path(day), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield None
                return
            yield DayLock(self._path(day), file)
        finally:
            os.close(file)

    def is_taken(self, day: date) -> bool:
        """Whether a process is writing `day` now. Makes no file."""
        try:
            file = os.open(self._path(day), os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(file)
        return False


def locked_days(locks: DayLocks) -> list[date]:
    """The days that processes are writing now."""
    days = sorted(date.fromisoformat(path.stem) for path in locks.folder.glob("????-??-??.claim"))
    return [day for day in days if locks.is_taken(day)]
