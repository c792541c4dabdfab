"""Users' lines out of the landing files, each file rewritten whole or not at all.

In JSON lines and CSV a line that goes leaves an empty line, so that every other line keeps its
number, by which rejected_logs names it; a later ingest of that day refuses the empty line as blank.
Of Parquet the row goes, and the rows behind it move up.
"""

import gzip
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.landing_settings import LandingSettings
from spark_jobs.ingest.landing_lines import lines_of, parts_of_all_days, without
from spark_jobs.ingest.suppression_list import Forgotten


def erase_lines(landing: Path, settings: LandingSettings, forgotten: Forgotten) -> tuple[int, int]:
    """How many lines went, out of how many files."""
    by_file: dict[Path, set[int]] = {}
    for part in parts_of_all_days(landing, settings):
        places = {line[0] for line in lines_of(part, settings) if without(line, forgotten) != line}
        if places:
            by_file.setdefault(part.path, set()).update(places)
    for path, places in by_file.items():
        _rewrite(path, places, settings)
    return sum(map(len, by_file.values())), len(by_file)


def _rewrite(path: Path, places: set[int], settings: LandingSettings) -> None:
    """Beside the file, under a name that no ingest reads, and then in its place."""
    unfinished = path.with_name(f".{path.name}.rewriting")
    if settings.format == "parquet":
        _without_rows(path, unfinished, places)
    else:
        _with_empty_lines(path, unfinished, places)
    shutil.copystat(path, unfinished)
    with unfinished.open("rb") as written:
        os.fsync(written.fileno())
    unfinished.replace(path)


def _with_empty_lines(path: Path, out: Path, places: set[int]) -> None:
    with _opened(path, "rb") as lines, _opened(out, "wb", path.suffix == ".gz") as kept:
        for place, line in enumerate(lines, 1):
            end = line[len(line.rstrip(b"\r\n")) :]
            kept.write(end if place in places else line)


def _opened(path: Path, mode: str, packed: bool | None = None) -> IO[bytes]:
    packed = path.suffix == ".gz" if packed is None else packed
    return gzip.open(path, mode) if packed else path.open(mode)  # type: ignore[return-value]


def _without_rows(path: Path, out: Path, places: set[int]) -> None:
    """A row group at a time, so that the groups stay as they were."""
    with pq.ParquetFile(path) as file, pq.ParquetWriter(out, file.schema_arrow) as writer:
        for rows, kept in _groups(file, places):
            writer.write_table(rows.filter(kept))


def _groups(file: pq.ParquetFile, places: set[int]) -> Iterator[tuple[pa.Table, Any]]:
    first = 1
    for number in range(file.num_row_groups):
        rows = file.read_row_group(number)
        kept = [place not in places for place in range(first, first + rows.num_rows)]
        first += rows.num_rows
        yield rows, pa.array(kept, pa.bool_())
