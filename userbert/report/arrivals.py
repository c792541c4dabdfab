"""What came in: views, users, titles and hours of each day, next to the weeks before.

A day's counts are kept below reports/days with the names of the data files that they were counted
from, so that a night counts only the days that it changed.
"""

import hashlib
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from contracts.limits import MAX_VIEWS_A_DAY
from contracts.storage.atomic_write import write_json
from contracts.tables import BROWSING_LOGS, REJECTED_LOGS, Table
from userbert.report.lake_tables import LakeTables, is_day

_WINDOW_DAYS = 35  # that the charts show: the day and five weeks back
_WEEKS_COMPARED = 4
_MIN_DAYS_COMPARED = 2  # of the same weekday; with fewer, nothing is usual
_MAX_DAY_FILES = 400  # cached counts that are kept


@dataclass(frozen=True)
class _DayCounts:
    """The accepted views of one UTC day."""

    day: str
    views: int
    users: int
    titles: int
    users_excluded: int  # those with more views than a person can have
    hours: list[int]  # (24,) views of each hour, UTC


@dataclass(frozen=True)
class Comparison:
    """One figure of the day next to the same weekday of the weeks before."""

    name: str
    value: float
    usual: float | None  # the median of the same weekdays; None: there are too few
    lowest: float | None
    highest: float | None

    @property
    def ratio(self) -> float | None:
        return self.value / self.usual if self.usual else None


@dataclass(frozen=True)
class Arrivals:
    day: str  # the last landing day of the run
    days: list[_DayCounts]  # oldest first; a day without views is left out
    refused: dict[str, int]  # refused lines by landing day, of the same days
    usual_hours: list[float]  # (24,) mean of the same weekdays before; empty: there is none
    comparisons: list[Comparison]

    @property
    def of_the_day(self) -> _DayCounts | None:
        return next((counts for counts in self.days if counts.day == self.day), None)


def gather_arrivals(tables: LakeTables, landing_day: date) -> Arrivals | None:
    """None where the lake has no views yet."""
    if tables.open(BROWSING_LOGS) is None:
        return None
    window = [landing_day - timedelta(days=ago) for ago in range(_WINDOW_DAYS, -1, -1)]
    days = _counts_of_days(tables, [str(day) for day in window])
    refused = _rows_by_day(tables, REJECTED_LOGS, "landing_day")
    shown = {str(day): refused.get(str(day), 0) for day in window}
    earlier = _same_weekdays(days, landing_day)
    return Arrivals(
        str(landing_day),
        days,
        shown,
        _mean_hours(earlier),
        _comparisons(days, earlier, shown, str(landing_day)),
    )


def _rows_by_day(tables: LakeTables, table: Table, column: str) -> dict[str, int]:
    """The rows of each partition, which the Delta log knows."""
    opened = tables.open(table)
    rows: dict[str, int] = {}
    for day, _, num_rows in _files(opened, column) if opened else ():
        rows[day] = rows.get(day, 0) + num_rows
    return rows


def _files(opened: DeltaTable, column: str) -> Iterable[tuple[str, str, int]]:
    """The partition's day, the path and the rows of each data file.

    Of a table without data files, as rejected_logs is where no line was ever refused, the log has
    no column of rows.
    """
    files = opened.get_add_actions(flatten=True).to_pylist()
    return [(str(file[f"partition.{column}"]), file["path"], file["num_records"]) for file in files]


def _counts_of_days(tables: LakeTables, days: Sequence[str]) -> list[_DayCounts]:
    opened, folder = tables.open(BROWSING_LOGS), tables.places.reports / "days"
    paths: dict[str, list[str]] = {}
    for day, path, _ in _files(opened, "event_date") if opened else ():
        paths.setdefault(day, []).append(path)
    counts = []
    for day in days:
        if day not in paths:
            continue
        cached = folder / f"{day}.json"
        key = hashlib.sha256("\n".join(sorted(paths[day])).encode()).hexdigest()
        if (known := _cached_counts(cached, key)) is None:
            known = _count_views(day, _views_of(tables, date.fromisoformat(day)))
            write_json(cached, {"files": key, **asdict(known)})
        counts.append(known)
    _remove_oldest(folder)
    return counts


def _views_of(tables: LakeTables, day: date) -> pa.Table:
    dataset = tables.dataset(BROWSING_LOGS, "event_date", day)
    assert dataset is not None
    columns = ["user_id", "title_id", "event_time"]
    return dataset.to_table(columns=columns, filter=is_day("event_date", day))


def _cached_counts(path: Path, key: str) -> _DayCounts | None:
    """None where the day's files are others now, or where the cached file is not whole."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return _DayCounts(**kept) if kept.pop("files") == key else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _remove_oldest(folder: Path) -> None:
    for old in sorted(folder.glob("*.json"))[:-_MAX_DAY_FILES]:
        old.unlink(missing_ok=True)


def _count_views(day: str, views: pa.Table) -> _DayCounts:
    users: Any = pc.value_counts(views["user_id"].combine_chunks())
    views_by_user = users.field("counts").to_numpy()  # (users,)
    hours: Any = pc.hour(views["event_time"])
    views_by_hour = np.bincount(hours.to_numpy(), minlength=24)  # (24,)
    return _DayCounts(
        day,
        len(views),
        len(views_by_user),
        pc.count_distinct(views["title_id"]).as_py(),
        int((views_by_user > MAX_VIEWS_A_DAY).sum()),
        [int(count) for count in views_by_hour],
    )


def _same_weekdays(days: Sequence[_DayCounts], of: date) -> list[_DayCounts]:
    wanted = {str(of - timedelta(weeks=ago)) for ago in range(1, _WEEKS_COMPARED + 1)}
    return [counts for counts in days if counts.day in wanted]


def _mean_hours(days: Sequence[_DayCounts]) -> list[float]:
    return [statistics.fmean(hour) for hour in zip(*(d.hours for d in days), strict=True)]


def _comparisons(
    days: Sequence[_DayCounts],
    earlier: Sequence[_DayCounts],
    refused: Mapping[str, int],
    day: str,
) -> list[Comparison]:
    today = next((counts for counts in days if counts.day == day), None)
    figures = [
        ("views", [counts.views for counts in earlier], today.views if today else 0),
        ("users", [counts.users for counts in earlier], today.users if today else 0),
        ("titles", [counts.titles for counts in earlier], today.titles if today else 0),
        ("refused lines", [refused.get(c.day, 0) for c in earlier], refused.get(day, 0)),
    ]
    return [_compare(name, value, before) for name, before, value in figures]


def _compare(name: str, value: float, before: Sequence[float]) -> Comparison:
    if len(before) < _MIN_DAYS_COMPARED:
        return Comparison(name, value, None, None, None)
    return Comparison(name, value, statistics.median(before), min(before), max(before))
