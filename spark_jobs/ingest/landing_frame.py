"""Landing files as a frame of one row a line, and the lines that were refused as they were.

`landing_lines` says what a line is, exactly and one by one, at several microseconds each. Columns
that Arrow turns into the same text are turned a batch at a time, which is most of any Parquet
file; everything else goes the exact way.

A row carries no file name and no raw line, which few rows need: `place` leads to both.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from contracts.landing_settings import LandingSettings
from spark_jobs.ingest.json_at_once import read_at_once
from spark_jobs.ingest.landing_lines import (
    BATCH,
    FACTS,
    NOTHING,
    PART,
    USER,
    Line,
    Part,
    as_text,
    from_json,
    lines_of,
    missing,
    raw_lines,
    text_lines,
    without,
)
from spark_jobs.ingest.suppression_list import REASON, Forgotten

LINES = 1 << 40  # that a file can have; place = LINES * its number + line
SCHEMA = (
    "place bigint, landing_day date, flaws array<string>, user_id string, event_time string, "
    "title string, host string, log_id string, instant timestamp, folded string"
)
TEXT, TEXTS, INSTANT = pa.string(), pa.list_(pa.string()), pa.timestamp("us", "UTC")
ODD = r"[^!-~ ]|  |^ | $"  # what `normalized` changes, other than to lower case
# The one form of time that most logs have. Arrow reads it to the same instant as Spark, and can
# fail on none of these dates: those that not every month or year has are left to Spark.
USUAL = (
    r"^[12]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])"
    r"T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?Z$"
)

Column: TypeAlias = "pa.Array[Any]"


def files_of(parts: Iterable[Part]) -> list[str]:
    """Every file once, by day, then by name; its place here is its number."""
    return [file for _, file in sorted({(part.landing_day, part.file) for part in parts})]


def landing_frame(
    spark: SparkSession,
    parts: list[Part],
    settings: LandingSettings,
    forgotten: Forgotten | None = None,
) -> DataFrame:
    """The lines of `parts`: SCHEMA, in which FACTS are text as the line holds them.

    flaws    why there are no FACTS: the line cannot be parsed, or is of a `forgotten` user; or null
    instant  event_time, where it is easily told; event_time may then be null
    folded   `normalized` of the title, where that is lower case alone; or null

    Which task reads which part changes nothing but the time it takes.
    """
    numbers = {file: n for n, file in enumerate(files_of(parts))}
    bins = [
        [(part, numbers[part.file]) for part in each]
        for each in _packed(parts, spark.sparkContext.defaultParallelism)
    ]

    def read(tasks: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for task in tasks:
            for part, number in (each for n in task.column(0).to_numpy() for each in bins[n]):
                yield from _batches(part, number * LINES, settings, forgotten)

    return spark.range(0, len(bins), 1, max(len(bins), 1)).mapInArrow(read, SCHEMA)


def _packed(parts: list[Part], cores: int) -> list[list[Part]]:
    """Neighbors put together, so that a task has enough to do and each core has a few tasks."""
    enough = min(PART, max(1 << 20, sum(p.weight for p in parts) // (4 * cores)))
    bins: list[list[Part]] = []
    weight = enough
    for part in parts:
        if weight >= enough:
            bins.append([])
            weight = 0
        bins[-1].append(part)
        weight += part.weight + 4_096  # opening a file is not free
    return bins


def _batches(
    part: Part, before: int, settings: LandingSettings, forgotten: Forgotten | None
) -> Iterator[pa.RecordBatch]:
    if settings.format == "parquet" and not missing(_names(part), settings):
        yield from _row_batches(part, before, settings, forgotten)
        return
    if settings.format == "jsonl":
        yield from _json_batches(part, before, settings, forgotten)
        return
    lines = lines_of(part, settings)
    while some := list(islice(lines, BATCH)):
        yield _line_batch(part, before, some, settings, forgotten)


def _json_batches(
    part: Part, before: int, settings: LandingSettings, forgotten: Forgotten | None
) -> Iterator[pa.RecordBatch]:
    """A batch of the lines that were read at once, and one of the others, if there are any."""
    wanted = [settings.columns.get(name) for name in FACTS]
    names = list(dict.fromkeys(name for name in wanted if name))
    lines = text_lines(part)
    while some := list(islice(lines, BATCH)):
        well = ["" if flaws else raw for _, raw, flaws in some]
        rows, table = read_at_once(well, names)
        yield _table_batch(part, [some[n][0] + before for n in rows], table, settings, forgotten)
        known = set(rows)
        others: list[Line] = [
            (place, raw, (flaws, NOTHING) if flaws else from_json(raw, wanted, settings))
            for n, (place, raw, flaws) in enumerate(some)
            if n not in known
        ]
        if others:
            yield _line_batch(part, before, others, settings, forgotten)


def _table_batch(
    part: Part,
    places: list[int],
    table: pa.Table,
    settings: LandingSettings,
    forgotten: Forgotten | None,
) -> pa.RecordBatch:
    """Of lines that are whole, as text under their own names."""
    wanted = [settings.columns.get(name) for name in FACTS]
    facts = [
        table.column(name).combine_chunks() if name else pa.nulls(len(places), TEXT)
        for name in wanted
    ]
    instant = usual_instants(facts[1]) if settings.time_format == "iso" else None
    return _batch(part, places, _flaws(facts[USER], forgotten), facts, instant)


def _line_batch(
    part: Part,
    before: int,
    lines: Sequence[Line],
    settings: LandingSettings,
    forgotten: Forgotten | None,
) -> pa.RecordBatch:
    if forgotten is not None:
        lines = [without(line, forgotten) for line in lines]
    places, _, parsed = zip(*lines, strict=True)
    flaws, values = zip(*parsed, strict=True)
    facts = [pa.array(column, TEXT) for column in zip(*values, strict=True)]
    flawed = pa.array([flaw or None for flaw in flaws], TEXTS)
    instant = usual_instants(facts[1]) if settings.time_format == "iso" else None
    return _batch(part, np.array(places) + before, flawed, facts, instant)


def usual_instants(times: Column) -> Column:
    """Those that are written in the USUAL form; null for the others."""
    usual = pc.match_substring_regex(times, USUAL)
    found: Column = pc.if_else(usual, times, pa.scalar(None, TEXT)).cast(INSTANT)
    return found


def _row_batches(
    part: Part, before: int, settings: LandingSettings, forgotten: Forgotten | None
) -> Iterator[pa.RecordBatch]:
    """The rows of a Parquet part whose file has all columns."""
    at = before + part.first_line
    wanted = [settings.columns.get(name) for name in FACTS]
    with pq.ParquetFile(part.path) as file:
        held = [name for name in wanted if name in file.schema_arrow.names]
        groups = list(range(part.start, part.end))
        for rows in file.iter_batches(BATCH, row_groups=groups, columns=held, use_threads=False):
            columns = [rows.column(name) if name in held else None for name in wanted]
            instant = _instants(columns[1], settings)
            if instant is not None:
                columns[1] = None
            facts = [_texts(column, rows.num_rows) for column in columns]
            if instant is None and settings.time_format == "iso":
                instant = usual_instants(facts[1])
            flaws = _flaws(facts[USER], forgotten)
            yield _batch(part, np.arange(rows.num_rows) + at, flaws, facts, instant)
            at += rows.num_rows


def _instants(times: Column | None, settings: LandingSettings) -> Column | None:
    """Times that are no text; None where only their text, in ISO form, tells which they are."""
    if times is None or not pa.types.is_timestamp(times.type) or settings.time_format != "iso":
        return None
    if times.type.tz is None and settings.time_zone != "UTC":
        return None
    return times.cast(pa.timestamp("us", times.type.tz), safe=False).cast(INSTANT)


def _texts(values: Column | None, rows: int) -> Column:
    """`as_text` of each."""
    if values is None:
        return pa.nulls(rows, TEXT)
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_boolean)
    if any(test(kind) for test in tests):
        return values.cast(TEXT)
    return pa.array([as_text(value) for value in values.to_pylist()], TEXT)


def _flaws(users: Column, forgotten: Forgotten | None) -> Column:
    named = forgotten and [user for user in users.unique().to_pylist() if user in forgotten]
    if not named:
        return pa.nulls(len(users), TEXTS)
    told = pc.is_in(users, value_set=pa.array(named, TEXT)).to_pylist()
    return pa.array([[REASON] if one else None for one in told], TEXTS)


def _batch(
    part: Part, places: Any, flaws: Column, facts: Sequence[Column], instant: Column | None
) -> pa.RecordBatch:
    """Of a line with flaws nothing but its place and they are told."""
    rows = len(places)
    instant = pa.nulls(rows, INSTANT) if instant is None else instant
    if flaws.null_count < rows:
        good = flaws.is_null()
        facts = [pc.if_else(good, fact, pa.scalar(None, TEXT)) for fact in facts]
        instant = pc.if_else(good, instant, pa.scalar(None, INSTANT))
    columns = [
        pa.array(places, pa.int64()),
        pa.array(np.full(rows, part.landing_day, "datetime64[D]")),
        flaws,
        *facts,
        instant,
        _folded(facts[2]),
    ]
    return pa.RecordBatch.from_arrays(columns, [c.split()[0] for c in SCHEMA.split(", ")])


def _folded(titles: Column) -> Column:
    """By Arrow: Spark, which asks Unicode's rules for ASCII too, took 5 % of an ingest for it."""
    plain = pc.invert(pc.match_substring_regex(titles, ODD))
    folded: Column = pc.ascii_lower(pc.if_else(plain, titles, pa.scalar(None, TEXT)))
    return folded


def with_raw(refused: DataFrame, parts: list[Part], settings: LandingSettings) -> DataFrame:
    """Add `raw` to refused lines (file, line, reasons, ...): each as it was, read once more.

    Of a forgotten user's line nothing is kept. Few lines are refused, so carrying all lines to
    the end for their sake would cost more than opening their files again.
    """
    by_file = {
        file: sorted(some, key=lambda part: part.first_line)
        for file, some in groupby(sorted(parts, key=_file), key=_file)
    }
    names = refused.columns

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            files, lines = (
                batch.column("file").to_pylist(),
                batch.column("line").to_numpy().tolist(),
            )
            rows = zip(files, lines, strict=True)
            raw = [
                line
                for file, some in groupby(rows, key=lambda row: row[0])
                for line in _as_they_were(by_file[file], [line for _, line in some], settings)
            ]
            reasons = batch.column("reasons").to_pylist()
            kept = ["" if why == [REASON] else it for it, why in zip(raw, reasons, strict=True)]
            yield batch.append_column("raw", pa.array(kept, TEXT))

    schema = ", ".join(f"{name} {kind}" for name, kind in refused.dtypes)
    in_order = refused.repartition("file").sortWithinPartitions("file", "line")
    return in_order.mapInArrow(read, f"{schema}, raw string").select(*names, "raw")


def _file(part: Part) -> str:
    return part.file


def _as_they_were(parts: list[Part], lines: list[int], settings: LandingSettings) -> Iterator[str]:
    """The `lines` of one file, which are in order, as are its `parts`."""
    starts = [part.first_line for part in parts]
    for nth, some in groupby(lines, key=lambda line: bisect_right(starts, line) - 1):
        wanted = list(some)
        found = dict.fromkeys(wanted, "")
        for line, raw in raw_lines(parts[nth], settings, set(wanted)):
            found[line] = raw
            if line == wanted[-1]:
                break
        yield from found.values()


def _names(part: Part) -> list[str]:
    with pq.ParquetFile(part.path) as file:
        return list(file.schema_arrow.names)
