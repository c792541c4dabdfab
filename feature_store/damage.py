"""Feast's own files, damaged: which can be made anew from the lake, and how that is said."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from contracts.storage.damage import DamagedFile

_REFRESH_COMMAND = "`userbert features refresh --as-of DAY`"


@contextmanager
def name_damage(registry: Path, online: Path | None) -> Iterator[None]:
    """Turn the errors of a damaged registry or SQLite file into one line each."""
    try:
        yield
    except DecodeError:
        raise DamagedFile(
            f"{registry} is damaged: it is no registry of Feast. It is made from the lake: "
            f"{_REFRESH_COMMAND} makes it anew"
        ) from None
    except sqlite3.DatabaseError as error:
        if online is None:
            raise
        missing = not online.exists() or not online.stat().st_size
        fault = "it is gone or empty" if missing else str(error)
        raise DamagedFile(
            f"{online} is damaged: {fault}. It is made from the lake: "
            f"{_REFRESH_COMMAND} makes it anew"
        ) from None


def is_whole_registry(path: Path) -> bool:
    """Whether Feast can read the file; one that is not there yet is whole."""
    from feast.protos.feast.core.Registry_pb2 import Registry

    try:
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
