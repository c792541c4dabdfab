"""Refused lines as they were, read once more from their files."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import groupby
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame

from contracts.landing_settings import LandingSettings
from contracts.settings.pseudonyms import Pseudonyms
from spark_jobs.ingest.formats import LandingFormat, landing_format
from spark_jobs.ingest.landing_files import by_file
from spark_jobs.ingest.parsing.packed_files import DamagedFile
from spark_jobs.ingest.parsing.parsed_lines import DAMAGED_FILE, TEXT, Part
from spark_jobs.ingest.parsing.private_values import mask_line
from spark_jobs.ingest.pseudonymized_lines import refused_texts
from spark_jobs.ingest.reason_kinds import UNREADABLE_TIME
from spark_jobs.ingest.suppression_list import FORGOTTEN_USER


def with_raw(
    refused: DataFrame,
    parts: list[Part],
    settings: LandingSettings,
    pseudonyms: Pseudonyms | None = None,
) -> DataFrame:
    """Add `raw` to refused lines (file, line, reasons, ...).

    Of a forgotten user's line nothing is kept, and of a file that cannot be read there is nothing.
    With `pseudonyms` a line that was parsed is kept as JSON of its declared columns, and of others
    there is nothing: the id may stand anywhere in them.
    Few lines are refused, so carrying all lines to the end for their sake would cost more than
    opening their files again.
    """
    parts_of, form = by_file(parts), landing_format(settings)
    names = refused.columns

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            columns: list[list[Any]] = [
                batch.column(name).to_pylist() for name in ("file", "line", "reasons")
            ]
            files, lines, reasons = columns
            wanted = [
                (file, line, UNREADABLE_TIME not in why)
                for file, line, why in zip(files, lines, reasons, strict=True)
                if _is_kept(why)
            ]
            found: dict[tuple[str, int], str] = {}
            for file, some in groupby(wanted, key=lambda each: each[0]):
                has_time = {line: is_time for _, line, is_time in some}
                with suppress(DamagedFile):  # in a column that no view is made of
                    for line, raw in (
                        _lines_by_pseudonym(form, parts_of[file], has_time, pseudonyms)
                        if pseudonyms
                        else _lines_as_they_were(form, parts_of[file], list(has_time))
                    ):
                        found[file, line] = mask_line(raw, settings.mask)
            raw_lines = [found.get(each, "") for each in zip(files, lines, strict=True)]
            yield batch.append_column("raw", pa.array(raw_lines, TEXT))

    schema = ", ".join(f"{name} {kind}" for name, kind in refused.dtypes)
    in_order = refused.repartition("file").sortWithinPartitions("file", "line")
    return in_order.mapInArrow(read, f"{schema}, raw string").select(*names, "raw")


def _is_kept(reasons: list[str]) -> bool:
    return reasons != [FORGOTTEN_USER] and not reasons[0].startswith(DAMAGED_FILE)


def _lines_by_pseudonym(
    form: LandingFormat, parts: list[Part], has_time: Mapping[int, bool], pseudonyms: Pseudonyms
) -> Iterator[tuple[int, str]]:
    """The lines of one file that were parsed."""
    starts = [part.first_line for part in parts]
    for nth in sorted({bisect_right(starts, line) - 1 for line in has_time}):
        for batch in form.parse(parts[nth]):
            yield from refused_texts(batch, pseudonyms, has_time)


def _lines_as_they_were(
    form: LandingFormat, parts: list[Part], lines: list[int]
) -> Iterator[tuple[int, str]]:
    """The `lines` of one file, which are in order, as are its `parts`."""
    starts = [part.first_line for part in parts]
    for nth, some in groupby(lines, key=lambda line: bisect_right(starts, line) - 1):
        wanted = set(some)
        last = max(wanted)
        for line, raw in form.raw_lines(parts[nth], wanted):
            yield line, raw
            if line == last:
                break
