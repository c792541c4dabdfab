"""Files and folders that appear whole or not at all, whoever reads meanwhile and however it ends.

Each is written under a hidden name next to its own, brought to the disk, and renamed. A reader sees
the old content or the new; after a kill or a power cut the old is there. Hidden names begin with a
dot, which the ingest and all readers leave out.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A hidden path to write to, which becomes `path` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield unfinished
        _to_disk(unfinished)
        unfinished.replace(path)
        _to_disk(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `path` as UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: object) -> None:
    """Write `path` as JSON for people and programs, a value a line."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def read_json(path: Path) -> Any:
    """What `write_json` wrote; an empty object where there is no file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write_bytes(path: Path, content: bytes) -> None:
    with atomic_file(path) as unfinished:
        unfinished.write_bytes(content)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """A hidden folder to fill, which becomes `folder` when the block ends without an error.

    The rename raises OSError where `folder` has files by then: another process was first.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield unfinished
        for path in sorted(unfinished.rglob("*"), reverse=True):  # a folder after its files
            _to_disk(path)
        unfinished.chmod(0o777 & ~file_mask())  # mkdtemp's folders are for their maker alone
        unfinished.rename(folder)
        _to_disk(folder.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def file_mask() -> int:
    """Which permissions new files of this process lack."""
    mask = os.umask(0o077)  # the kernel tells the old mask only to whom sets a new one
    os.umask(mask)
    return mask


def _to_disk(path: Path) -> None:
    """A rename may reach the disk before the content does, unless the content is there first."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
