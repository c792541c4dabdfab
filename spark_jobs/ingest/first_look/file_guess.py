"""What a log file is, from its begin: format, encoding, dialect and some values."""

import codecs
import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from contracts.errors import BadInput
from contracts.landing_settings import CsvDialect
from spark_jobs.ingest.parsing.column_texts import NoText, text_of, texts_of
from spark_jobs.ingest.parsing.json_objects import objects_of
from spark_jobs.ingest.parsing.packed_files import DamagedFile, reading_file
from spark_jobs.ingest.parsing.text_files import start_of

Values = list[str | None]

_MAX_RECORDS = 200
_MAX_DEPTH = 4  # of values inside of values
_DELIMITERS = ",;\t|"
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_NUMBER_OR_TIME = re.compile(r"\s*[-+]?\d[\d.,:/TZ+\s-]*")
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass(frozen=True)
class FileGuess:
    """What a file seems to be. `columns` has some values of each column, by its name or path."""

    format: str
    columns: dict[str, Values]
    reasons: dict[str, str]  # by setting, why it was guessed
    dialect: CsvDialect = field(default_factory=CsvDialect)
    instants: frozenset[str] = frozenset()  # columns that hold times as such


def guess_file(path: Path) -> FileGuess:
    """Look at the begin of one file; `BadInput` where it is none of the formats."""
    if not path.is_file():
        raise BadInput(f"{path} is no file: name log files to look at")
    try:
        with reading_file(path):
            with path.open("rb") as file:
                is_parquet = file.read(4) == b"PAR1"
            return _of_parquet(path) if is_parquet else _of_text(path, start_of(path))
    except DamagedFile as error:
        raise BadInput(f"{path} cannot be read: {error.cause}") from None


def _of_parquet(path: Path) -> FileGuess:
    with pq.ParquetFile(path) as file:
        rows = next(file.iter_batches(_MAX_RECORDS), None)
    if rows is None:
        raise BadInput(f"{path} has no rows to look at")
    columns: dict[str, Values] = {}
    instants = set()
    for name, values in zip(rows.schema.names, rows.columns, strict=True):
        if "struct" in str(values.type):
            columns |= _flattened([{name: value} for value in values.to_pylist()])
            continue
        columns[name] = texts_of(values)[0].to_pylist()
        if "timestamp" in str(values.type):
            instants.add(name)
    reasons = {"format": "the file begins with PAR1"}
    return FileGuess("parquet", columns, reasons, instants=frozenset(instants))


def _of_text(path: Path, start: bytes) -> FileGuess:
    encoding, why = _encoding(start)
    text = start.decode(encoding, errors="replace").removeprefix("\ufeff")
    lines = [line for line in text.splitlines() if line.strip()][: 2 * _MAX_RECORDS]
    if not lines:
        raise BadInput(f"{path} has no lines to look at")
    if lines[0].lstrip()[:1] in "{[":
        return _of_json(path, lines, encoding)
    return _of_csv(path, lines, encoding, why)


def _encoding(start: bytes) -> tuple[str, str]:
    for mark, name in _MARKS.items():
        if start.startswith(mark):
            return name, "the byte order mark"
    try:  # the last character may be cut
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError as error:
        if start[1:200:2].count(0) > start[0:200:2].count(0) + 20:
            return "utf-16-le", "every second byte is 0"
        return "cp1252", (
            f"byte {error.start + 1} is not UTF-8; nothing tells cp1252 from its kin, so look at "
            "letters with accents"
        )
    return "utf-8", "it reads as UTF-8"


def _of_json(path: Path, lines: Sequence[str], encoding: str) -> FileGuess:
    records = list(_objects(lines))[:_MAX_RECORDS]
    if not records:
        raise BadInput(
            f"{path} begins like JSON, and none of its first lines is an object: write an object a "
            "line (jq -c '.[]' makes them of a list)"
        )
    if encoding != "utf-8":
        raise BadInput(f"{path} is JSON in {encoding}: write it in UTF-8")
    return FileGuess("jsonl", _flattened(records), {"format": "its lines are JSON objects"})


def _objects(lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        for text in objects_of(line):
            try:
                found = json.loads(text)
            except (ValueError, RecursionError):
                continue
            if isinstance(found, dict):
                yield found


def _flattened(records: Sequence[dict[str, Any]]) -> dict[str, Values]:
    """By path, the text of each record, or None."""
    found: dict[str, Values] = {}
    for number, record in enumerate(records):
        for path, text in _texts(record, ()):
            found.setdefault(path, [None] * len(records))[number] = text
    return found


def _texts(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, str | None]]:
    try:
        yield ".".join(path), text_of(value)
    except NoText:
        if isinstance(value, dict) and len(path) < _MAX_DEPTH:
            for key, inner in value.items():
                yield from _texts(inner, (*path, key))


def _of_csv(path: Path, lines: Sequence[str], encoding: str, why: str) -> FileGuess:
    dialects = [
        CsvDialect(delimiter=delimiter, quote=quote, escape=escape, encoding=encoding)
        for delimiter in _DELIMITERS
        for quote in ('"', "")
        for escape in ("", "\\" if quote and '\\"' in "".join(lines) else "")
    ]
    # Of equal ones the first: quotes before none, no escapes before some.
    best = max(dialects, key=lambda dialect: _fit(lines, dialect))
    rows = _rows(lines, best)
    share, width = _fit(lines, best)
    if width < 2:
        raise BadInput(
            f"{path} is neither JSON lines nor Parquet, and no delimiter "
            f"({', '.join(_NAMES.values())}) cuts its first line into columns"
        )
    has_header = not _is_view(rows[0], rows[1:])
    header = rows[0] if has_header else [f"column_{n + 1}" for n in range(width)]
    records = [row for row in rows[has_header:] if len(row) == width][:_MAX_RECORDS]
    columns: dict[str, Values] = {
        name: [row[n] for row in records] for n, name in enumerate(header)
    }
    cut = f"{_NAMES[best.delimiter]} cut the lines into {width} columns ({share:.0%} of them)"
    reasons = {"format": f"its first line names columns: {', '.join(header)}", "delimiter": cut,
               "encoding": why}  # fmt: skip
    if not best.quote:
        reasons["quote"] = 'with the quote " fewer lines have all columns'
    if best.escape:
        reasons["escape"] = 'values hold \\"'
    if not has_header:
        reasons["format"] = f"its lines are cut into columns; the first is {rows[0]}"
        reasons["header"] = "the first line is a view already, so the columns are numbered"
        best = best.model_copy(update={"header": tuple(header)})
    return FileGuess("csv", columns, reasons, best)


def _is_view(first: Sequence[str], others: Sequence[Sequence[str]]) -> bool:
    """Whether the first row has a number or a time where others have one: then it names nothing."""
    return any(
        _NUMBER_OR_TIME.fullmatch(value)
        and any(len(row) == len(first) and _NUMBER_OR_TIME.fullmatch(row[n]) for row in others)
        for n, value in enumerate(first)
    )


def _rows(lines: Sequence[str], dialect: CsvDialect) -> list[list[str]]:
    quoting: dict[str, Any] = (
        {"quotechar": dialect.quote, "escapechar": dialect.escape or None}
        if dialect.quote
        else {"quoting": csv.QUOTE_NONE}
    )
    try:
        return list(
            csv.reader((f"{line}\n" for line in lines), delimiter=dialect.delimiter, **quoting)
        )
    except csv.Error:
        return [[]]


def _fit(lines: Sequence[str], dialect: CsvDialect) -> tuple[float, int]:
    """Records with as many values as the header, by all lines, and how many values these are.

    Where quotes are read that are none, lines disappear in the value of another one.
    """
    rows = _rows(lines, dialect)
    width = len(rows[0])
    if width < 2:
        return 0.0, width
    return sum(len(row) == width for row in rows) / len(lines), width
