"""Landing lines with pseudonyms in the place of ids, made where the lines are read.

No frame of Spark ever holds a raw id: not a plan, a shuffle, a table or an event log.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column as SparkColumn
from pyspark.sql import functions as F

from contracts.landing_settings import LINE_ID, OPTIONAL_COLUMNS, REQUIRED_COLUMNS
from contracts.settings.pseudonyms import Pseudonyms
from contracts.user_lists import USER_COLUMN, trim_user_id
from spark_jobs.ingest.parsing.parsed_lines import DAMAGED_FILE, TEXT, TEXTS, Column, LineBatch
from spark_jobs.transforms.plain_title import normalized_text

_NUL = "\0"
_NUL_USER = f"?{_NUL}"  # not blank, and refused for its NUL


def with_pseudonyms(columns: Mapping[str, Column], pseudonyms: Pseudonyms) -> dict[str, Column]:
    """The columns of a batch, (L,) each, with pseudonyms in those that shall hold them."""
    made = {name: _hashed(columns[name], name, pseudonyms) for name in pseudonyms.columns}
    return {**columns, **made}


def _hashed(values: Column, name: str, pseudonyms: Pseudonyms) -> Column:
    """(L,) each distinct text hashed once; a null stays null."""
    coded: Any = values.dictionary_encode()
    texts = [_pseudonym(text, name, pseudonyms) for text in coded.dictionary.to_pylist()]
    found: Column = pa.array(texts, TEXT).take(coded.indices)
    return found


def _pseudonym(text: str, name: str, pseudonyms: Pseudonyms) -> str:
    """What refuses the line later stays as it is, as far as it names nobody: a blank, an id of
    nobody, and of an id with a NUL the NUL alone."""
    if not normalized_text(text):
        return text
    if name == USER_COLUMN:
        if _NUL in text:
            return _NUL_USER
        if (lower := trim_user_id(text).lower()) in pseudonyms.nobody:
            return lower
    return pseudonyms.ring.pseudonym(text, name)


def without_details(errors: Column) -> Column:
    """(L,) lists of reasons, each cut before its bracket, in which the line itself may stand. What
    is wrong with a damaged file stays."""
    if errors.null_count == len(errors):
        return errors
    return pa.array([each and [_kind(reason) for reason in each] for each in errors.to_pylist()],
                    TEXTS)  # fmt: skip


def _kind(reason: str) -> str:
    return reason if reason.startswith(DAMAGED_FILE) else reason.partition(" (")[0]


def keyed_view_id() -> SparkColumn:
    """log_id of a view whose line has no id of its own, from columns that browsing_logs holds.

    Where ids are stored as they were logged it is of the line's texts. Here a rotation must be able
    to compute it again, and nobody to find the raw id by it.
    """
    return F.xxhash64(*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)


def refused_texts(
    lines: LineBatch, pseudonyms: Pseudonyms, is_shown: Mapping[int, bool]
) -> Iterator[tuple[int, str]]:
    """(number, text) of the parsed lines among `is_shown`: declared columns alone, as JSON.

    Any other column may hold an id as well. Of a line that cannot be parsed nobody can say where
    the id stands, so nothing of it is kept; file and line number lead to it. `is_shown` says of a
    line whether its time may be shown: one that is unreadable may be anything.
    """
    columns = with_pseudonyms(lines.columns, pseudonyms)
    columns.pop(LINE_ID)
    if lines.instants is not None:
        columns["event_time"] = pc.coalesce(lines.instants.cast(TEXT), columns["event_time"])
    errors = [None] * len(lines.line_numbers) if lines.errors is None else lines.errors.to_pylist()
    for place, number in enumerate(lines.line_numbers.tolist()):
        if number in is_shown and not errors[place]:
            values = {name: texts[place].as_py() for name, texts in columns.items()}
            if not is_shown[number]:
                values.pop("event_time")
            known = {name: value for name, value in values.items() if value is not None}
            yield number, json.dumps(known, ensure_ascii=False)
