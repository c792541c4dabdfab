"""Rows that are older than the retention settings allow.

Whole days go, each a folder of its table, in one commit. `userbert sessions` takes the sessions of
the views that went, through the change feed. Older versions keep the rows until VACUUM, and as long
as a model in use names their version.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from pyspark.sql import functions as F

from contracts.settings.retention import RetentionSettings
from contracts.tables import BROWSING_LOGS, REJECTED_LOGS, Table
from spark_jobs.lake.lake import Lake


@dataclass(frozen=True)
class ExpiredRows:
    """Rows of a table that go: those of `days`."""

    table: Table
    day_column: str
    days: tuple[date, ...]
    num_rows: int
    reason: str

    def __str__(self) -> str:
        span = f"{self.days[0]} to {self.days[-1]}"
        return (
            f"{self.table.name}: {self.num_rows:,} rows of {len(self.days)} days, {span}, go "
            f"({self.reason})"
        )

    def remove(self, lake: Lake) -> None:
        days = ", ".join(f"date'{day}'" for day in self.days)
        with lake.writing(self.table):
            lake.delta_table(self.table).delete(f"{self.day_column} in ({days})")


def ingested_days(lake: Lake) -> set[date]:
    """The landing days that the lake has lines of."""
    tables = [table for table in (BROWSING_LOGS, REJECTED_LOGS) if lake.exists(table)]
    return {
        row["landing_day"]
        for table in tables
        for row in lake.read(table).select("landing_day").distinct().collect()
    }


def expired_rows(
    lake: Lake, settings: RetentionSettings, landing_stays: Callable[[date], bool], today: date
) -> Iterator[ExpiredRows]:
    """What goes. Refused lines by today; views by the newest one, since the window ends there.

    Rows stay where `landing_stays`, the folder of their landing day: an audit compares the two.
    """
    if settings.refused_days and lake.exists(REJECTED_LOGS):
        cut = today - timedelta(days=settings.refused_days)
        reason = f"older than {settings.refused_days} days"
        yield from _of_table(lake, landing_stays, REJECTED_LOGS, cut, reason)
    if settings.views_days and lake.exists(BROWSING_LOGS):
        newest = lake.read(BROWSING_LOGS).agg(F.max("event_date")).collect()[0][0]
        cut = (newest or today) - timedelta(days=settings.views_days)
        reason = f"more than {settings.views_days} days before the newest view"
        yield from _of_table(lake, landing_stays, BROWSING_LOGS, cut, reason)


def _of_table(
    lake: Lake, landing_stays: Callable[[date], bool], table: Table, cut: date, reason: str
) -> Iterator[ExpiredRows]:
    (column,) = table.partition_by
    counts = (
        lake.read(table)
        .where(F.col(column) < F.lit(cut))
        .groupBy(column)
        .agg(F.count("*").alias("rows"), F.collect_set("landing_day").alias("landed"))
        .collect()
    )
    old = {row[column]: row["rows"] for row in counts if not any(map(landing_stays, row["landed"]))}
    if old:
        yield ExpiredRows(table, column, tuple(sorted(old)), sum(old.values()), reason)
