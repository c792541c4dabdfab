"""Where on disk a user is named: a scan of every file below the given folders.

Of Parquet every column is decoded, and a user column counts by its whole values. Page titles,
words and hosts are the pages' and other users' too: a mention there is reported, and is no residual
mention of the user. SQLite files are read by value, packed files unpacked, all others as bytes.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from erasure.user_patterns import Users

PACKED_SUFFIXES = {".gz": "gzip", ".zstd": "zstd", ".zst": "zstd", ".lz4": "lz4", ".bz2": "bz2"}
_PAGE_FIELDS = ("title", "words", "host")  # they say what was viewed, not by whom
_SQLITE = b"SQLite format 3\0"
_CHUNK_BYTES = 16 << 20
_OVERLAP_BYTES = 4096  # longer than any id with the name of its column


@dataclass(frozen=True)
class Finding:
    """One place that names a user. `page`: only a page's title does."""

    path: Path
    where: str
    page: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.where}"


FileSearch = Callable[[Path], list[Finding] | None]


def scan_files(
    roots: Iterable[Path], users: Users, special: FileSearch = lambda path: None
) -> tuple[list[Finding], int, int]:
    """All findings below `roots`, and how many files and bytes were looked through.

    `special` looks through the files whose form it knows, and gives None for others.
    """
    found: list[Finding] = []
    files = size = 0
    for root in roots:
        for path in sorted(root.rglob("*")):
            if path.is_symlink() or not path.is_file():
                continue
            files, size = files + 1, size + path.stat().st_size
            known = special(path)
            found += _in_file(path, users) if known is None else known
    return found, files, size


def _in_file(path: Path, users: Users) -> list[Finding]:
    try:
        if path.suffix == ".parquet" and _first_bytes(path)[:4] == b"PAR1":
            return list(_in_parquet(path, users))
        if is_sqlite(path):
            return [*_search_sqlite(path, users), *_in_bytes(path, users)]
        return list(_in_bytes(path, users))
    except (OSError, pa.ArrowException, sqlite3.Error) as error:
        return [Finding(path, f"could not be read: {error}")]


def _in_bytes(path: Path, users: Users) -> Iterator[Finding]:
    """The bytes as they are and, of a packed file, as they unpack."""
    packings = [None, *{PACKED_SUFFIXES.get(path.suffix)} - {None}]
    for packing in packings:
        if any(
            users.are_in_text(part) or users.are_in_wide_text(part)
            for part in _chunks(path, packing)
        ):
            yield Finding(path, f"unpacked by {packing}" if packing else "its bytes")


def _chunks(path: Path, packing: str | None) -> Iterator[bytes]:
    """Parts of the file, each with the end of the one before. A torn end is left out."""
    held = b""
    with pa.input_stream(str(path), compression=packing) as stream:  # type: ignore[arg-type]
        while part := _next(stream, torn_is_end=packing is not None):
            yield held + part
            held = part[-_OVERLAP_BYTES:]


def _next(stream: Any, torn_is_end: bool) -> bytes:
    try:
        return bytes(stream.read(_CHUNK_BYTES))
    except (OSError, pa.ArrowException):
        if torn_is_end:
            return b""
        raise


def _in_parquet(path: Path, users: Users) -> Iterator[Finding]:
    """By column, and then as bytes: a file keeps texts in its footer and between its pages too.

    Where a page's title names a user, its bytes would too; they are not searched then.
    """
    in_pages = False
    longer: set[str] = set()
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(8_192, columns=_text_columns(file.schema_arrow)):
            for name, values in _leaves(batch):
                if name in users.columns:
                    is_named = any(map(users.has, values))
                    longer.update(v for v in values if users.are_words_of(v.encode()))
                else:  # a separator keeps two values from making a word
                    is_named = users.are_in_text("\n".join(values).encode())
                if is_named:
                    in_pages |= name in _PAGE_FIELDS
                    yield Finding(path, f"column {name}", page=name in _PAGE_FIELDS)
    if not in_pages and users.words:
        others = (value for value in longer if not users.has(value))
        yield from _in_bytes(path, replace(users, longer=(*users.longer, *others)))


def _text_columns(schema: pa.Schema) -> list[str]:
    return [f.name for f in schema if _has_text(f.type)]


def _has_text(kind: Any) -> bool:
    if pa.types.is_nested(kind):
        return any(_has_text(kind.field(i).type) for i in range(kind.num_fields))
    return _is_text(kind)


def _is_text(kind: Any) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_dictionary(kind)
    )


def _leaves(batch: pa.RecordBatch) -> Iterator[tuple[str, list[str]]]:
    """(name of the column or, of a nested one, of the innermost field; its distinct texts)."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        for field, values in _flat(name, column):
            yield field, [_as_text(value) for value in pc.unique(values).to_pylist() if value]


def _as_text(value: str | bytes) -> str:
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else value


def _flat(name: str, column: Any) -> Iterator[tuple[str, Any]]:
    kind = column.type
    if pa.types.is_map(kind):
        yield from _flat(name, column.keys)
        yield from _flat(name, column.items)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield from _flat(name, column.flatten())
    elif pa.types.is_struct(kind):
        for field, part in zip(kind, column.flatten(), strict=True):
            yield from _flat(field.name, part)
    elif _is_text(kind):
        yield name, column


def _search_sqlite(path: Path, users: Users) -> Iterator[Finding]:
    """Every value of every table; the raw bytes show what its free pages hold."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60)) as sql:
        for table, column in text_columns_of_sqlite(sql):
            values = sql.execute(f'SELECT "{column}" FROM "{table}"')
            if any(_is_in_value(value, column, users) for (value,) in values):
                yield Finding(path, f"table {table}, column {column}")


def text_columns_of_sqlite(sql: sqlite3.Connection) -> list[tuple[str, str]]:
    """(table, column) of all tables; SQLite keeps text in a column of any type."""
    tables = sql.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return [
        (table, column)
        for (table,) in tables
        for _, column, *_ in sql.execute(f'PRAGMA table_info("{table}")').fetchall()
    ]


def _is_in_value(value: object, column: str, users: Users) -> bool:
    if isinstance(value, str):
        if column in users.columns:
            return users.has(value)
        return users.are_in_text(value.encode(errors="replace"))
    if isinstance(value, bytes):
        is_key = column == "entity_key" and value.endswith(users.online_keys)
        return is_key or users.are_in_text(value)
    return False


def names_user_in_file(path: Path, users: Users) -> bool:
    """Whether anything in the file names one of them."""
    return bool(_in_file(path, users))


def is_sqlite(path: Path) -> bool:
    return _first_bytes(path) == _SQLITE


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(_SQLITE))
