"""A table's Delta log, read directly: its newest version, and what each commit told.

Delta's own `history()` starts a Spark job for each look, a third of a second when all is warm and
1.5 s in a young process; a job of the nightly run looks five to ten times. Here a look is a listing
of the log's folder and one small file a commit, by Delta's own classes, on whatever file system.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from pyspark.sql import DataFrame, SparkSession

DELTA_LOG = "org.apache.spark.sql.delta.DeltaLog"


@dataclass(frozen=True)
class CommitInfo:
    """What the commit `version` told of itself."""

    version: int
    told: dict[str, Any]  # Delta's commitInfo: timestamp (ms), userMetadata, operationMetrics, ...

    @property
    def at(self) -> datetime:
        return datetime.fromtimestamp(self.told["timestamp"] / 1000, UTC)


@dataclass(frozen=True)
class DeltaLog:
    """The log of the table at `path`, which need not exist."""

    spark: SparkSession
    path: str

    @cached_property
    def _log(self) -> Any:
        return self._java(DELTA_LOG).forTable(self.spark._jsparkSession, self.path)

    def _java(self, name: str) -> Any:
        """A class by its whole name. Asked part by part (`jvm.org.apache...`), the JVM looks for
        a class `org` in its 300 jars, and in every package that pyspark imports: 1.5 ms."""
        return getattr(self.spark._jvm, name)

    def _newest(self) -> Any:
        nothing = self._java("scala.Option").empty()
        return self._log.update(False, nothing, nothing)

    def version(self) -> int:
        """The newest version, looked up now; -1 where there is no table."""
        return int(self._newest().version())

    def files(self) -> DataFrame:
        """The data files of the newest version: path, partitionValues, size in bytes, ..."""
        return DataFrame(self._newest().allFiles().toDF(), self.spark)

    def files_stay(self) -> timedelta:
        """How long VACUUM lets replaced files be."""
        stay = self._java(DELTA_LOG).tombstoneRetentionMillis(self._newest().metadata())
        return timedelta(milliseconds=stay)

    def commit(self, version: int) -> CommitInfo | None:
        """None where the log no longer has it (`delta.logRetentionDuration`)."""
        path = self._java("org.apache.hadoop.fs.Path")
        file = path(self._log.logPath(), f"{version:020d}.json")
        settings = self._log.newDeltaHadoopConf()
        if not file.getFileSystem(settings).exists(file):
            return None
        lines = self._log.store().read(file, settings).mkString("\n")
        actions = (json.loads(line) for line in lines.split("\n") if line)
        told: dict[str, Any] = next(
            (action["commitInfo"] for action in actions if "commitInfo" in action), {}
        )
        return CommitInfo(version, told)

    def commits(self) -> Iterator[CommitInfo]:
        """Those that the log still has, newest first."""
        for version in range(self.version(), -1, -1):
            if (commit := self.commit(version)) is None:
                return
            yield commit
