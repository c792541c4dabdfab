"""Where on disk a user is named: a scan of every file, and the redaction of text.

A user is looked for in two ways. As a value of user columns: of user_id in Parquet, beside the
column's name in text ("user_id": "7", user_id=7, and the same inside JSON inside JSON), in the
keys of the online store. And as a word of any bytes whatever, if the id cannot be taken for
something else: six characters or more, not all letters; nine or more where all are digits.
"7" is a page's number, a count or a version in any file: it is looked for in the first way alone.

Of Parquet every column is decoded; page titles, words and hosts are the pages' and other users'
too, and there a mention is told, and counts for nothing.
"""

import html
import json
import re
import sqlite3
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.atomic_write import atomic_file
from contracts.user_lists import trim_user_id

PAGES = ("title", "words", "host")  # columns and fields that say what was viewed, not by whom
REDACTED = b"(forgotten)"
SQLITE = b"SQLite format 3\0"
PACKED = {".gz": "gzip", ".zstd": "zstd", ".zst": "zstd", ".lz4": "lz4", ".bz2": "bz2"}
CHUNK = 16 << 20
OVERLAP = 4096  # longer than any id with the name of its column
SHORTEST, SHORTEST_NUMBER = 6, 9


@dataclass(frozen=True)
class Finding:
    """One place that names a user. `page`: a page's title does, which is no trace of the user."""

    path: Path
    where: str
    page: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.where}"


@dataclass(frozen=True)
class Users:
    """Who is looked for. `columns` are the names that the user column has in files.

    `spellings` are more texts by which files may name them: the ids as they were given.
    """

    ids: tuple[str, ...]
    columns: tuple[str, ...] = ("user_id",)
    spellings: tuple[str, ...] = ()

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """All that is looked for, each text once."""
        return tuple(dict.fromkeys([*self.ids, *self.spellings]))

    @cached_property
    def plain(self) -> tuple[str, ...]:
        """The texts that cannot be taken for anything else."""
        return tuple(text for text in self.texts if is_plain(trim_user_id(text)))

    @cached_property
    def as_value(self) -> re.Pattern[bytes]:
        names = rb"|".join(re.escape(name.encode()) for name in self.columns)
        quotes = rb"(?:\\*[\"']|&quot;|&#34;|&#x27;|&#39;)?"
        beside = rb"(?:" + names + rb")" + quotes + rb"\s*(?:[:=]|&#61;)\s*" + quotes
        return re.compile(rb"(" + beside + rb")(?:" + _either(self.texts) + rb")(?![\w])")

    @cached_property
    def as_word(self) -> re.Pattern[bytes] | None:
        if not self.plain:
            return None
        return re.compile(rb"(?<!\w)()(?:" + _either(self.plain) + rb")(?!\w)")

    @cached_property
    def as_wide_text(self) -> re.Pattern[bytes] | None:
        """As numpy keeps text, and as UTF-16."""
        if not self.plain:
            return None
        forms = [user.encode(code) for user in self.plain for code in ("utf-32-le", "utf-16-le")]
        return re.compile(rb"|".join(map(re.escape, forms)))

    @cached_property
    def online_keys(self) -> tuple[bytes, ...]:
        """How Feast's serialized entity keys end: the length, and the value."""
        return tuple(struct.pack("<I", len(user.encode())) + user.encode() for user in self.texts)

    def in_text(self, text: bytes) -> bool:
        """Whether `text` names one of them in either way."""
        word = self.as_word is not None and self.as_word.search(text) is not None
        return word or self.as_value.search(text) is not None

    def redacted(self, text: bytes) -> bytes:
        for pattern in (self.as_value, self.as_word):
            if pattern is not None:
                text = pattern.sub(rb"\1" + REDACTED, text)
        return text

    def looked_for(self) -> list[str]:
        """What the scan looks for, a line a user; users go by their place in the command."""
        how = {True: "as a value of user columns, and as a word of any file's bytes"}
        how[False] = "as a value of user columns alone: the id is too short to be told from numbers"
        return [f"user {n}: {how[is_plain(user)]}" for n, user in enumerate(self.ids, 1)]


def is_plain(user: str) -> bool:
    if user.isdigit():
        return len(user) >= SHORTEST_NUMBER
    return len(user) >= SHORTEST and not user.isalpha()


def _either(users: Iterable[str]) -> bytes:
    """The ids as they are, and as JSON and HTML write them."""
    forms = {form for user in users for form in (user, json.dumps(user)[1:-1], html.escape(user))}
    return rb"|".join(re.escape(form.encode()) for form in sorted(forms, key=len, reverse=True))


SqlValue = str | bytes | int | float | None
Special = Callable[[Path], list[Finding] | None]


def scan(
    roots: Iterable[Path], users: Users, special: Special = lambda path: None
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
        with path.open("rb") as file:
            start = file.read(16)
        if path.suffix == ".parquet" and start[:4] == b"PAR1":
            return list(in_parquet(path, users))
        if start == SQLITE:
            return [*in_sqlite(path, users), *in_bytes(path, users)]
        return list(in_bytes(path, users))
    except (OSError, pa.ArrowException, sqlite3.Error) as error:
        return [Finding(path, f"could not be read: {error}")]


def in_bytes(path: Path, users: Users) -> Iterator[Finding]:
    """The bytes as they are and, of a packed file, as they unpack."""
    for packing in (None, PACKED.get(path.suffix)) if path.suffix in PACKED else (None,):
        if any(users.in_text(part) or _wide(part, users) for part in _chunks(path, packing)):
            yield Finding(path, f"unpacked by {packing}" if packing else "its bytes")


def _wide(part: bytes, users: Users) -> bool:
    return users.as_wide_text is not None and users.as_wide_text.search(part) is not None


def _chunks(path: Path, packing: str | None) -> Iterator[bytes]:
    """Parts of the file, each with the end of the one before. A torn end is left out."""
    held = b""
    with pa.input_stream(str(path), compression=packing) as stream:  # type: ignore[arg-type]
        while part := _next(stream, torn_is_end=packing is not None):
            yield held + part
            held = part[-OVERLAP:]


def _next(stream: Any, torn_is_end: bool) -> bytes:
    try:
        return bytes(stream.read(CHUNK))
    except (OSError, pa.ArrowException):
        if torn_is_end:
            return b""
        raise


def in_parquet(path: Path, users: Users) -> Iterator[Finding]:
    pages = False
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(8_192, columns=_text_columns(file.schema_arrow)):
            for name, values in _leaves(batch):
                if (name in users.columns and _holds(values, users.ids)) or _names(values, users):
                    pages |= name in PAGES
                    yield Finding(path, f"column {name}", page=name in PAGES)
    if not pages and users.as_word is not None:
        yield from in_bytes(path, users)


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


def _leaves(batch: pa.RecordBatch) -> Iterator[tuple[str, Any]]:
    """(name of the column or, of a nested one, of the innermost field; its distinct texts)."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        for field, values in _flat(name, column):
            yield field, pc.unique(values).to_pylist()


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


def _holds(values: Iterable[str | bytes | None], ids: Sequence[str]) -> bool:
    texts = (
        value.decode(errors="replace") if isinstance(value, bytes) else value for value in values
    )
    return any(text is not None and text.strip() in ids for text in texts)


def _names(values: Iterable[str | bytes | None], users: Users) -> bool:
    """All at once: a separator keeps two values from making a word."""
    texts = [value.encode() if isinstance(value, str) else value for value in values if value]
    return users.in_text(b"\n".join(texts))


def in_sqlite(path: Path, users: Users) -> Iterator[Finding]:
    """Every value of every table, and the free pages with the raw bytes elsewhere."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60)) as sql:
        for table, column in _columns(sql):
            values = sql.execute(f'SELECT "{column}" FROM "{table}"')
            if any(_in_value(value, column, users) for (value,) in values):
                yield Finding(path, f"table {table}, column {column}")


def _columns(sql: sqlite3.Connection) -> list[tuple[str, str]]:
    tables = sql.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return [
        (table, column)
        for (table,) in tables
        for _, column, *_ in sql.execute(f'PRAGMA table_info("{table}")').fetchall()
    ]


def _in_value(value: object, column: str, users: Users) -> bool:
    if isinstance(value, str):
        named = column in users.columns and value.strip() in users.ids
        return named or users.in_text(value.encode(errors="replace"))
    if isinstance(value, bytes):
        key = column == "entity_key" and value.endswith(users.online_keys)
        return key or users.in_text(value)
    return False


def redact(path: Path, users: Users) -> bool:
    """Blot the users out of a text file, or of the text in a SQLite file; whether there was any."""
    with path.open("rb") as file:
        if file.read(16) == SQLITE:
            return redact_sqlite(path, users)
    text = path.read_bytes()
    if (clean := users.redacted(text)) == text:
        return False
    with atomic_file(path) as unfinished:
        unfinished.write_bytes(clean)
        unfinished.chmod(path.stat().st_mode)
    return True


def redact_sqlite(path: Path, users: Users) -> bool:
    """Values first, then the whole file is written anew, so that no free page keeps them."""
    found = list(in_sqlite(path, users)) + list(in_bytes(path, users))
    if not found:
        return False
    with closing(sqlite3.connect(path, timeout=60)) as sql:
        sql.create_function("redacted", 1, lambda value: _redacted_value(value, users))
        for table, column in _columns(sql):
            with sql:
                sql.execute(
                    f'UPDATE "{table}" SET "{column}" = redacted("{column}") '
                    f"WHERE typeof(\"{column}\") IN ('text', 'blob') "
                    f'AND redacted("{column}") IS NOT "{column}"'
                )
        sql.execute("VACUUM")
        sql.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return True


def _redacted_value(value: SqlValue, users: Users) -> SqlValue:
    if isinstance(value, str):
        return users.redacted(value.encode(errors="surrogateescape")).decode(
            errors="surrogateescape"
        )
    return users.redacted(value) if isinstance(value, bytes) else value
