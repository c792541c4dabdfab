"""CSV: a header that names the columns, unless settings.toml does; then a record for each view."""

import csv
from collections.abc import Collection, Iterator, Sequence
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from contracts.landing_settings import LandingSettings
from spark_jobs.ingest.parsing.csv_records import (
    CLOSED,
    MOST_LINES,
    Quoting,
    Record,
    records_of,
    refused_pieces,
)
from spark_jobs.ingest.parsing.packed_files import DamagedFile, create_packed_like, reading_file
from spark_jobs.ingest.parsing.parsed_lines import (
    BATCH_LINES,
    BLANK_LINE,
    LineBatch,
    Part,
    missing_or_doubled,
)
from spark_jobs.ingest.parsing.text_files import (
    TextLine,
    as_in_file,
    byte_lines,
    line_end,
    split_lines,
    text_lines,
    whole_file,
)


class _Csv:
    name: ClassVar[str] = "csv"

    def __init__(self, settings: LandingSettings) -> None:
        self._columns = settings.columns
        self._dialect = settings.csv

    def split(self, day: date, path: Path, file: str) -> Iterator[Part]:
        with reading_file(path):
            quoting = Quoting(self._dialect)
            yield from split_lines(day, path, file, quoting.state_after, self._dialect.encoding)

    def parse(self, part: Part) -> Iterator[LineBatch]:
        with reading_file(part.path):
            header = self._header(part.path)
            names = header.values if header else []
            reasons = missing_or_doubled(names, self._columns)
            places = {
                ours: names.index(theirs)
                for ours, theirs in self._columns.items()
                if theirs in names
            }
            records = self._records(part, header)
            if header and reasons and part.is_whole:
                records = _some_records(records, part.path, reasons)
            while some := list(islice(records, BATCH_LINES)):
                yield _parsed(some, places, reasons)

    def _header(self, path: Path) -> Record | None:
        """The names of a file's columns: its first record that is not blank, or the settings'.

        The settings' stand before line 1.
        """
        if self._dialect.header:
            return Record(0, [], list(self._dialect.header), None)
        for record in self._all_records(whole_file(date.min, path, "")):
            if record.error and record.error != BLANK_LINE:
                raise DamagedFile(path, f"its first line names no columns: {record.error}")
            if not record.error:
                return record
        return None

    def _all_records(self, part: Part) -> Iterator[Record]:
        return records_of(text_lines(part, self._dialect.encoding), self._dialect)

    def _records(self, part: Part, header: Record | None) -> Iterator[Record]:
        """The records of a part behind the header, with a value for each of its names."""
        names, first = (header.values, header.number) if header else ([], 0)
        any_fits = bool(missing_or_doubled(names, self._columns))  # none can be read anyway
        for record in self._all_records(part):
            if record.number <= first:
                continue
            if record.error or any_fits or len(record.values) == len(names):
                yield record
            elif _fits(record.values, names):
                yield record._replace(values=record.values + [""] * len(names))
            else:
                reason = f"not CSV ({len(record.values)} values under {len(names)} columns)"
                yield from refused_pieces(_lines_of(record), reason)

    def raw_lines(
        self, part: Part, wanted: Collection[int] | None = None
    ) -> Iterator[tuple[int, str]]:
        with reading_file(part.path):
            for record in self._records(part, self._header(part.path)):
                if wanted is None or record.number in wanted:
                    yield record.number, record.text

    def user_of(self, raw: str) -> str | None:
        """The header alone would tell which of the values is the user."""
        return None

    def erase(self, path: Path, out: Path, lines: Collection[int]) -> None:
        """Each line of a record becomes an empty one."""
        part, encoding = whole_file(date.min, path, ""), self._dialect.encoding
        with reading_file(path):
            erased = {
                line.number
                for record in self._records(part, self._header(path))
                if record.number in lines
                for line in _lines_of(record)
            }
            in_file = as_in_file(encoding)
            with create_packed_like(path, out) as kept:
                for number, line in enumerate(byte_lines(part, encoding), 1):
                    kept.write(in_file(line_end(line) if number in erased else line))

    def count(self, path: Path) -> int:
        """The lines behind the header, but for those inside of a value that can be read."""
        with reading_file(path):
            header = self._header(path)
            quoting, count, state = Quoting(self._dialect), 0, CLOSED
            held: list[str] = []
            for line in text_lines(whole_file(date.min, path, ""), self._dialect.encoding):
                state = quoting.state_after(line.text, state)
                held.append(line.text)
                if state == CLOSED:
                    count += 1 if self._is_one_record(held, header, quoting) else len(held)
                    held = []
            count += len(held) - (header.number if header else 0)
            if header and not count:
                _must_be_header(path, missing_or_doubled(header.values, self._columns))
            return count

    def _is_one_record(self, lines: list[str], header: Record | None, quoting: Quoting) -> bool:
        if len(lines) == 1 or len(lines) > MOST_LINES:
            return len(lines) == 1
        try:
            (values,) = csv.reader((f"{line}\n" for line in lines), **quoting.reader_options)
        except (csv.Error, ValueError):
            return False
        names = header.values if header else []
        any_fits = bool(missing_or_doubled(names, self._columns))
        return any_fits or len(values) == len(names) or _fits(values, names)


def _some_records(records: Iterator[Record], path: Path, reasons: list[str]) -> Iterator[Record]:
    """All of `records`, which are one at least."""
    if (first := next(records, None)) is None:
        _must_be_header(path, reasons)
    else:
        yield first
        yield from records


def _must_be_header(path: Path, reasons: list[str]) -> None:
    """The only line of a file is no header where it lacks a column: it may be a view, or the begin
    of a file that is no text, and would be lost without a word."""
    if reasons:
        raise DamagedFile(path, f"its only line names no columns: {reasons[0]}")


def _fits(values: Sequence[str], header: Sequence[str]) -> bool:
    """Whether what is too much or too little at the end of a record has no name and no value."""
    return bool(values) and not any(values[len(header) :]) and not any(header[len(values) :])


def _lines_of(record: Record) -> list[TextLine]:
    return [TextLine(record.number + n, text, None) for n, text in enumerate(record.lines)]


def _parsed(records: Sequence[Record], places: dict[str, int], reasons: list[str]) -> LineBatch:
    """`reasons` are why no line of the file can be read."""
    numbers = [record.number for record in records]
    errors = [[record.error] if record.error else reasons or None for record in records]
    if not any(errors):
        texts: dict[str, Any] = {
            ours: [record.values[place] for record in records] for ours, place in places.items()
        }
        return LineBatch.of_texts(numbers, texts)
    texts = {
        ours: [
            None if error else record.values[place]
            for record, error in zip(records, errors, strict=True)
        ]
        for ours, place in places.items()
    }
    raw = [record.text for record, error in zip(records, errors, strict=True) if error]
    return LineBatch.of_texts(numbers, texts, errors, raw)


LANDING_FORMAT = _Csv
