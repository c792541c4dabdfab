"""Weekly maintenance: small files become large ones, and files that nobody needs are removed.

userbert maintenance [--table sessions --table titles] [--dry-run]

First goes what conf/retention.toml no longer keeps: landing days, old rows, logs, results and
reports, each deletion a line (not with --table).

A partition of more than MAX_SMALL_FILES small files is compacted (OPTIMIZE), unless it is one of
the newest days, which jobs are writing. VACUUM removes files that were replaced longer ago than the
table's retention, which is prolonged for the versions that models name (see
spark_jobs/lake/retention.py). Rows stay as they are. Nothing is lost next to a running job: Delta
refuses the one that commits second; a job then does its work again, and what maintenance could not
compact waits for the next week.
"""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

import typer
from delta.exceptions import DeltaConcurrentModificationException
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from contracts.paths import Places
from contracts.settings.retention import RetentionSettings
from contracts.tables import MODELS, PUBLISHED_EMBEDDINGS, TABLES, USER_EMBEDDINGS, Table
from contracts.terminal.options import choice_option
from spark_jobs.lake import retention
from spark_jobs.lake.expired_files import expired_files
from spark_jobs.lake.expired_rows import expired_rows, ingested_days
from spark_jobs.lake.lake import Lake
from spark_jobs.lake.table_properties import KEEP_DAYS, retention_days, wanted_properties
from spark_jobs.spark.job_run import spark_job

_MIB = 1 << 20
_MAX_SMALL_FILES = 3  # of a partition, which are left as they are
_QUIET_AFTER = timedelta(days=2)  # nobody writes a partition that is so much older than the newest
# A file of views holds about 5 million of them. Vectors are a kilobyte a row, and read whole.
_TARGET_MIB = 128
_TARGETS_MIB = {USER_EMBEDDINGS.name: 512, PUBLISHED_EMBEDDINGS.name: 512}
# Of the target: files from this size on are never rewritten, so the cost of maintenance is bounded.
_SMALL_SHARE = 0.75
_OPTIMIZE_SETTINGS = "spark.databricks.delta.optimize"


@dataclass(frozen=True)
class TableUpkeep:
    """What maintenance found in a table, and did, or with --dry-run would do."""

    table: str
    num_files: int
    num_bytes: int
    num_crowded: int  # partitions worth compaction
    keep_days: int
    pin: retention.Pin | None
    compacted: tuple[int, int] | None = None  # number of files, before and after
    was_overtaken: bool = False  # by a job; left for the next time
    num_unread: int = 0  # files that VACUUM removed, or would

    def __str__(self) -> str:
        size = f"{self.table}: {self.num_files:,} files, {self.num_bytes / _MIB:,.1f} MiB"
        crowded = f"{self.num_crowded} partitions have more than {_MAX_SMALL_FILES} small files"
        done = "" if not self.compacted else " ({:,} files became {:,})".format(*self.compacted)
        done = " (a job was writing them: next time)" if self.was_overtaken else done
        kept = f"replaced files stay {self.keep_days} days"
        if self.pin:
            kept += f" (model {self.pin.model_id} names version {self.pin.version})"
        return f"{size}; {crowded}{done}; {kept}; {self.num_unread:,} are older"


def _target_bytes(table: Table) -> int:
    return _TARGETS_MIB.get(table.name, _TARGET_MIB) * _MIB


def _crowded_partitions(files: DataFrame, table: Table) -> list[Row]:
    """The partitions of more than MAX_SMALL_FILES small files that no job writes now, in order.

    A partition by day is quiet when it is QUIET_AFTER older than the table's newest; a table
    without partitions, or without days, is taken as it is.
    """
    values = [F.col("partitionValues")[name].alias(name) for name in table.partition_by]
    is_small = F.col("size") < int(_target_bytes(table) * _SMALL_SHARE)
    counts = files.select("size", *values).groupBy(*table.partition_by)
    partitions = sorted(counts.agg(F.count_if(is_small).alias("num_small")).collect())
    if day := _day_column(table):
        newest = max((date.fromisoformat(row[day]) for row in partitions), default=date.max)
        quiet = newest - _QUIET_AFTER
        partitions = [row for row in partitions if date.fromisoformat(row[day]) <= quiet]
    return [row for row in partitions if row["num_small"] > _MAX_SMALL_FILES]


def _day_column(table: Table) -> str | None:
    days = [c.name for c in table.columns if c.type == "date" and c.name in table.partition_by]
    return days[0] if days else None


def _partition_condition(partitions: Sequence[Row], table: Table) -> str:
    """SQL that holds of the rows of `partitions`."""
    each = [
        " and ".join(f"{name} = '{row[name]}'" for name in table.partition_by) for row in partitions
    ]
    return " or ".join(f"({one})" for one in each)


def _compact_partitions(lake: Lake, table: Table, partitions: Sequence[Row]) -> tuple[int, int]:
    """OPTIMIZE the partitions; how many files became how many."""
    lake.spark.conf.set(f"{_OPTIMIZE_SETTINGS}.maxFileSize", str(_target_bytes(table)))
    lake.spark.conf.set(
        f"{_OPTIMIZE_SETTINGS}.minFileSize", str(int(_target_bytes(table) * _SMALL_SHARE))
    )
    builder = lake.delta_table(table).optimize()
    if table.partition_by:
        builder = builder.where(_partition_condition(partitions, table))
    metrics = builder.executeCompaction().select("metrics.*").first()
    assert metrics is not None
    return int(metrics["numFilesRemoved"]), int(metrics["numFilesAdded"])


def set_retention(lake: Lake, table: Table, keep_days: int) -> None:
    """Give the table the properties that it should have, if it has others."""
    held = lake.log(table).metadata().properties
    wanted = wanted_properties(table, keep_days)
    if changed := {key: value for key, value in wanted.items() if held.get(key) != value}:
        lake.set_properties(table, changed)


def held_days(lake: Lake, table: Table) -> int:
    """How many days the table keeps replaced files now; 0 where it does not say so in days."""
    return retention_days(lake.log(table).metadata().properties)


def _num_unread_files(lake: Lake, table: Table) -> int:
    """How many files VACUUM would remove now; Delta counts no further than 1,000.

    It goes by the table's own retention: Delta 4.4 ignores a RETAIN of any number but 0.
    """
    return lake.spark.sql(f"VACUUM delta.`{lake.path(table)}` DRY RUN").count()


def maintain_table(
    lake: Lake,
    table: Table,
    pin: retention.Pin | None,
    dry_run: bool = False,
    wanted_days: int = KEEP_DAYS,
) -> TableUpkeep:
    """Look at one table and, without `dry_run`, put it in order.

    The retention comes first: nothing is vacuumed unless it reaches as far back as it must.
    """
    if not dry_run:
        lake.create(table)  # it exists: this brings it to its contract
    log = lake.log(table)
    files = log.files().persist()
    sizes = files.agg(F.count("size"), F.coalesce(F.sum("size"), F.lit(0))).collect()[0]
    crowded = _crowded_partitions(files, table)
    files.unpersist()
    committed = {commit.version: commit.at for commit in log.commits()}
    age = retention.age_days(committed, pin, datetime.now(UTC))
    days = retention.keep_days(held_days(lake, table), age, wanted_days)
    upkeep = TableUpkeep(table.name, sizes[0], sizes[1], len(crowded), days, pin)
    if dry_run:
        return replace(upkeep, num_unread=_num_unread_files(lake, table))
    try:
        set_retention(lake, table, days)
        compacted = _compact_partitions(lake, table, crowded) if crowded else None
    except DeltaConcurrentModificationException:
        return replace(upkeep, was_overtaken=True)
    if num_unread := _num_unread_files(lake, table):
        lake.delta_table(table).vacuum()
    return replace(upkeep, compacted=compacted, num_unread=num_unread)


def _remove_expired(lake: Lake, places: Places, settings: RetentionSettings, dry_run: bool) -> int:
    """List what the settings no longer keep, and remove it without `dry_run`; how many groups."""
    today = datetime.now(UTC).date()
    ingested = ingested_days(lake) if settings.landing_days else set()
    files = list(expired_files(places, settings, ingested, today))
    gone = {path for group in files for path in group.paths}

    def landing_stays(day: date) -> bool:
        folder = places.landing / str(day)
        return folder.is_dir() and folder not in gone

    rows = list(expired_rows(lake, settings, landing_stays, today))
    for group in files:
        sys.stdout.write(f"{group}\n")
        if not dry_run:
            group.remove()
    for each in rows:
        sys.stdout.write(f"{each}\n")
        if not dry_run:
            each.remove(lake)
    return 0 if dry_run else len(files) + len(rows)


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
    settings, places = RetentionSettings.from_environment(), Places.from_environment()
    with spark_job("maintenance", gated=False) as (spark, report):
        lake = Lake(spark, places.lake)
        num_expired = 0 if table else _remove_expired(lake, places, settings, dry_run)
        models = lake.read_or_empty(MODELS).select("model_id", "status", "inputs").collect()
        pins = retention.oldest_pins(row.asDict() for row in models)
        wanted = [t for t in TABLES if t.name in (table or [t.name]) and lake.exists(t)]
        days, done = settings.older_versions_days, []
        for each in wanted:
            with nullcontext() if dry_run else lake.writing(each):
                done.append(maintain_table(lake, each, pins.get(each.name), dry_run, days))
        sys.stdout.writelines(f"{upkeep}\n" for upkeep in done)
        report(
            files_removed=0 if dry_run else sum(upkeep.num_unread for upkeep in done),
            expired_groups_removed=num_expired,
        )
