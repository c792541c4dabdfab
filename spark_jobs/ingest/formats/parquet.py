"""Parquet: a row for each view, its values of whatever type."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.landing_settings import LandingSettings
from spark_jobs.ingest.parsing.column_texts import (
    NoText,
    Problems,
    json_rows,
    nested_values,
    rows_at,
    text_of,
    texts_of,
    times_of,
)
from spark_jobs.ingest.parsing.json_objects import ObjectReader
from spark_jobs.ingest.parsing.nested_values import path_of, value_at
from spark_jobs.ingest.parsing.packed_files import DamagedFile, reading_file
from spark_jobs.ingest.parsing.parsed_lines import (
    BATCH_LINES,
    TEXT,
    Column,
    LineBatch,
    Part,
    missing_or_doubled,
)


class _Parquet:
    name: ClassVar[str] = "parquet"

    def __init__(self, settings: LandingSettings) -> None:
        self._columns = settings.columns
        self._reader = ObjectReader(settings.columns)
        self._zone_is_utc = settings.time_zone == "UTC"

    def split(self, day: date, path: Path, file: str) -> Iterator[Part]:
        """A row group is a part."""
        with reading_file(path), _open(path) as opened:
            metadata, line = opened.metadata, 1
            for number in range(metadata.num_row_groups):
                group = metadata.row_group(number)
                size = group.total_byte_size
                yield Part(day, path, file, number, number + 1, line, size, is_whole=False)
                line += group.num_rows

    def parse(self, part: Part) -> Iterator[LineBatch]:
        with reading_file(part.path), _open(part.path) as file:
            paths, reasons = self._paths(file)
            if reasons:
                yield from _refused(part, file, reasons)
                return
            for first_line, rows in _batches(part, file, _first_steps(paths)):
                yield self._parsed(first_line, rows, paths)

    def _paths(self, file: pq.ParquetFile) -> tuple[dict[str, list[str]], list[str]]:
        """Where each declared column lies in the file; why no row of it can be read."""
        names = file.schema_arrow.names
        paths = {ours: path_of(theirs, names) for ours, theirs in self._columns.items()}
        reasons = missing_or_doubled(names, {ours: path[0] for ours, path in paths.items()})
        return {ours: path for ours, path in paths.items() if path[0] in names}, reasons

    def _parsed(
        self, first_line: int, rows: pa.RecordBatch, paths: Mapping[str, list[str]]
    ) -> LineBatch:
        texts: dict[str, Column] = {}
        instants = None
        reasons: dict[int, list[str]] = {}  # by row
        for ours, path in paths.items():
            column = rows.column(path[0])
            column, problems = _inner(column, path[1:]) if path[1:] else (column, {})
            if ours == "event_time" and pa.types.is_timestamp(column.type):
                texts[ours], instants = times_of(column, self._zone_is_utc)
            else:
                texts[ours], more = texts_of(column)
                problems = problems | more
            for row, problem in problems.items():
                reasons.setdefault(row, []).append(f"no text in {ours} ({problem})")
        numbers = np.arange(first_line, first_line + rows.num_rows)
        if not reasons:
            return LineBatch.of_texts(numbers, texts, instants=instants)
        errors = [reasons.get(row) for row in range(rows.num_rows)]
        raw = json_rows(rows_at(rows, sorted(reasons)))
        return LineBatch.of_texts(numbers, texts, errors, raw, instants)

    def raw_lines(
        self, part: Part, wanted: Collection[int] | None = None
    ) -> Iterator[tuple[int, str]]:
        """Rows as JSON."""
        with reading_file(part.path), _open(part.path) as file:
            for first_line, rows in _batches(part, file):
                numbers = range(first_line, first_line + rows.num_rows)
                chosen = [n for n in numbers if wanted is None or n in wanted]
                places = [number - first_line for number in chosen]
                yield from zip(chosen, json_rows(rows_at(rows, places)), strict=True)

    def user_of(self, raw: str) -> str | None:
        return self._reader.user_of(raw)

    def erase(self, path: Path, out: Path, lines: Collection[int]) -> None:
        """The rows behind those that go move up. The row groups stay as they were."""
        first = 1
        with (
            reading_file(path),
            _open(path) as file,
            pq.ParquetWriter(out, file.schema_arrow) as kept,
        ):
            for number in range(file.num_row_groups):
                rows = file.read_row_group(number)
                gone = [n for n in range(rows.num_rows) if first + n in lines]
                kept.write_table(_without(rows, gone))
                first += rows.num_rows

    def count(self, path: Path) -> int:
        """The pages that the ingest reads are read, since a file with a broken one has no rows."""
        with reading_file(path), _open(path) as file:
            paths, reasons = self._paths(file)
            wanted = None if reasons else _first_steps(paths)
            return sum(
                rows.num_rows
                for rows in file.iter_batches(BATCH_LINES, columns=wanted, use_threads=False)
            )


def _first_steps(paths: Mapping[str, list[str]]) -> list[str]:
    """The columns of the file that `paths` lead into."""
    return list(dict.fromkeys(path[0] for path in paths.values()))


def _without(rows: pa.Table, gone: list[int]) -> pa.Table:
    """Without the rows of these places, as slices: Arrow's `filter` does not know every type."""
    starts, ends = [0, *(place + 1 for place in gone)], [*gone, rows.num_rows]
    return pa.concat_tables(
        rows.slice(start, end - start) for start, end in zip(starts, ends, strict=True)
    )


def _open(path: Path) -> pq.ParquetFile:
    """INT96, in which Spark and Impala wrote times, would overflow as nanoseconds."""
    try:
        return pq.ParquetFile(path, coerce_int96_timestamp_unit="us")
    except pa.ArrowInvalid as error:
        raise DamagedFile(path, f"is not Parquet: {error}") from None


def _batches(
    part: Part, file: pq.ParquetFile, columns: list[str] | None = None
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The rows of a part, each batch with the line number of its first one."""
    line, groups = part.first_line, list(range(part.start, part.end))
    for rows in file.iter_batches(BATCH_LINES, groups, columns, use_threads=False):
        yield line, rows
        line += rows.num_rows


def _refused(part: Part, file: pq.ParquetFile, reasons: list[str]) -> Iterator[LineBatch]:
    for line, rows in _batches(part, file):
        count = rows.num_rows
        yield LineBatch.of_texts(range(line, line + count), {}, [reasons] * count, json_rows(rows))


def _inner(column: Column, path: list[str]) -> tuple[Column, Problems]:
    """The values that a path leads to inside of a column's."""
    while path and pa.types.is_struct(column.type) and column.type.get_field_index(path[0]) >= 0:
        column = pc.struct_field(column, path[0])
        path = path[1:]
    if not path:
        return column, {}
    texts: list[str | None] = [None] * len(column)
    problems: Problems = {}
    for place, value in enumerate(nested_values(column)) if _is_nested(column) else ():
        try:
            texts[place] = text_of(value_at(value, path))
        except NoText as error:
            problems[place] = str(error)
    return pa.array(texts, TEXT), problems


def _is_nested(column: Column) -> bool:
    return bool(pa.types.is_nested(column.type))


LANDING_FORMAT = _Parquet
