"""The (user_id, event_timestamp) rows that a person asks features for, out of a CSV file."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from contracts.errors import BadInput
from contracts.user_lists import read_csv_table, trim_user_id

_TIME_COLUMN = "event_timestamp"
_USER_COLUMN = "user_id"
# A date, perhaps a time of any precision, perhaps a zone. Python alone would also read 20260105 and
# 2026-W02-1, which in a file of times are more often numbers than dates.
_ISO_TIME = re.compile(
    r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?( ?(Z|[+-]\d{2}(:?\d{2})?))?)?"
)
_FIRST_YEAR, _LAST_YEAR = 1700, 2260  # nanoseconds since 1970 hold no others


def read_points(path: Path) -> pd.DataFrame:
    """The rows of `path`, in its order. Every column but the time is text as it was given.

    A time without a zone is UTC. `BadInput` names the line of a value that cannot be read.
    """
    table = read_csv_table(path, (_USER_COLUMN, _TIME_COLUMN))
    columns = {
        name: [values[place] for _, values in table.rows]
        for place, name in enumerate(table.columns)
    }
    if len(columns) != len(table.columns):
        twice = sorted({name for name in table.columns if table.columns.count(name) > 1})
        raise BadInput(f"{path} names a column twice: {', '.join(twice)}")
    lines = [number for number, _ in table.rows]
    columns[_USER_COLUMN] = list(_users(path, lines, columns[_USER_COLUMN]))
    rows = pd.DataFrame(columns, dtype=str)
    times = list(_times(path, lines, columns[_TIME_COLUMN]))
    rows[_TIME_COLUMN] = pd.Series(times, dtype="datetime64[ns, UTC]")
    return rows


def _users(path: Path, lines: list[int], texts: list[str]) -> Iterator[str]:
    for line, text in zip(lines, texts, strict=True):
        if not (user := trim_user_id(text)):
            raise BadInput(f"{path}, line {line}: {_USER_COLUMN} is blank")
        yield user


def _times(path: Path, lines: list[int], texts: list[str]) -> Iterator[datetime]:
    for line, text in zip(lines, texts, strict=True):
        if (time := iso_time(text)) is None:
            raise BadInput(
                f"{path}, line {line}: {_TIME_COLUMN} is {text!r}; write ISO 8601, such as "
                "2026-01-11T09:30:00.5+01:00 or 2026-01-11 (UTC where no zone is written)"
            )
        yield time


def iso_time(text: str) -> datetime | None:
    """The instant in UTC, cut to microseconds; None where `text` is no ISO 8601 time."""
    text = text.strip().upper()
    if not _ISO_TIME.fullmatch(text):
        return None
    try:
        time = datetime.fromisoformat(text.replace(" Z", "Z").replace(" +", "+").replace(" -", "-"))
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return time if _FIRST_YEAR <= time.year <= _LAST_YEAR else None
