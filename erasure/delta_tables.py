"""Rows out of a Delta table for good: out of its files, older versions, change feed and log.

DELETE alone leaves the rows in replaced files, and the log keeps the least and greatest user_id of
every file that ever was. So: the rows go, each file that is not of the newest version is removed,
a checkpoint without tombstones takes the place of the log before it, and the older log is deleted.
Older versions can be read no more; version numbers go on. Nothing else may run meanwhile.

Each step may be repeated, so what a kill leaves undone is done by the next call.

What is to go, and the checksums of all that stays, are read without Spark: a look at a table took
Spark some 25 stages, and a call some 1,200. Spark does what only Delta's own code may do.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
from delta.tables import DeltaTable
from pyspark.sql import functions as F

from analyst.lake_access.open_lake import OpenLake, open_lake
from contracts.paths import Places
from contracts.tables import (
    BROWSING_LOGS,
    REJECTED_LOGS,
    SEQUENCE_PAIRS,
    SESSIONS,
    TITLES,
    USER_SEQUENCES,
    Table,
)
from erasure.known_users import USER_TABLES, stored_ids
from spark_jobs.lake.lake import Lake
from spark_jobs.lake.maintenance import held_days, set_retention
from spark_jobs.lake.table_properties import FILE_RETENTION, KEEP_DAYS

# Views first: what the others hold follows from them, and titles go when nobody views them.
_ERASED_TABLES = (
    BROWSING_LOGS,
    *(table for table in USER_TABLES if table != BROWSING_LOGS),
    REJECTED_LOGS,
    TITLES,
)
_AT_ONCE = "interval 0 seconds"
_OF_A_COMMIT = ("job", "run", "code", "commit")  # what its own writer says of itself
_LineTest = Callable[[str], bool]  # whether a refused line is of one of the users


@dataclass(frozen=True)
class Checksum:
    """Of rows, in any order: equal rows, equal sums."""

    rows: int
    hashes: int


@dataclass(frozen=True)
class _Doomed:
    """The rows of one table that are to go: those whose `columns` have these values."""

    table: Table
    values: pa.Table
    num_rows: int
    others: Checksum


@dataclass(frozen=True)
class Erased:
    table: str
    rows: int
    others_before: Checksum
    others_after: Checksum

    @property
    def others_untouched(self) -> bool:
        return self.others_before == self.others_after


def erase_users(lake: Lake, places: Places, users: Sequence[str], test: _LineTest) -> list[Erased]:
    """Erase all that is of `users` from every table that exists."""
    with open_lake(places) as before:
        doomed = list(_doomed_rows(before, users, test))
    views = lake.version(BROWSING_LOGS)
    up_to_date = [
        table
        for table in (TITLES, SESSIONS)
        if views >= 0 and lake.watermark(table, BROWSING_LOGS) == views
    ]
    for rows in doomed:
        with lake.writing(rows.table):
            _erase(lake, rows)
    for table in up_to_date:  # they hold what the views say now, too: nothing to look at again
        lake.mark(table, watermark={BROWSING_LOGS.name: lake.version(BROWSING_LOGS)})
    with open_lake(places) as after:
        return [
            Erased(d.table.name, d.num_rows, d.others, _checksum(after, d.table)) for d in doomed
        ]


def _doomed_rows(lake: OpenLake, users: Sequence[str], test: _LineTest) -> Iterator[_Doomed]:
    stored = sorted({u for t in USER_TABLES if lake.has(t) for u in stored_ids(lake, t, users)})
    for table in filter(lake.has, _ERASED_TABLES):
        if table == REJECTED_LOGS:
            values = _refused_lines(lake, test)
        elif table == TITLES:
            values = _unviewed_titles(lake, stored) if lake.has(BROWSING_LOGS) else _no_titles()
        else:
            values = pa.table({"user_id": pa.array(stored, pa.string())})
        lake.connection.register("doomed_values", values)
        names = ", ".join(values.column_names)
        count = f"SELECT count(*) FROM {table.name} SEMI JOIN doomed_values USING ({names})"
        (num_rows,) = lake.connection.execute(count).fetchall()[0]
        others = _checksum(lake, table, f"ANTI JOIN doomed_values USING ({names})")
        yield _Doomed(table, values, num_rows, others)


def _refused_lines(lake: OpenLake, test: _LineTest) -> pa.Table:
    """The keys of the refused lines that are of the users."""
    key = ", ".join(REJECTED_LOGS.key)
    rows = lake.connection.execute(f"SELECT {key}, raw FROM {REJECTED_LOGS.name}")
    kept, schema = [], None
    for batch in rows.to_arrow_reader(10_000):
        schema = batch.schema
        is_theirs = [test(raw or "") for raw in batch["raw"].to_pylist()]
        kept.append(batch.filter(pa.array(is_theirs)))
    schema = schema or pa.schema([(name, pa.string()) for name in (*REJECTED_LOGS.key, "raw")])
    return pa.Table.from_batches(kept, schema).drop_columns("raw")


def _unviewed_titles(lake: OpenLake, stored: Sequence[str]) -> pa.Table:
    """Titles that nobody else has viewed."""
    arrays = [(SESSIONS, "title_ids"), (USER_SEQUENCES, "title_ids")]
    arrays += [(SEQUENCE_PAIRS, "a_title_ids"), (SEQUENCE_PAIRS, "b_title_ids")]
    viewed = [(BROWSING_LOGS, "title_id"), *((t, f"unnest({n})") for t, n in arrays if lake.has(t))]
    of_others = " UNION ".join(
        f"SELECT {title_id} FROM {table.name} WHERE user_id NOT IN (SELECT unnest($stored))"
        for table, title_id in viewed
    )
    query = f"SELECT title_id FROM {TITLES.name} EXCEPT ({of_others})"
    return lake.connection.execute(query, {"stored": list(stored)}).to_arrow_table()


def _no_titles() -> pa.Table:
    return pa.table({"title_id": pa.array([], pa.int64())})


def _checksum(lake: OpenLake, table: Table, but: str = "") -> Checksum:
    hashes = f"coalesce(sum(hash({', '.join(table.names)})::HUGEINT), 0)"
    query = f"SELECT count(*), {hashes} FROM {table.name} {but}"
    return Checksum(*map(int, lake.connection.execute(query).fetchall()[0]))


def _erase(lake: Lake, doomed: _Doomed) -> None:
    """Erase the rows, which are of the table's newest version, and all that files keep of them."""
    table = doomed.table
    provenance, days = lake.metadata(table), held_days(lake, table) or KEEP_DAYS
    lake.set_properties(table, {FILE_RETENTION: _AT_ONCE})
    if doomed.num_rows:
        _delete_rows(lake, lake.delta_table(table), doomed)
    drop_older_versions(lake, table, provenance)
    set_retention(lake, table, days)


def drop_older_versions(lake: Lake, table: Table, provenance: Mapping[str, object]) -> None:
    """Remove all files but the newest version's, and the log before a commit that keeps what the
    `provenance` of an older one said of the rows."""
    lake.log(table).remove_unused_files()
    lake.mark(table, **{key: provenance[key] for key in provenance if key not in _OF_A_COMMIT})
    lake.log(table).remove_history()


def _delete_rows(lake: Lake, delta: DeltaTable, doomed: _Doomed) -> None:
    names = doomed.values.column_names
    if names == ["user_id"]:
        delta.delete(F.col("user_id").isin(doomed.values["user_id"].to_pylist()))
        return
    ddl = ", ".join(f"{c.name} {c.type}" for c in doomed.table.columns if c.name in names)
    order = [c.name for c in doomed.table.columns if c.name in names]
    rows = [tuple(row[name] for name in order) for row in doomed.values.to_pylist()]
    same = " and ".join(f"old.{name} = gone.{name}" for name in names)
    gone = lake.spark.createDataFrame(rows, ddl).alias("gone")
    delta.alias("old").merge(gone, same).whenMatchedDelete().execute()
