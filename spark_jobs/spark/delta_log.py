"""A table's Delta log by Delta's own classes: versions, commits, files, and changes of layout.

Delta's own `history()` starts a Spark job for each look, a third of a second when all is warm and
1.5 s in a young process; a job of the nightly run looks five to ten times. Here a look is a listing
of the log's folder and one small file a commit, on whatever file system.
"""

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

_CHECKPOINT_RAISES = "spark.databricks.delta.checkpoint.exceptionThrowing.enabled"
_DELTA_PACKAGE = "org.apache.spark.sql.delta"


@dataclass(frozen=True)
class CommitInfo:
    """What the commit `version` records about itself."""

    version: int
    facts: dict[str, Any]  # Delta's commitInfo: timestamp (ms), userMetadata, operationMetrics, ...
    rewrote_table: bool = False  # both the columns and the files became others

    @property
    def at(self) -> datetime:
        return datetime.fromtimestamp(self.facts["timestamp"] / 1000, UTC)


@dataclass(frozen=True)
class Metadata:
    """The columns and properties that a version of a table has."""

    columns: StructType
    partition_by: tuple[str, ...]
    properties: dict[str, str]


@dataclass(frozen=True)
class DeltaLog:
    """The log of the table at `path`, which need not exist."""

    spark: SparkSession
    path: str

    @cached_property
    def _log(self) -> Any:
        return self._java(f"{_DELTA_PACKAGE}.DeltaLog").forTable(
            self.spark._jsparkSession, self.path
        )

    def _java(self, name: str) -> Any:
        """A class by its whole name. Asked part by part (`jvm.org.apache...`), the JVM looks for
        a class `org` in its 300 jars, and in every package that pyspark imports: 1.5 ms."""
        return getattr(self.spark._jvm, name)

    def _none(self) -> Any:
        return self._java("scala.Option").empty()

    def _newest(self) -> Any:
        return self._log.update(False, self._none(), self._none())

    def version(self) -> int:
        """The newest version, looked up now; -1 where there is no table."""
        return int(self._newest().version())

    def metadata(self) -> Metadata:
        """Of the newest version."""
        facts = json.loads(self._newest().metadata().json())["metaData"]
        columns = StructType.fromJson(json.loads(facts["schemaString"]))
        return Metadata(columns, tuple(facts["partitionColumns"]), facts["configuration"])

    def files(self) -> DataFrame:
        """The data files of the newest version: path, partitionValues, size in bytes, ..."""
        return DataFrame(self._newest().allFiles().toDF(), self.spark)

    def size_bytes(self) -> int:
        """Of the newest version's files together."""
        return int(self._newest().sizeInBytes())

    def deleted_file_retention(self) -> timedelta:
        """How long VACUUM leaves replaced files where they are."""
        retention = self._java(f"{_DELTA_PACKAGE}.DeltaLog").tombstoneRetentionMillis(
            self._newest().metadata()
        )
        return timedelta(milliseconds=retention)

    def commit(self, version: int) -> CommitInfo | None:
        """None where the log no longer has it (`delta.logRetentionDuration`)."""
        file = self._java("org.apache.hadoop.fs.Path")(self._log.logPath(), f"{version:020d}.json")
        settings = self._log.newDeltaHadoopConf()
        if not file.getFileSystem(settings).exists(file):
            return None
        lines = self._log.store().read(file, settings).mkString("\n")
        return _commit_info(version, [json.loads(line) for line in lines.split("\n") if line])

    def commits(self) -> Iterator[CommitInfo]:
        """Those that the log still has, newest first."""
        for version in range(self.version(), -1, -1):
            if (commit := self.commit(version)) is None:
                return
            yield commit

    def change_layout(
        self,
        columns: StructType,
        properties: Mapping[str, str],
        rewritten: Callable[[DataFrame], DataFrame] | None = None,
    ) -> int:
        """Give the table other columns and properties, in one commit; returns its version.

        With `rewritten`, the same commit replaces all rows by what it makes of them. Delta holds
        the new rows to the new columns and CHECKs, and refuses the commit, as a
        `DeltaConcurrentModificationException`, where another one came before it.
        """
        newest = self._newest()
        transaction = self._log.startTransaction(
            self._none(), self._java("scala.Option").apply(newest)
        )
        transaction.readWholeTable()
        transaction.updateMetadata(self._changed(newest.metadata(), columns, properties), False)
        actions = self._java("java.util.ArrayList")()
        if rewritten:
            now = int(time.time() * 1000)
            for file in _items(transaction.filterFiles()):
                actions.add(file.removeWithTimestamp(now, True))
            rows = self.spark.read.format("delta").option("versionAsOf", newest.version())
            made = transaction.writeFiles(rewritten(rows.load(self.path))._jdf)
            for file in _items(made):
                actions.add(file)
        # Delta has a fixed list of operations; this is its name for those that are none of them.
        operation = getattr(
            self._java(f"{_DELTA_PACKAGE}.DeltaOperations$ManualUpdate$"), "MODULE$"
        )
        converters = self._java("scala.jdk.javaapi.CollectionConverters")
        return int(transaction.commit(converters.asScala(actions).toSeq(), operation))

    def _changed(self, old: Any, columns: StructType, properties: Mapping[str, str]) -> Any:
        """Delta's metadata with other columns and properties."""
        configuration = self._java("scala.collection.immutable.Map$")
        configuration = getattr(configuration, "MODULE$").empty()
        for key, value in properties.items():
            configuration = configuration.updated(key, value)
        return old.copy(
            old.id(),
            old.name(),
            old.description(),
            old.format(),
            columns.json(),
            old.partitionColumns(),
            configuration,
            old.createdTime(),
        )

    def remove_unfinished(self) -> bool:
        """Remove the log of a table whose first commit was begun and never made.

        The log is moved away, looked at once more, and removed. False where a first commit was in
        it after all: then the log is back in its place, for another process has just made it.
        """
        path = self._java("org.apache.hadoop.fs.Path")
        log = path(f"{self.path}/_delta_log")
        unfinished = path(f"{self.path}/_torn_log-{uuid.uuid4().hex}")
        files = log.getFileSystem(self._log.newDeltaHadoopConf())
        files.rename(log, unfinished)
        if files.exists(path(unfinished, f"{0:020d}.json")):
            files.rename(unfinished, log)
            return False
        files.delete(unfinished, True)
        return True

    def remove_unused_files(self) -> None:
        """Remove each data file that is not of the newest version, the change feed's too.

        VACUUM does the same, in some 30 stages of Spark. No job may write meanwhile. A data file
        is known by its name alone, which is unique in its table.
        """
        kept = {row["path"].rpartition("/")[2] for row in self.files().select("path").collect()}
        folder = self._log.dataPath()
        files = folder.getFileSystem(self._log.newDeltaHadoopConf())
        listed = files.listFiles(folder, True)
        while listed.hasNext():
            path = listed.next().getPath()
            if path.getName() not in kept and "/_delta_log/" not in path.toString():
                files.delete(path, False)

    def remove_history(self) -> None:
        """Put a checkpoint of the newest version in the place of all log before it."""
        newest = self._newest()
        self._write_checkpoint(newest)
        folder = self._log.logPath()
        files = folder.getFileSystem(self._log.newDeltaHadoopConf())
        paths = [status.getPath() for status in files.listStatus(folder)]
        if not any(_is_checkpoint_of(path.getName(), newest.version()) for path in paths):
            raise OSError(f"Delta wrote no checkpoint of version {newest.version()} in {folder}")
        for path in paths:
            version = path.getName().split(".")[0]
            if version.isdigit() and int(version) < newest.version():
                files.delete(path, False)

    def _write_checkpoint(self, snapshot: Any) -> None:
        """Write the checkpoint, or raise what stopped it, say a full disk.

        Delta itself warns of it and goes on; a table without checkpoint whose older log is then
        removed is lost.
        """
        self.spark.conf.set(_CHECKPOINT_RAISES, "true")
        try:
            self._log.checkpoint(snapshot, self._none())
        finally:
            self.spark.conf.unset(_CHECKPOINT_RAISES)


def _is_checkpoint_of(name: str, version: int) -> bool:
    return name.startswith(f"{version:020d}.checkpoint") and name.endswith(".parquet")


def _commit_info(version: int, actions: list[dict[str, Any]]) -> CommitInfo:
    facts: dict[str, Any] = next(
        (action["commitInfo"] for action in actions if "commitInfo" in action), {}
    )
    kinds = {kind for action in actions for kind in action}
    return CommitInfo(version, facts, {"metaData", "add"} <= kinds)


def _items(sequence: Any) -> Iterator[Any]:
    """Those of a Scala Seq."""
    return (sequence.apply(i) for i in range(sequence.size()))
