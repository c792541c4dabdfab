"""Users out of the text of logs and reports, which stay readable for the rest."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from contracts.paths import Places
from contracts.storage.atomic_write import atomic_file
from erasure.scan import (
    PACKED_SUFFIXES,
    is_sqlite,
    names_user_in_file,
    scan_files,
    text_columns_of_sqlite,
)
from erasure.user_patterns import Users

_SqlValue = str | bytes | int | float | None


def text_files(places: Places) -> list[Path]:
    """The files of logs and reports, whose text may be changed; Spark's event logs are packed."""
    kept = {places.landing, places.models, places.event_logs, Path(places.lake), places.arrays}
    kept |= {places.root / "forgotten", places.feature_store}
    return [
        path
        for path in sorted(places.root.rglob("*"))
        if path.suffix not in (*PACKED_SUFFIXES, ".parquet", ".npy")
        and kept.isdisjoint(path.parents)
        and path.is_file()
        and not path.is_symlink()
    ]


def redact_file(path: Path, users: Users) -> bool:
    """Take the users out of a text file, or out of the text in a SQLite file; was there any?"""
    if is_sqlite(path):
        return _redact_sqlite(path, users)
    text = path.read_bytes()
    if (redacted := users.redact_text(text)) == text:
        return False
    with atomic_file(path) as unfinished:
        unfinished.write_bytes(redacted)
        unfinished.chmod(path.stat().st_mode)
    return True


def _redact_sqlite(path: Path, users: Users) -> bool:
    """Values first; then the whole file is written anew, so that no free page keeps them."""
    if not names_user_in_file(path, users):
        return False
    with closing(sqlite3.connect(path, timeout=60)) as sql:
        sql.create_function("redacted", 1, lambda value: _redacted_value(value, users))
        for table, column in text_columns_of_sqlite(sql):
            with sql:
                sql.execute(
                    f'UPDATE "{table}" SET "{column}" = redacted("{column}") '
                    f"WHERE typeof(\"{column}\") IN ('text', 'blob') "
                    f'AND redacted("{column}") IS NOT "{column}"'
                )
        sql.execute("VACUUM")
        sql.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return True


def _redacted_value(value: _SqlValue, users: Users) -> _SqlValue:
    if isinstance(value, str):
        text = value.encode(errors="surrogateescape")
        return users.redact_text(text).decode(errors="surrogateescape")
    return users.redact_text(value) if isinstance(value, bytes) else value


def redact_logs(places: Places, users: Users) -> tuple[int, int]:
    """Redact the text of logs and reports; Spark's event logs, which are packed, go whole.

    How many files were redacted, and how many event logs were removed.
    """
    logs = places.event_logs
    found, _, _ = scan_files([logs], users)
    gone = {logs / each.path.relative_to(logs).parts[0] for each in found}
    for log in gone:
        shutil.rmtree(log) if log.is_dir() else log.unlink(missing_ok=True)
    redacted = sum(redact_file(path, users) for path in text_files(places))
    return redacted, len(gone)
