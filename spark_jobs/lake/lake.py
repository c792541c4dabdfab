"""Reading and writing the lake's tables: the only module of spark_jobs that does I/O on them.

Every write is one Delta commit of a frame that has passed its gate, and carries where it came
from in `userMetadata`: job, run, code, the versions of the tables that were read, and counts.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from delta.exceptions import DeltaConcurrentModificationException
from delta.tables import DeltaTable, DeltaTableBuilder
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.errors import MissingTable
from contracts.storage.damage import check_delta_log, job_command
from contracts.tables import Table
from expectations.gate import Passed
from spark_jobs.lake.commits import Commit, CommitProvenance, recent_provenance
from spark_jobs.lake.schema_evolution import declared_columns, evolve_table, is_current
from spark_jobs.lake.table_lock import table_lock
from spark_jobs.lake.table_properties import check_properties, layout_properties, wanted_properties
from spark_jobs.spark.delta_log import DeltaLog

__all__ = ["Commit", "Lake", "SourceState"]

ALL_ROWS = "true"  # the condition that every row of a table meets
CREATION_SECONDS = 10  # that another process may take to commit a new table
_READER_MARGIN = timedelta(hours=1)  # for a reader who is under way when VACUUM comes
_MAX_ATTEMPTS = 10  # at a commit that others keep overtaking; each is a whole recomputation

# A frame that passed its gate, its commit's provenance, and options of the Delta writer.
_Write = tuple[Passed, Mapping[str, object], Mapping[str, str]]


class _WriteDropped(Exception):
    """Another writer's fenced commit came before this one."""


@dataclass(frozen=True)
class SourceState:
    """What a job has to process of the table that it reads."""

    rows: DataFrame  # all rows of `version`
    version: int
    changes: DataFrame | None  # rows since the job's last run; None: all rows must be processed


@dataclass(frozen=True)
class Lake:
    """The Delta tables below one root (a path or an object store's address)."""

    spark: SparkSession
    root: str
    read_versions: dict[str, int] = field(default_factory=dict)  # by table, what was read so far
    _evolved: set[str] = field(default_factory=set)  # tables that were compared to the contract
    _whole: set[str] = field(default_factory=set)  # tables whose log was searched for damage

    def path(self, table: Table) -> str:
        return f"{self.root}/{table.name}"

    def log(self, table: Table) -> DeltaLog:
        """The table's log; `DamagedFile` where a commit is torn or empty.

        Delta itself reads a newest commit of 0 bytes as a table without rows.
        """
        if table.name not in self._whole and "://" not in self.root:
            check_delta_log(self.path(table))
            self._whole.add(table.name)
        return DeltaLog(self.spark, self.path(table))

    def delta_table(self, table: Table) -> DeltaTable:
        """Delta's own handle, for MERGE, OPTIMIZE and VACUUM, within `writing`."""
        return DeltaTable.forPath(self.spark, self.path(table))

    def writing(self, table: Table) -> AbstractContextManager[None]:
        """In here no other driver writes the table where Delta cannot see to it: on S3."""
        return table_lock(self.spark, self.root, table.name)

    def set_properties(self, table: Table, changed: Mapping[str, str]) -> None:
        """Give the table other properties, in a commit of its own."""
        pairs = ", ".join(f"'{key}' = '{value}'" for key, value in changed.items())
        with self.writing(table):
            self.spark.sql(f"ALTER TABLE delta.`{self.path(table)}` SET TBLPROPERTIES ({pairs})")

    def exists(self, table: Table) -> bool:
        return self.version(table) >= 0

    def version(self, table: Table) -> int:
        """The table's newest Delta version; -1 when it does not exist."""
        return self.log(table).version()

    def read(self, table: Table, version: int | None = None) -> DataFrame:
        """The table as of `version` (the newest without one), which the next commit will name."""
        newest = self._opened_version(table)
        if newest < 0:
            raise MissingTable(
                f"the lake has no {table.name} ({self.path(table)}): run the job that writes it, "
                f"`{job_command(table.name)}`, or name the right root "
                "by USERBERT_DATA"
            )
        version = newest if version is None else version
        self.read_versions[table.name] = version
        return self.spark.read.format("delta").option("versionAsOf", version).load(self.path(table))

    def read_or_empty(self, table: Table) -> DataFrame:
        """The table, or no rows of it before its first write."""
        if self.exists(table):
            return self.read(table)
        return self.spark.createDataFrame([], table.ddl)

    def metadata(self, table: Table) -> dict[str, Any]:
        """The provenance of the newest commit that carries one; empty before the first."""
        return next(recent_provenance(self.log(table)), {})

    def measures(self, table: Table) -> dict[str, float]:
        """What the newest commit's job and gate counted."""
        return dict(self.metadata(table).get("measures", {}))

    def watermark(self, table: Table, source: Table) -> int:
        """The last version of `source` that was processed into `table`; -1 for none.

        It is in the same commit as the rows, so it cannot run ahead of them or fall behind.
        """
        for provenance in recent_provenance(self.log(table)):
            if (version := provenance.get("watermark", {}).get(source.name)) is not None:
                return int(version)
        return -1

    def unprocessed(
        self, table: Table, source: Table, start_over: bool = False
    ) -> SourceState | None:
        """What of `source` is not in `table` yet; None where nothing has been committed since.

        With `start_over` all of it counts as not processed.
        """
        rows = self.read(source)
        version = self.read_versions[source.name]
        if start_over:
            return SourceState(rows, version, None)
        since = self.watermark(table, source)
        if version == since:
            return None
        return SourceState(rows, version, self.changes(source, since))

    def changes(self, table: Table, since: int) -> DataFrame | None:
        """Rows added to and removed from `table` by the commits after version `since`.

        The columns are the table's and `added`, true or false. None when Delta no longer has
        all of it (VACUUM removes changes that are older than the table's retention), when all
        rows were written anew for a column that the contract gained, or when `since` is of
        another table of that name; then the table itself must be read.
        """
        newest = self.version(table)
        if not 0 <= since <= newest or not self._changes_are_readable(table, since, newest):
            return None
        self.read_versions[table.name] = newest
        if since == newest:
            return self.spark.createDataFrame([], f"{table.ddl}, added boolean")
        feed = self.spark.read.format("delta").option("readChangeFeed", True)
        feed = feed.option("startingVersion", since + 1).option("endingVersion", newest)
        added = F.col("_change_type").isin("insert", "update_postimage").alias("added")
        return feed.load(self.path(table)).select(*table.names, added)

    def _changes_are_readable(self, table: Table, since: int, newest: int) -> bool:
        """Whether VACUUM has not yet been allowed to remove any, and one schema reads them all."""
        log = self.log(table)
        commits = [log.commit(version) for version in range(since + 1, newest + 1)]
        oldest_wanted = datetime.now(UTC) - log.deleted_file_retention() + _READER_MARGIN
        return all(commit and not commit.rewrote_table for commit in commits) and all(
            commit.at > oldest_wanted for commit in commits[:1] if commit
        )

    def create(self, table: Table) -> None:
        """Make the table as its contract declares it; one that exists is brought there."""
        if self._opened_version(table) >= 0:
            return
        try:
            with self.writing(table):
                self._builder(table).execute()
        except DeltaConcurrentModificationException:
            assert self.exists(table)  # another process made it first, from the same contract
        except AnalysisException as error:
            if error.getCondition() != "DELTA_TABLE_NOT_FOUND":
                raise
            self._create_over_unfinished(table)

    def _opened_version(self, table: Table) -> int:
        """`version` of the table, which from now on is as its contract declares it."""
        version = self.version(table)
        if version < 0 or table.name in self._evolved:
            return version
        if not is_current(self.log(table).metadata(), table):
            with self.writing(table):
                evolve_table(self.log(table), table)
        self._evolved.add(table.name)
        return self.version(table)

    def _builder(self, table: Table) -> DeltaTableBuilder:
        builder = DeltaTable.createIfNotExists(self.spark).location(self.path(table))
        builder = builder.comment(table.doc).addColumns(declared_columns(table))
        wanted = wanted_properties(table) | check_properties(table) | layout_properties(table)
        for key, value in wanted.items():
            builder = builder.property(key, value)
        return builder.partitionedBy(*table.partition_by) if table.partition_by else builder

    def _create_over_unfinished(self, table: Table) -> None:
        """Make the table where a log without a commit lies, which Delta takes for a table.

        Either another process is about to commit it, or one was killed just before it could.
        """
        for _ in range(CREATION_SECONDS):
            if self.exists(table):
                return
            time.sleep(1)
        with self.writing(table):
            is_removed = self.log(table).remove_unfinished()
        if is_removed:
            self.create(table)

    def replace(self, passed: Passed, where: str, **provenance: object) -> Commit:
        """Replace the rows for which `where` holds by `passed`'s, in one commit.

        Every row of `passed` must satisfy `where`, or Delta refuses the write. The rows that
        `where` names are this writer's responsibility, so a rerun leaves the same rows.
        """
        self.create(passed.table)
        commit = self._write(passed, provenance, {"replaceWhere": where})
        passed.release()
        return commit

    def replace_alone(
        self, table: Table, attempt: Callable[[], tuple[Passed, str, Mapping[str, object]]]
    ) -> Commit:
        """`replace` by `attempt`'s frame, condition and provenance, only if nobody else did so
        meanwhile.

        `settle` repairs after a commit; this lets none in that has not seen the one before it, for
        tables of which no reader may ever see two writers' rows mixed. `attempt` must be safe to
        repeat.
        """

        def write() -> _Write:
            passed, where, provenance = attempt()
            return passed, provenance, {"replaceWhere": where}

        commit = self._fenced(table, write)
        assert commit  # there is always something to write
        return commit

    def append_alone(
        self, table: Table, attempt: Callable[[], tuple[Passed, Mapping[str, object]] | None]
    ) -> Commit | None:
        """Add `attempt`'s rows, whose keys the table must not hold, with their provenance.

        Fenced as `replace_alone` is, so that of two writers who look for missing keys side by side
        the second looks again. Without rows the provenance is marked alone; None, nothing at all.
        """

        def write() -> _Write | None:
            made = attempt()
            return (*made, {}) if made else None

        return self._fenced(table, write)

    def _fenced(self, table: Table, write: Callable[[], _Write | None]) -> Commit | None:
        """What `write` gives, computed again until no other fenced commit came before it.

        The fence is Delta's own transaction version: each write carries the table's version from
        before `write` read anything, and Delta drops a write whose number is not above the last
        one, within the commit's own conflict check. It fences only those who write this way.
        """
        self.create(table)
        for _ in range(_MAX_ATTEMPTS):
            fence = {"txnAppId": table.name, "txnVersion": str(self.version(table))}
            try:
                if (made := write()) is None:
                    return None
                return self._write_once(*made, fence)
            except (DeltaConcurrentModificationException, _WriteDropped):
                continue
        raise self._overtaken(table)

    def _write_once(
        self,
        passed: Passed,
        provenance: Mapping[str, object],
        options: Mapping[str, str],
        fence: Mapping[str, str],
    ) -> Commit:
        """Raises `_WriteDropped` where Delta took the write for one that it has already."""
        try:
            if not options and not passed.measures["rows"]:
                return self.mark(passed.table, **provenance)
            commit = self._write(passed, provenance, {**options, **fence})
        finally:
            passed.release()
        if not commit.rows:
            raise _WriteDropped
        return commit

    def _write(
        self, passed: Passed, provenance: Mapping[str, object], options: Mapping[str, str]
    ) -> Commit:
        """Replace the rows of `replaceWhere` in `options`, or add to the table without it."""
        about = self._about(provenance, passed.measures)
        mode = "overwrite" if "replaceWhere" in options else "append"
        writer = passed.frame.write.format("delta").mode(mode).option("userMetadata", about.json)
        with self.writing(passed.table):
            writer.options(**options).save(self.path(passed.table))
        return about.commit(passed.table.name, self.log(passed.table))

    def mark(self, table: Table, **provenance: object) -> Commit:
        """Commit `provenance` alone: how far a job got that found no row to write.

        Without it the next run would look at the same changes again, and each night at more.
        """
        about = self._about(provenance, {})
        no_rows = self.spark.createDataFrame([], table.ddl).write.format("delta").mode("append")
        skip_empty = "spark.databricks.delta.skipRecordingEmptyCommits"
        self.spark.conf.set(skip_empty, "false")
        try:
            with self.writing(table):
                no_rows.option("userMetadata", about.json).save(self.path(table))
        finally:
            self.spark.conf.unset(skip_empty)
        return about.commit(table.name, self.log(table))

    def _about(
        self, provenance: Mapping[str, object], measures: Mapping[str, float]
    ) -> CommitProvenance:
        return CommitProvenance.of_job(self.spark, self.read_versions, measures, provenance)

    def settle(self, table: Table, attempt: Callable[[], Commit | None]) -> Commit | None:
        """Repeat `attempt` until no other commit came between what it read and what it wrote.

        For a write whose rows depend on the table's other rows (say, which views are there
        already): of two that run side by side, the one that commits second has not seen the
        first, so it does its work again, now seeing it. `attempt` must be safe to repeat.
        """
        for _ in range(_MAX_ATTEMPTS):
            read = self._opened_version(table)
            created = 0 if read >= 0 else 1  # a new table's first commit is its creation
            try:
                commit = attempt()
            except DeltaConcurrentModificationException:
                continue
            if commit is None or commit.rows == 0 or commit.version == read + created + 1:
                return commit
        raise self._overtaken(table)

    def _overtaken(self, table: Table) -> RuntimeError:
        return RuntimeError(
            f"{table.name}: other writers overtook this one {_MAX_ATTEMPTS} times; "
            "run it again when fewer jobs write to it"
        )
