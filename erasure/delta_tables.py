"""Rows out of a Delta table for good: out of its files, older versions, change feed and log.

DELETE alone leaves the rows in replaced files, and the log keeps the least and greatest user_id of
every file that ever was. So: the rows go, VACUUM removes each file that is not of the newest
version, a checkpoint without tombstones takes the place of the log before it, and the older log is
deleted. Older versions can be read no more; version numbers go on. Nothing else may run meanwhile.

Each step may be repeated, so what a kill leaves undone is done by the next call.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.tables import (
    BROWSING_LOGS,
    REJECTED_LOGS,
    SEQUENCE_PAIRS,
    SESSIONS,
    TABLES,
    TITLES,
    USER_SEQUENCES,
    Table,
)
from spark_jobs.lake.lake import Lake
from spark_jobs.lake.maintenance import held_days, set_retention
from spark_jobs.lake.table_properties import FILE_RETENTION, KEEP_DAYS

RETENTION_CHECK = "spark.databricks.delta.retentionDurationCheck.enabled"
AT_ONCE = "interval 0 seconds"
Names = Callable[[str], bool]  # whether a line that could not be parsed is of one of the users
# Views first: what the others hold follows from them, and titles go when nobody views them.
ORDER = (BROWSING_LOGS, *(t for t in TABLES if "user_id" in t.names and t != BROWSING_LOGS))


@dataclass(frozen=True)
class Sum:
    """Of rows, in any order: equal rows, equal sums."""

    rows: int
    hashes: int


@dataclass(frozen=True)
class Erased:
    table: str
    rows: int
    others_before: Sum
    others_after: Sum

    @property
    def others_untouched(self) -> bool:
        return self.others_before == self.others_after


def erase_users(lake: Lake, users: Sequence[str], names: Names) -> list[Erased]:
    """Erase all that is of `users` from every table that exists."""
    views = lake.version(BROWSING_LOGS)
    up_to_date = [
        table
        for table in (TITLES, SESSIONS)
        if views >= 0 and lake.watermark(table, BROWSING_LOGS) == views
    ]
    done = [
        erase(lake, table, _rows_of(lake, table, users)) for table in ORDER if lake.exists(table)
    ]
    if lake.exists(REJECTED_LOGS):
        done.append(erase(lake, REJECTED_LOGS, lines_of(lake, names)))
    if lake.exists(TITLES) and lake.exists(BROWSING_LOGS):
        done.append(erase(lake, TITLES, unviewed(lake)))
    for table in up_to_date:  # they hold what the views say now, too: nothing to look at again
        lake.mark(table, watermark={BROWSING_LOGS.name: lake.version(BROWSING_LOGS)})
    return done


def _rows_of(lake: Lake, table: Table, users: Sequence[str]) -> DataFrame:
    return lake.read(table).where(F.trim("user_id").isin(list(users)))


def lines_of(lake: Lake, names: Names) -> DataFrame:
    """The refused lines that are of the users."""
    named = F.udf(names, "boolean", useArrow=False)
    return lake.read(REJECTED_LOGS).where(named("raw"))


def unviewed(lake: Lake) -> DataFrame:
    """Titles that are in nobody's views any more: only those who were forgotten saw them."""
    viewed = lake.read(BROWSING_LOGS).select("title_id")
    arrays = [(SESSIONS, "title_ids"), (USER_SEQUENCES, "title_ids")]
    arrays += [(SEQUENCE_PAIRS, "a_title_ids"), (SEQUENCE_PAIRS, "b_title_ids")]
    for table, name in arrays:
        viewed = viewed.union(lake.read_or_empty(table).select(F.explode(name)))
    return lake.read(TITLES).join(viewed.distinct(), "title_id", "left_anti")


def sum_of(frame: DataFrame) -> Sum:
    hashes = F.xxhash64(*frame.columns).cast("decimal(38,0)")
    row = frame.agg(F.count(F.lit(1)), F.coalesce(F.sum(hashes), F.lit(0))).collect()[0]
    return Sum(int(row[0]), int(row[1]))


def erase(lake: Lake, table: Table, rows: DataFrame) -> Erased:
    """Erase `rows`, which are of `table`'s newest version, and every trace of them in it."""
    delta = lake.delta_table(table)
    keys = rows.select(*table.key).persist()
    all_rows = lake.read(table).select(table.names)
    before = sum_of(all_rows.join(keys, list(table.key), "left_anti").select(table.names))
    told, days = lake.metadata(table), held_days(lake, table) or KEEP_DAYS
    lake.set_properties(table, {FILE_RETENTION: AT_ONCE})
    if count := keys.count():
        same = " and ".join(f"old.{name} = gone.{name}" for name in table.key)
        delta.alias("old").merge(keys.alias("gone"), same).whenMatchedDelete().execute()
    keys.unpersist()
    lake.spark.conf.set(RETENTION_CHECK, "false")
    try:
        delta.vacuum(0)
    finally:
        lake.spark.conf.unset(RETENTION_CHECK)
    lake.mark(table, measures=told.get("measures", {}))
    lake.log(table).remove_history()
    set_retention(lake, table, days)
    return Erased(table.name, count, before, sum_of(lake.read(table).select(table.names)))
