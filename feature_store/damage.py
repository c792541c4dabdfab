"""Feast's own files, damaged: which can be made anew from the lake, and how that is said."""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from contracts.storage.atomic_write import write_json
from contracts.storage.damage import DamagedFile
from contracts.storage.file_checksum import file_checksum

_REFRESH_COMMAND = "`userbert features refresh --as-of DAY`"
_CHECKSUMS_FILE = "checksums.json"


@contextmanager
def name_damage(registry: Path, online: Path | None) -> Iterator[None]:
    """Turn the errors of a damaged registry or SQLite file into one line each."""
    for path in filter(None, (registry, online)):
        if not is_as_left(path):
            raise _damage(path, "nobody has written to it since userbert did, and it has changed")
    try:
        _must_not_be_empty(registry)
        yield
    except DecodeError:
        raise _damage(registry, "it is no registry of Feast") from None
    except sqlite3.DatabaseError as error:
        if online is None:
            raise
        missing = not online.exists() or not online.stat().st_size
        raise _damage(online, "it is gone or empty" if missing else str(error)) from None


def _damage(path: Path, fault: str) -> DamagedFile:
    return DamagedFile(
        f"{path} is damaged: {fault}. It is made from the lake: {_REFRESH_COMMAND} makes it anew"
    )


def note_checksums(paths: Iterable[Path]) -> None:
    """Keep the checksums of files in one folder as they are now, with their sizes and times."""
    noted = {path.name: [*_state(path), file_checksum(path)] for path in paths if path.exists()}
    for folder in {path.parent for path in paths}:
        write_json(folder / _CHECKSUMS_FILE, noted)


def is_as_left(path: Path) -> bool:
    """Whether a file holds what `note_checksums` saw, or somebody has written to it since.

    Neither SQLite nor protobuf keeps checksums: a bit that a disk has flipped would be another
    vector, or another name of a feature.
    """
    try:
        noted: Any = json.loads(path.with_name(_CHECKSUMS_FILE).read_bytes())
        *state, checksum = noted[path.name]
        return bool(state != _state(path) or checksum == file_checksum(path))
    except (OSError, ValueError, KeyError, TypeError):
        return True  # nothing is known of it


def _state(path: Path) -> list[int]:
    facts = path.stat()
    return [facts.st_size, facts.st_mtime_ns]


def _must_not_be_empty(registry: Path) -> None:
    """Feast reads a file without a byte as a registry that knows nothing, and writes none such."""
    if registry.exists() and not registry.stat().st_size:
        raise DecodeError


def is_whole_registry(path: Path) -> bool:
    """Whether Feast can read the file; one that is not there yet is whole."""
    from feast.protos.feast.core.Registry_pb2 import Registry

    try:
        _must_not_be_empty(path)
        Registry.FromString(path.read_bytes())
    except FileNotFoundError:
        return True
    except DecodeError:
        return False
    return True


def is_whole_database(path: Path) -> bool:
    """Whether every page of the SQLite file can be read; one that is not there yet is whole."""
    if not path.exists():
        return True
    try:
        with closing(sqlite3.connect(path, timeout=60)) as sql:
            return bool(sql.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.DatabaseError:
        return False


def put_aside(path: Path) -> None:
    """Rename a damaged file, and SQLite's journals of it, so that a new one can be made."""
    for each in (path, *(path.with_name(f"{path.name}{end}") for end in ("-wal", "-shm"))):
        if each.exists():
            each.replace(each.with_name(f"{each.name}.damaged"))
