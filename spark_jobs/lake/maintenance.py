"""Weekly upkeep of the lake: small files become large ones, and what nobody needs is removed.

userbert maintenance [--table sessions --table titles] [--dry-run]

A partition of more than FEW small files is compacted (OPTIMIZE), unless it is one of the newest
days, which jobs are writing. VACUUM removes files that were replaced longer ago than the table's
retention, which is prolonged for the versions that models name (spark_jobs/lake/retention.py). Rows
stay as they are. Beside a running job nothing is lost: who commits second is refused by Delta,
a job does its work again, and what maintenance could not compact is left for the next week.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

import typer
from delta.exceptions import DeltaConcurrentModificationException
from delta.tables import DeltaTable
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from contracts.options import choice_option
from contracts.paths import Places
from contracts.tables import MODELS, PUBLISHED_EMBEDDINGS, TABLES, USER_EMBEDDINGS, Table
from spark_jobs.lake import retention
from spark_jobs.lake.lake import Lake
from spark_jobs.lake.table_properties import FILES, properties
from spark_jobs.spark.job_run import job

MIB = 1 << 20
FEW = 3  # small files of a partition that are left alone
QUIET = timedelta(days=2)  # a partition this much older than the newest one is written no more
# A file of views holds about 5 million of them. Vectors are a kilobyte a row, and read whole.
TARGET_MIB = 128
TARGETS_MIB = {USER_EMBEDDINGS.name: 512, PUBLISHED_EMBEDDINGS.name: 512}
SMALL = 0.75  # of the target; larger files are never rewritten, so upkeep's own cost is bounded
OPTIMIZE = "spark.databricks.delta.optimize"


@dataclass(frozen=True)
class Upkeep:
    """What maintenance found of a table, and did, or with --dry-run would do."""

    table: str
    files: int
    bytes: int
    crowded: int  # partitions worth compaction
    keep_days: int
    pin: retention.Pin | None
    compacted: tuple[int, int] | None = None  # files, before and after
    overtaken: bool = False  # by a job; left for the next time
    unread: int = 0  # files that VACUUM removed, or would

    def __str__(self) -> str:
        size = f"{self.table}: {self.files:,} files, {self.bytes / MIB:,.1f} MiB"
        crowded = f"{self.crowded} partitions have more than {FEW} small files"
        did = "" if not self.compacted else " ({:,} files became {:,})".format(*self.compacted)
        did = " (a job was writing them: next time)" if self.overtaken else did
        kept = f"replaced files stay {self.keep_days} days"
        if self.pin:
            kept += f" (model {self.pin.model_id} names version {self.pin.version})"
        return f"{size}; {crowded}{did}; {kept}; {self.unread:,} are older"


def target_bytes(table: Table) -> int:
    return TARGETS_MIB.get(table.name, TARGET_MIB) * MIB


def crowded(files: DataFrame, table: Table) -> list[Row]:
    """The partitions of more than FEW small files that no job writes now, in order.

    A partition by day is quiet when it is QUIET older than the table's newest; a table without
    partitions, or without days, is taken as it is.
    """
    values = [F.col("partitionValues")[name].alias(name) for name in table.partition_by]
    small = F.count_if(F.col("size") < int(target_bytes(table) * SMALL)).alias("small")
    counts = files.select("size", *values).groupBy(*table.partition_by).agg(small)
    found = sorted(counts.collect())
    if day := day_column(table):
        newest = max((date.fromisoformat(row[day]) for row in found), default=date.max)
        found = [row for row in found if date.fromisoformat(row[day]) <= newest - QUIET]
    return [row for row in found if row["small"] > FEW]


def day_column(table: Table) -> str | None:
    days = [c.name for c in table.columns if c.type == "date" and c.name in table.partition_by]
    return days[0] if days else None


def condition(partitions: Sequence[Row], table: Table) -> str:
    """SQL that holds of the rows of `partitions`."""
    each = [
        " and ".join(f"{name} = '{row[name]}'" for name in table.partition_by) for row in partitions
    ]
    return " or ".join(f"({one})" for one in each)


def compact(delta: DeltaTable, table: Table, partitions: Sequence[Row]) -> tuple[int, int]:
    """OPTIMIZE the partitions; how many files became how many."""
    spark = SparkSession.active()
    spark.conf.set(f"{OPTIMIZE}.maxFileSize", str(target_bytes(table)))
    spark.conf.set(f"{OPTIMIZE}.minFileSize", str(int(target_bytes(table) * SMALL)))
    builder = delta.optimize()
    if table.partition_by:
        builder = builder.where(condition(partitions, table))
    told = builder.executeCompaction().select("metrics.*").first()
    assert told is not None
    return int(told["numFilesRemoved"]), int(told["numFilesAdded"])


def keep(delta: DeltaTable, table: Table, keep_days: int) -> None:
    """Give the table the properties that it should have, if it has others."""
    wanted = properties(table, keep_days)
    held = held_properties(delta)
    if changed := {key: value for key, value in wanted.items() if held.get(key) != value}:
        told = ", ".join(f"'{key}' = '{value}'" for key, value in changed.items())
        path = delta.detail().select("location").collect()[0][0]
        SparkSession.active().sql(f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ({told})")


def held_properties(delta: DeltaTable) -> dict[str, str]:
    return dict(delta.detail().select("properties").collect()[0][0])


def held_days(delta: DeltaTable) -> int:
    """How many days the table keeps replaced files now; 0 where it does not say so in days."""
    words = held_properties(delta).get(FILES, "").split()
    return int(words[1]) if words[:1] == ["interval"] and words[2:] == ["days"] else 0


def unread_files(delta: DeltaTable) -> int:
    """How many files VACUUM would remove now; Delta counts no further than 1,000.

    It goes by the table's own retention: Delta 4.4 ignores a RETAIN of any number but 0.
    """
    path = delta.detail().select("location").collect()[0][0]
    return SparkSession.active().sql(f"VACUUM delta.`{path}` DRY RUN").count()


def tend(lake: Lake, table: Table, pin: retention.Pin | None, dry_run: bool = False) -> Upkeep:
    """Look at one table and, without `dry_run`, put it in order.

    The retention comes first: nothing is vacuumed unless it reaches as far back as it must.
    """
    delta = DeltaTable.forPath(lake.spark, lake.path(table))
    log = lake.log(table)
    files = log.files().persist()
    sizes = files.agg(F.count("size"), F.coalesce(F.sum("size"), F.lit(0))).collect()[0]
    found = crowded(files, table)
    files.unpersist()
    committed = {commit.version: commit.at for commit in log.commits()}
    age = retention.age_days(committed, pin, datetime.now(UTC))
    days = retention.keep_days(held_days(delta), age)
    upkeep = Upkeep(table.name, sizes[0], sizes[1], len(found), days, pin)
    if dry_run:
        return replace(upkeep, unread=unread_files(delta))
    try:
        keep(delta, table, days)
        compacted = compact(delta, table, found) if found else None
    except DeltaConcurrentModificationException:
        return replace(upkeep, overtaken=True)
    if unread := unread_files(delta):
        delta.vacuum()
    return replace(upkeep, compacted=compacted, unread=unread)


def main(
    table: Annotated[
        list[str] | None,
        choice_option(
            "--table", [table.name for table in TABLES], "Tend this table alone; repeatable."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
) -> None:
    with job("maintenance", gated=False) as (spark, tell):
        lake = Lake(spark, Places.from_environment().lake)
        models = lake.read_or_empty(MODELS).select("model_id", "status", "inputs").collect()
        pins = retention.pins(row.asDict() for row in models)
        wanted = [t for t in TABLES if t.name in (table or [t.name]) and lake.exists(t)]
        done = [tend(lake, t, pins.get(t.name), dry_run) for t in wanted]
        sys.stdout.writelines(f"{one}\n" for one in done)
        tell(files_removed=0 if dry_run else sum(one.unread for one in done))
