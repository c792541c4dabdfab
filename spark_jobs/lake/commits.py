"""The lake's commits: what one wrote, and the provenance that each carries in `userMetadata`."""

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from pyspark.sql import SparkSession

from contracts.provenance import code_version, run_name
from spark_jobs.spark.delta_log import DeltaLog
from spark_jobs.spark.step import running_step

_MAX_SEARCHED = 100  # newest commits that are searched for provenance; a job's own is in each
_MAX_OTHERS = 20  # commits of other writers that may come between a write and the search for it


@dataclass(frozen=True)
class Commit:
    """One write: the rows that Delta wrote, and the table's Delta version that holds them.

    A write that changes nothing makes no commit: 0 rows, and the version that was there.
    """

    table: str
    version: int
    rows: int
    bytes: int = 0  # of the files that it added

    def __str__(self) -> str:
        return f"{self.table} version {self.version}: {self.rows:,} rows written"


@dataclass(frozen=True)
class CommitProvenance:
    """What a commit says about itself, and a token that finds it again among other writers'."""

    facts: dict[str, Any]
    token: str = field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def of_job(
        cls,
        spark: SparkSession,
        inputs: Mapping[str, int],
        measures: Mapping[str, float],
        more: Mapping[str, object],
    ) -> "CommitProvenance":
        """Of the job that runs now: `inputs` are Delta versions, by table."""
        return cls(
            {
                "job": running_step(spark),
                "run": run_name(),
                "code": code_version(),
                "inputs": dict(inputs),
                "measures": dict(measures),
                **more,
            }
        )

    @property
    def json(self) -> str:
        return json.dumps({**self.facts, "commit": self.token}, sort_keys=True, default=str)

    def commit(self, table: str, log: DeltaLog) -> Commit:
        """The commit that carries this, or the newest version where there is none."""
        for commit in islice(log.commits(), _MAX_OTHERS):
            if self.token in commit.facts.get("userMetadata", ""):
                metrics = commit.facts["operationMetrics"]
                counts = [int(metrics.get(name, 0)) for name in ("numOutputRows", "numOutputBytes")]
                return Commit(table, commit.version, *counts)
        return Commit(table, log.version(), 0)


def recent_provenance(log: DeltaLog) -> Iterator[dict[str, Any]]:
    """The provenance of each recent commit that carries one, newest first."""
    for commit in islice(log.commits(), _MAX_SEARCHED):
        if "userMetadata" in commit.facts:
            yield json.loads(commit.facts["userMetadata"])
