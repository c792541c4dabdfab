"""Reading and writing the lake's tables: the only module of spark_jobs that does I/O on them.

Every write is one Delta commit of a frame that has passed its gate, and carries where it came
from in `userMetadata`: job, run, code, the versions of the tables that were read, and counts.
"""

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from delta.exceptions import DeltaConcurrentModificationException
from delta.tables import DeltaTable, DeltaTableBuilder
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from contracts.errors import MissingTable
from contracts.provenance import code_version, run_name
from contracts.tables import Table
from expectations.gate import Passed
from spark_jobs.lake.delta_log import DeltaLog
from spark_jobs.lake.table_properties import properties

RECENT = 100  # commits whose provenance is looked through; a table's job tells its own in each
BEING_MADE = 10  # seconds that another process may take to commit a new table
MARGIN = timedelta(hours=1)  # for a reader who is under way when VACUUM comes
ATTEMPTS = 10  # of a commit that others keep overtaking; each attempt is a whole recomputation


class _Dropped(Exception):
    """Another writer's fenced commit came before this one."""


@dataclass(frozen=True)
class Commit:
    """One write: the rows that Delta wrote, and the table's Delta version that holds them.

    A write that changes nothing makes no commit: 0 rows, and the version that was there.
    """

    table: str
    version: int
    rows: int


@dataclass(frozen=True)
class Lake:
    """The Delta tables below one root (a path or an object store's address)."""

    spark: SparkSession
    root: str
    read_versions: dict[str, int] = field(default_factory=dict)  # by table, what was read so far

    def path(self, table: Table) -> str:
        return f"{self.root}/{table.name}"

    def log(self, table: Table) -> DeltaLog:
        return DeltaLog(self.spark, self.path(table))

    def exists(self, table: Table) -> bool:
        return self.version(table) >= 0

    def version(self, table: Table) -> int:
        """The table's newest Delta version; -1 when it does not exist."""
        return self.log(table).version()

    def read(self, table: Table, version: int | None = None) -> DataFrame:
        """The table as of `version` (the newest without one), which the next commit will name."""
        newest = self.version(table)
        if newest < 0:
            raise MissingTable(
                f"the lake has no {table.name} ({self.path(table)}): run the job that writes it, "
                f"`userbert {table.name.replace('_', '-')}`, or name the right root "
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
        return next(self._told(table), {})

    def measures(self, table: Table) -> dict[str, float]:
        """What the newest commit's job and gate counted."""
        return dict(self.metadata(table).get("measures", {}))

    def watermark(self, table: Table, source: Table) -> int:
        """The version of `source` up to which `table` holds its consequences; -1 for none.

        It is in the same commit as the rows, so it cannot run ahead of them or fall behind.
        """
        for told in self._told(table):
            if (version := told.get("watermark", {}).get(source.name)) is not None:
                return int(version)
        return -1

    def changes(self, table: Table, since: int) -> DataFrame | None:
        """Rows added to and removed from `table` by the commits after version `since`.

        The columns are the table's and `added`, true or false. None when Delta no longer has
        all of it (VACUUM removes changes that are older than the table's retention), or when
        `since` is of another table of that name; then the table itself must be read.
        """
        newest = self.version(table)
        if not 0 <= since <= newest or not self._kept(table, since + 1):
            return None
        self.read_versions[table.name] = newest
        if since == newest:
            return self.spark.createDataFrame([], f"{table.ddl}, added boolean")
        feed = self.spark.read.format("delta").option("readChangeFeed", True)
        feed = feed.option("startingVersion", since + 1).option("endingVersion", newest)
        added = F.col("_change_type").isin("insert", "update_postimage").alias("added")
        return feed.load(self.path(table)).select(*table.names, added)

    def _kept(self, table: Table, version: int) -> bool:
        """Whether VACUUM has not yet been allowed to remove what `version` changed."""
        log = self.log(table)
        if version > log.version():
            return True
        commit = log.commit(version)
        return commit is not None and datetime.now(UTC) - commit.at < log.files_stay() - MARGIN

    def _told(self, table: Table) -> Iterator[dict[str, Any]]:
        """The provenance of each recent commit that carries one, newest first."""
        for commit in islice(self.log(table).commits(), RECENT):
            if "userMetadata" in commit.told:
                yield json.loads(commit.told["userMetadata"])

    def create(self, table: Table) -> None:
        """Make the table as its contract declares it, unless it exists."""
        if self.exists(table):
            return
        try:
            self._builder(table).execute()
        except DeltaConcurrentModificationException:
            assert self.exists(table)  # another process made it first, from the same contract
        except AnalysisException as error:
            if error.getCondition() != "DELTA_TABLE_NOT_FOUND":
                raise
            self._create_over(table)

    def _builder(self, table: Table) -> DeltaTableBuilder:
        builder = DeltaTable.createIfNotExists(self.spark).location(self.path(table))
        columns = StructType.fromDDL(table.ddl)
        assert isinstance(columns, StructType)
        for made, declared in zip(columns.fields, table.columns, strict=True):
            made.metadata = {"comment": declared.doc}
        builder = builder.comment(table.doc).addColumns(columns)
        for key, value in properties(table).items():
            builder = builder.property(key, value)
        for name, condition in table.checks:
            builder = builder.property(f"delta.constraints.{name}", condition)
        return builder.partitionedBy(*table.partition_by) if table.partition_by else builder

    def _create_over(self, table: Table) -> None:
        """Make the table where a log without a commit lies, which Delta takes for a table.

        Either another process is about to commit it, or one was killed just before it could. Then
        the log is moved away, looked at once more, and removed.
        """
        for _ in range(BEING_MADE):
            if self.exists(table):
                return
            time.sleep(1)
        jvm: Any = self.spark._jvm
        log = jvm.org.apache.hadoop.fs.Path(f"{self.path(table)}/_delta_log")
        torn = jvm.org.apache.hadoop.fs.Path(f"{self.path(table)}/_torn_log-{uuid.uuid4().hex}")
        files = log.getFileSystem(self.spark._jsc.hadoopConfiguration())
        files.rename(log, torn)
        first = jvm.org.apache.hadoop.fs.Path(torn, "00000000000000000000.json")
        if files.exists(first):  # another process has just done the same
            files.rename(torn, log)
        else:
            files.delete(torn, True)
            self.create(table)

    def replace(self, passed: Passed, where: str, **provenance: object) -> Commit:
        """Replace the rows for which `where` holds by `passed`'s, in one commit.

        Every row of `passed` must satisfy `where`, or Delta refuses the write. The rows that
        `where` names are this writer's responsibility, so a rerun leaves the same rows.
        """
        self.create(passed.table)
        commit = self._overwrite(passed, where, provenance, {})
        passed.release()
        return commit

    def replace_alone(
        self, table: Table, attempt: Callable[[], tuple[Passed, str]], **provenance: object
    ) -> Commit:
        """`replace` by `attempt`'s frame and condition, only if nobody else did so meanwhile.

        `settle` mends after a commit; this lets none in that has not seen the one before it, for
        tables of which no reader may ever see two writers' rows mixed. The fence is Delta's own
        transaction version: each write carries the table's version from before `attempt` read,
        and Delta drops a write whose number is not above the last one, within the commit's own
        conflict check. Whoever was dropped does its work again. It fences those who write by
        this method. `attempt` must be safe to repeat.
        """

        def write(fence: dict[str, str]) -> Commit:
            passed, where = attempt()
            try:
                return self._overwrite(passed, where, provenance, fence)
            finally:
                passed.release()

        commit = self._fenced(table, write)
        assert commit  # `write` always makes one
        return commit

    def append_alone(
        self, table: Table, attempt: Callable[[], tuple[Passed, Mapping[str, object]] | None]
    ) -> Commit | None:
        """Add `attempt`'s rows, whose keys the table must not hold, with their provenance.

        Fenced as `replace_alone` is, so that of two writers who look for missing keys side by side
        the second looks again. Without rows the provenance is marked alone; None, nothing at all.
        """

        def write(fence: dict[str, str]) -> Commit | None:
            made = attempt()
            if made is None:
                return None
            passed, told = made
            try:
                if not passed.measures["rows"]:
                    return self.mark(table, **told)
                return self._write(passed, told, fence)
            finally:
                passed.release()

        return self._fenced(table, write)

    def _fenced(
        self, table: Table, write: Callable[[dict[str, str]], Commit | None]
    ) -> Commit | None:
        """`write` with a transaction version that any commit from now on will have passed, again
        until Delta has taken it."""
        self.create(table)
        for _ in range(ATTEMPTS):
            try:
                return write({"txnAppId": table.name, "txnVersion": str(self.version(table))})
            except (DeltaConcurrentModificationException, _Dropped):
                continue
        raise self._overtaken(table)

    def mark(self, table: Table, **provenance: object) -> Commit:
        """Commit `provenance` alone: how far a job got that found no row to write.

        Without it the next run would look at the same changes again, and each night at more.
        """
        token, told = self._provenance(provenance, {})
        nothing = self.spark.createDataFrame([], table.ddl).write.format("delta")
        nothing = nothing.mode("append").option("userMetadata", told)
        skips = "spark.databricks.delta.skipRecordingEmptyCommits"
        self.spark.conf.set(skips, "false")
        try:
            nothing.save(self.path(table))
        finally:
            self.spark.conf.unset(skips)
        return self._commit(table, token)

    def settle(self, table: Table, attempt: Callable[[], Commit | None]) -> Commit | None:
        """Repeat `attempt` until no other commit came between what it read and what it wrote.

        For a write whose rows depend on the table's other rows (say, which views are there
        already): of two that run side by side, the one that commits second has not seen the
        first, so it does its work again, now seeing it. `attempt` must be safe to repeat.
        """
        for _ in range(ATTEMPTS):
            read = self.version(table)
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
            f"{table.name}: other writers overtook this one {ATTEMPTS} times; "
            "run it again when fewer jobs write to it"
        )

    def _overwrite(
        self, passed: Passed, where: str, provenance: Mapping[str, object], fence: dict[str, str]
    ) -> Commit:
        return self._write(passed, provenance, {"replaceWhere": where, **fence}, "overwrite")

    def _write(
        self,
        passed: Passed,
        provenance: Mapping[str, object],
        options: Mapping[str, str],
        mode: str = "append",
    ) -> Commit:
        """Raises `_Dropped` where Delta took a fenced write for one that it has already."""
        token, told = self._provenance(provenance, passed.measures)
        writer = passed.frame.write.format("delta").mode(mode)
        writer.options(userMetadata=told, **options).save(self.path(passed.table))
        commit = self._commit(passed.table, token)
        if "txnVersion" in options and not commit.rows:
            raise _Dropped
        return commit

    def _provenance(
        self, told: Mapping[str, object], measures: Mapping[str, float]
    ) -> tuple[str, str]:
        token = uuid.uuid4().hex  # finds this commit again among those of other writers
        return token, json.dumps(
            {
                "job": self.spark.sparkContext.appName,
                "run": run_name(),
                "code": code_version(),
                "inputs": self.read_versions,
                "measures": dict(measures),
                **told,
                "commit": token,
            },
            sort_keys=True,
            default=str,
        )

    def _commit(self, table: Table, token: str) -> Commit:
        for commit in islice(self.log(table).commits(), ATTEMPTS * 2):
            if token in commit.told.get("userMetadata", ""):
                told = commit.told["operationMetrics"]
                rows = told.get("numOutputRows", 0)
                return Commit(table.name, commit.version, int(rows))
        return Commit(table.name, self.version(table), 0)
