"""What passes between a landing format and the ingest: the parts of files, and parsed lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from contracts.errors import on_one_line
from contracts.landing_settings import LANDING_COLUMNS, LINE_ID, OPTIONAL_COLUMNS
from contracts.user_lists import EDGE_CHARACTERS

PART_BYTES = 32 << 20  # of one file that one task reads; longer files are cut
BATCH_LINES = 8_192
BLANK_LINE = "blank line"
DAMAGED_FILE = "damaged file"

TEXT, TEXTS, INSTANT = pa.string(), pa.list_(pa.string()), pa.timestamp("us", "UTC")
Column: TypeAlias = "pa.Array[Any]"

_IDS = ("user_id", LINE_ID)  # of which white space at the ends is no part


@dataclass(frozen=True)
class Part:
    """Lines of a landing file that one task reads. `start` and `end` are the format's own: bytes of
    a text file, row groups of a Parquet file."""

    landing_day: date
    path: Path
    file: str  # below the landing folder
    start: int
    end: int
    first_line: int
    num_bytes: int
    is_whole: bool = True  # the part is the whole file
    damage: str = ""  # why the file cannot be read at all


@dataclass(frozen=True)
class LineBatch:
    """Lines of a part, L of them, as a format has parsed them.

    Of a line with `errors` nothing else counts. `raw_of_errors` are these lines as they were.
    """

    line_numbers: NDArray[np.int64]  # (L,) from 1
    columns: Mapping[str, Column]  # by our name, the text of each line or null
    errors: Column | None = None  # a list of reasons for each line, or null
    raw_of_errors: Sequence[str] = ()
    instants: Column | None = None  # event_time, where the file holds it as an instant

    @classmethod
    def of_texts(
        cls,
        line_numbers: Sequence[int] | NDArray[np.int64],
        texts: Mapping[str, Any],
        errors: Sequence[Sequence[str] | None] | None = None,
        raw_of_errors: Sequence[str] = (),
        instants: Column | None = None,
    ) -> LineBatch:
        """`texts` by our name; a column that is not among them is null in each line."""
        count = len(line_numbers)
        found = {name: _texts(texts.get(name), count) for name in LANDING_COLUMNS}
        reasons = None if errors is None else pa.array(errors, TEXTS)
        numbers = np.asarray(line_numbers, np.int64)
        for name in _IDS:
            found[name] = pc.utf8_trim(found[name], EDGE_CHARACTERS)
        return cls(numbers, found, reasons, raw_of_errors, instants)


def damage_mark(damage: str) -> LineBatch:
    """What a task gives for a file that it cannot read: line 0, which no file has."""
    return LineBatch.of_texts([0], {}, [[f"{DAMAGED_FILE} ({damage})"]], [""])


def _texts(values: Any, count: int) -> Column:
    if values is None:
        return pa.nulls(count, TEXT)
    return values if isinstance(values, pa.Array) else pa.array(values, TEXT)


def missing_or_doubled(names: Sequence[str], wanted: Mapping[str, str]) -> list[str]:
    """Reasons why no line can be read under columns of these `names`: each `wanted` one (ours to
    theirs) that is not there, and each that is there more than once."""
    reasons = []
    for ours, theirs in wanted.items():
        count = names.count(theirs)
        if count != 1 and not (count == 0 and ours in OPTIONAL_COLUMNS):
            renamed = "" if ours == theirs else f" for {ours}"
            what = f"missing column {theirs}{renamed}" if not count else f"two columns {theirs}"
            reasons.append(f"{what} (found {_listed(names)})")
    return reasons


def _listed(names: Sequence[str]) -> str:
    shown = map(on_one_line, names[:20])
    short = [name if len(name) <= 60 else f"{name[:57]}..." for name in shown]
    return ", ".join(short) + (", ..." if len(names) > 20 else "")
