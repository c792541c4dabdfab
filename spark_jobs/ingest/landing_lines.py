"""The lines of landing files, whole and numbered, with the declared columns beside them.

Python's own readers do the parsing: their verdict on a line is exact (one whole JSON value, one
CSV record with its quotes closed), and a line that fails is a line like the others. Reading 1 M
JSON lines takes about 5 s on one core; a long file is cut at line ends into parts that are read
side by side, and no more than a batch of lines is held at a time.
"""

import csv
import gzip
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.errors import BadInput
from contracts.landing_settings import OPTIONAL, REQUIRED, LandingSettings
from spark_jobs.ingest.suppression_list import REASON, Forgotten

PART = 32 << 20  # bytes of one file that one task reads; longer files are cut
BATCH = 8_192  # lines a batch
FACTS = REQUIRED + OPTIONAL
USER = FACTS.index("user_id")

Parsed = tuple[list[str], Sequence[str | None]]  # what is wrong; the values of FACTS
Line = tuple[int, str, Parsed]  # place, the line as it was


@dataclass(frozen=True)
class Part:
    """Bytes `start` to `end` of a text file, or those row groups of a Parquet file."""

    landing_day: date
    path: Path
    file: str  # below the landing folder
    start: int
    end: int
    first_line: int
    weight: int  # bytes


def landing_parts(
    landing: Path, days: Iterable[date], settings: LandingSettings, allow_missing_days: bool
) -> list[Part]:
    """The files of each day's folder and those below it, cut into parts.

    Names that start with a dot or an underscore are left out. A day without a folder is
    `BadInput` unless `allow_missing_days`; an empty folder is a day without views.
    """
    days = list(days)
    missing = [str(day) for day in days if not (landing / str(day)).is_dir()]
    if missing and not allow_missing_days:
        raise BadInput(
            f"{landing} has no folder for {', '.join(missing)}: wait for the files, make an empty "
            "folder for a day without views, or pass --allow-missing-days"
        )
    return [
        part
        for day in days
        for path in sorted((landing / str(day)).rglob("*"))
        if path.is_file() and not _hidden(path.relative_to(landing))
        for part in _cut(day, path, str(path.relative_to(landing)), settings)
    ]


def parts_of_all_days(landing: Path, settings: LandingSettings) -> list[Part]:
    """The files of every folder that is named for a day."""
    days = [_day(path.name) for path in sorted(landing.glob("*-*-*")) if path.is_dir()]
    return landing_parts(landing, (day for day in days if day), settings, True)


def _day(name: str) -> date | None:
    try:
        return date.fromisoformat(name)
    except ValueError:
        return None


def _hidden(path: Path) -> bool:
    return any(name.startswith((".", "_")) for name in path.parts)


def _cut(day: date, path: Path, file: str, settings: LandingSettings) -> Iterator[Part]:
    size = path.stat().st_size
    if settings.format == "parquet":
        yield from _row_groups(day, path, file)
    elif size <= PART or path.suffix == ".gz":
        yield Part(day, path, file, 0, size, 1, size)
    else:
        yield from _runs_of_lines(day, path, file, size)


def _runs_of_lines(day: date, path: Path, file: str, size: int) -> Iterator[Part]:
    """Cut after the first line end past each `PART` bytes, counting lines on the way."""
    with path.open("rb") as lines:
        start, first_line = 0, 1
        while start < size:
            block = lines.read(PART)
            rest = lines.readline()
            end = start + len(block) + len(rest)
            yield Part(day, path, file, start, end, first_line, end - start)
            first_line += block.count(b"\n") + rest.count(b"\n")
            start = end


def _row_groups(day: date, path: Path, file: str) -> Iterator[Part]:
    try:
        told = pq.ParquetFile(path).metadata
    except (pa.ArrowException, OSError) as error:
        raise BadInput(
            f"{path} is not Parquet ({error}), which landing/settings.toml says it is: mend the "
            "file, or move it out of the landing folder"
        ) from None
    line = 1
    for i in range(told.num_row_groups):
        group = told.row_group(i)
        yield Part(day, path, file, i, i + 1, line, group.total_byte_size)
        line += group.num_rows


def lines_of(part: Part, settings: LandingSettings) -> Iterator[Line]:
    """Each line of a part: its place, the line as it is, what is wrong with it, its FACTS."""
    readers = {"jsonl": _json_lines, "csv": _csv_lines, "parquet": _parquet_rows}
    return readers[settings.format](part, settings)


def raw_lines(
    part: Part, settings: LandingSettings, wanted: Collection[int]
) -> Iterator[tuple[int, str]]:
    """The place of each `wanted` line of a part, and the line as rejected_logs keeps it."""
    if settings.format == "parquet":
        yield from _raw_rows(part, wanted)
    else:
        yield from ((place, raw) for place, raw, _ in text_lines(part) if place in wanted)


def _raw_rows(part: Part, wanted: Collection[int]) -> Iterator[tuple[int, str]]:
    place = part.first_line
    with pq.ParquetFile(part.path) as file:
        for batch in file.iter_batches(BATCH, row_groups=list(range(part.start, part.end))):
            here = [line for line in range(place, place + batch.num_rows) if line in wanted]
            rows = batch.take(pa.array([line - place for line in here], pa.int64())).to_pylist()
            yield from zip(here, map(_row_as_json, rows), strict=True)
            place += batch.num_rows


def _row_as_json(row: Mapping[str, Any]) -> str:
    return json.dumps(row, default=str, ensure_ascii=False)


def without(line: Line, forgotten: Forgotten) -> Line:
    """The line, or its place alone where it is of a forgotten user.

    A line that cannot be parsed is of each user that one of its words names.
    """
    place, raw, (flaws, values) = line
    named = forgotten.names(raw) if flaws else values[USER] in forgotten
    return (place, "", ([REASON], NOTHING)) if named else line


def user_in(values: Sequence[str | None]) -> str | None:
    """Of a line's FACTS."""
    return values[USER]


def user_of(raw: str, settings: LandingSettings) -> str | None:
    """The user of a line as rejected_logs keeps it; None where its columns cannot be told.

    A Parquet row is kept as JSON. A CSV line's columns are named in its file's first line alone.
    """
    if settings.format == "csv":
        return None
    wanted = [settings.columns.get(name) for name in FACTS]
    flaws, values = from_json(raw, wanted, settings)
    return None if flaws else values[USER]


NOTHING: Sequence[str | None] = (None,) * len(FACTS)


def _json_lines(part: Part, settings: LandingSettings) -> Iterator[Line]:
    wanted = [settings.columns.get(name) for name in FACTS]
    for place, raw, flaws in text_lines(part):
        yield place, raw, (flaws, NOTHING) if flaws else from_json(raw, wanted, settings)


def from_json(raw: str, wanted: list[str | None], settings: LandingSettings) -> Parsed:
    """`wanted` are the line's names of FACTS."""
    try:
        found = json.loads(raw)
    except json.JSONDecodeError as error:
        return [f"not JSON ({error.msg} at column {error.colno})"], NOTHING
    except (ValueError, RecursionError) as error:
        return [f"not JSON ({error})"], NOTHING
    if not isinstance(found, dict):
        return ["not JSON (an object with a key a column was expected)"], NOTHING
    flaws = missing(found, settings)
    values = [None if name is None else as_text(found.get(name)) for name in wanted]
    if "\\u" in raw:  # an escape may be half a character, which no UTF-8 can hold
        return [_whole(flaw) for flaw in flaws], [v if v is None else _whole(v) for v in values]
    return flaws, values


def _csv_lines(part: Part, settings: LandingSettings) -> Iterator[Line]:
    """A file's first line names its columns, and is no view."""
    with _opened(part.path) as lines:
        header = next(csv.reader([_decoded(lines.readline())[0]]), [])
    flaws_of_all = missing(header, settings)
    at = {name: i for i, name in enumerate(header)}
    wanted = [at.get(settings.columns.get(name, "")) for name in FACTS]
    for place, raw, flaws in text_lines(part):
        if place == 1:
            continue
        if flaws := flaws or flaws_of_all:
            yield place, raw, (flaws, NOTHING)
        else:
            yield place, raw, _from_csv(raw, header, wanted)


def _from_csv(raw: str, header: list[str], wanted: list[int | None]) -> Parsed:
    try:
        found = next(csv.reader((raw,), strict=True), [])
    except csv.Error as error:
        hint = "; a value cannot hold a line break" if "end of data" in str(error) else ""
        return [f"not CSV ({error}{hint})"], NOTHING
    if len(found) != len(header):
        return [f"not CSV ({len(found)} values under {len(header)} columns)"], NOTHING
    return [], [None if i is None else found[i] for i in wanted]


def _parquet_rows(part: Part, settings: LandingSettings) -> Iterator[Line]:
    wanted = [settings.columns.get(name) for name in FACTS]
    place = part.first_line
    with pq.ParquetFile(part.path) as file:
        flaws = missing(file.schema_arrow.names, settings)
        groups = list(range(part.start, part.end))
        for batch in file.iter_batches(BATCH, row_groups=groups):
            for row in batch.to_pylist():
                values = [None if name is None else as_text(row.get(name)) for name in wanted]
                yield place, _row_as_json(row), (flaws, values)
                place += 1


def text_lines(part: Part) -> Iterator[tuple[int, str, list[str]]]:
    """Each line of a part of a text file: its place, the line, why it is none."""
    with _opened(part.path) as lines:
        lines.seek(part.start)
        at, place = part.start, part.first_line
        for line in lines:
            raw, flaws = _decoded(line)
            yield place, raw, flaws
            at += len(line)
            place += 1
            if at >= part.end and part.path.suffix != ".gz":
                return


def _opened(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _decoded(line: bytes) -> tuple[str, list[str]]:
    line = line.rstrip(b"\r\n").removeprefix(b"\xef\xbb\xbf")
    try:
        return line.decode(), [] if line else ["blank line"]
    except UnicodeDecodeError as error:
        flaw = f"not UTF-8 (byte {error.start + 1})"
        return line.decode(errors="backslashreplace"), [flaw]


def missing(found: Iterable[str], settings: LandingSettings) -> list[str]:
    """A reason for each declared column that a line (or its file) does not have at all."""
    names = list(found)
    wanted = [(ours, theirs) for ours, theirs in settings.columns.items() if ours != "host"]
    lost = [(ours, theirs) for ours, theirs in wanted if theirs not in names]
    if not lost:
        return []
    listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return [
        f"missing column {theirs}{'' if ours == theirs else f' for {ours}'} (found {listed})"
        for ours, theirs in lost
    ]


def as_text(value: Any) -> str | None:
    """A value as text; a number as JSON writes it, so that 7 and "7" are one user."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, datetime | date):
        return value.isoformat()
    return json.dumps(value, default=str, ensure_ascii=False)


def _whole(text: str) -> str:
    return text.encode(errors="replace").decode()
