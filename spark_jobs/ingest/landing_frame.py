"""Landing files as a frame of one row a line.

A row carries no file name and no raw line, which few rows need: `place` leads to both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession

from contracts.landing_settings import LANDING_COLUMNS, LandingSettings
from contracts.settings.pseudonyms import Pseudonyms
from spark_jobs.ingest.formats import LandingFormat, landing_format
from spark_jobs.ingest.landing_files import landing_file_names
from spark_jobs.ingest.parsing.packed_files import DamagedFile
from spark_jobs.ingest.parsing.parsed_lines import (
    INSTANT,
    PART_BYTES,
    TEXT,
    TEXTS,
    Column,
    LineBatch,
    Part,
    damage_mark,
)
from spark_jobs.ingest.parsing.private_values import cut_urls, mask_texts
from spark_jobs.ingest.pseudonymized_lines import with_pseudonyms, without_details
from spark_jobs.ingest.suppression_list import FORGOTTEN_USER, SuppressionList

MAX_LINES = 1 << 40  # that a file can have; place = MAX_LINES * its number + line

_SCHEMA = {
    "place": "bigint",
    "landing_day": "date",
    "parse_errors": "array<string>",
    **dict.fromkeys(LANDING_COLUMNS, "string"),
    "instant": "timestamp",
    "folded": "string",
}
_OPENING_COST = 4_096  # bytes that could be read meanwhile
_SMALLEST_TASK = 1 << 20  # bytes
_ODD = r"[^!-~ ]|  |^ | $"  # what `normalized_title` changes, other than to lower case
# The one form of time that most logs have. Arrow reads it to the same instant as Spark, and can
# fail on none of these dates: those that not every month or year has are left to Spark.
_USUAL_TIME = (
    r"^[12]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])"
    r"T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?Z$"
)


def landing_frame(
    spark: SparkSession,
    parts: list[Part],
    settings: LandingSettings,
    forgotten: SuppressionList | None = None,
    pseudonyms: Pseudonyms | None = None,
) -> DataFrame:
    """The lines of `parts`, in which the landing columns are text as the line holds them.

    parse_errors  why the line has none of them: it cannot be parsed, or is of a `forgotten` user
    instant       event_time, where no Spark is needed to read it; event_time may then be null
    folded        `normalized_title` of the title, where that is lower case alone; or null

    Which task reads which part changes nothing but the time it takes. Line 0 of a file says that
    the file cannot be read, and why.
    """
    numbers = {file: number for number, file in enumerate(landing_file_names(parts))}
    tasks = [
        [(part, numbers[part.file] * MAX_LINES) for part in each]
        for each in _packed(parts, spark.sparkContext.defaultParallelism)
    ]
    form, is_iso, mask = landing_format(settings), settings.time_format == "iso", settings.mask

    def read(ids: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for part, offset in (
            each for batch in ids for n in batch.column(0) for each in tasks[n.as_py()]
        ):
            for lines in _line_batches(form, part):
                errors = _errors(lines, forgotten)  # asked by raw ids, which stay here
                lines = _without_raw_ids(_masked(replace(lines, errors=errors), mask), pseudonyms)
                yield _rows(lines, part, offset, is_iso)

    schema = ", ".join(f"{name} {kind}" for name, kind in _SCHEMA.items())
    return spark.range(0, len(tasks), 1, max(len(tasks), 1)).mapInArrow(read, schema)


def _packed(parts: list[Part], cores: int) -> list[list[Part]]:
    """Neighbors put together, so that a task has enough to do and each core has a few tasks."""
    all_bytes = sum(part.num_bytes for part in parts)
    enough = min(PART_BYTES, max(_SMALLEST_TASK, all_bytes // (4 * cores)))
    tasks: list[list[Part]] = []
    size = enough
    for part in parts:
        if size >= enough:
            tasks.append([])
            size = 0
        tasks[-1].append(part)
        size += part.num_bytes + _OPENING_COST
    return tasks


def _line_batches(form: LandingFormat, part: Part) -> Iterator[LineBatch]:
    try:
        if part.damage:
            raise DamagedFile(part.path, part.damage)
        yield from form.parse(part)
    except DamagedFile as error:
        yield damage_mark(error.cause)


def _masked(lines: LineBatch, mask: Collection[str]) -> LineBatch:
    """Without what the settings take for private in titles and hosts."""
    if not mask:
        return lines
    columns = dict(lines.columns)
    columns["title"] = mask_texts(columns["title"], mask)
    columns["host"] = cut_urls(columns["host"], mask)
    return replace(lines, columns=columns)


def _without_raw_ids(lines: LineBatch, pseudonyms: Pseudonyms | None) -> LineBatch:
    if pseudonyms is None:
        return lines
    errors = None if lines.errors is None else without_details(lines.errors)
    columns = with_pseudonyms(lines.columns, pseudonyms)
    return replace(lines, columns=columns, errors=errors, raw_of_errors=())


def _rows(lines: LineBatch, part: Part, offset: int, is_iso: bool) -> pa.RecordBatch:
    """A batch of the frame. Of a line with errors nothing but its place and they are kept."""
    errors = pa.nulls(len(lines.line_numbers), TEXTS) if lines.errors is None else lines.errors
    columns, instants = dict(lines.columns), lines.instants
    count = len(lines.line_numbers)
    if instants is None and is_iso:
        instants = _usual_instants(columns["event_time"])
    if errors.null_count < count:
        is_good = errors.is_null()
        columns = {
            name: pc.if_else(is_good, values, pa.scalar(None, TEXT))
            for name, values in columns.items()
        }
        instants = instants and pc.if_else(is_good, instants, pa.scalar(None, INSTANT))
    arrays: list[Column] = [
        pa.array(lines.line_numbers + offset, pa.int64()),
        pa.array(np.full(count, part.landing_day, "datetime64[D]")),
        errors,
        *(columns[name] for name in LANDING_COLUMNS),
        pa.nulls(count, INSTANT) if instants is None else instants,
        _folded(columns["title"]),
    ]
    return pa.RecordBatch.from_arrays(arrays, list(_SCHEMA))


def _errors(lines: LineBatch, forgotten: SuppressionList | None) -> Column | None:
    if forgotten is None or not (gone := forgotten.has_lines(lines)).any():
        return lines.errors
    errors = pa.nulls(len(lines.line_numbers), TEXTS) if lines.errors is None else lines.errors
    found: Any = pc.if_else(pa.array(gone), pa.scalar([FORGOTTEN_USER], TEXTS), errors)
    return found  # type: ignore[no-any-return]


def _usual_instants(times: Column) -> Column:
    """Those that are written in the usual form; null for the others."""
    is_usual = pc.match_substring_regex(times, _USUAL_TIME)
    found: Column = pc.if_else(is_usual, times, pa.scalar(None, TEXT)).cast(INSTANT)
    return found


def _folded(titles: Column) -> Column:
    """By Arrow: Spark, which asks Unicode's rules for ASCII too, took 5 % of an ingest for it."""
    is_plain = pc.invert(pc.match_substring_regex(titles, _ODD))
    folded: Column = pc.ascii_lower(pc.if_else(is_plain, titles, pa.scalar(None, TEXT)))
    return folded
