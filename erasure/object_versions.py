"""Replaced and removed objects that a bucket with versions still has, by Hadoop's client of S3."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from spark_jobs.spark.object_client import ObjectClient

_MAX_REMOVED = 1000  # by one request


@dataclass(frozen=True)
class OldVersion:
    """One that is not the newest of its object, or the mark that an object was removed."""

    key: str
    version_id: str
    has_content: bool


@dataclass(frozen=True)
class ObjectVersions:
    """Those of the objects below `address` (s3a://bucket/lake)."""

    spark: SparkSession
    address: str

    @cached_property
    def _store(self) -> ObjectClient:
        return ObjectClient(self.spark, self.address)

    def old_versions(self) -> Iterator[OldVersion]:
        """None in a bucket that keeps no versions."""
        prefix = f"{self._store.key}/" if self._store.key else ""
        request = self._store.request("ListObjectVersionsRequest", prefix=prefix)
        pages = self._store.sdk.listObjectVersionsPaginator(request).iterator()
        while pages.hasNext():
            page = pages.next()
            for each in page.versions():
                if not each.isLatest():
                    yield OldVersion(each.key(), each.versionId(), has_content=True)
            for each in page.deleteMarkers():
                yield OldVersion(each.key(), each.versionId(), has_content=False)

    def remove(self) -> int:
        """Remove all old versions, and then the marks of removed objects; how many there were."""
        old = sorted(self.old_versions(), key=lambda version: not version.has_content)
        for first in range(0, len(old), _MAX_REMOVED):
            self._store.remove((v.key, v.version_id) for v in old[first : first + _MAX_REMOVED])
        return len(old)

    def copy(self, version: OldVersion, target: Path) -> None:
        """Write the content of the version to `target`, which does not exist."""
        file = self._store.java("java.io.File")(str(target)).toPath()
        self._store.sdk.getObject(self._about("GetObjectRequest", version), file)

    def _about(self, kind: str, version: OldVersion) -> Any:
        return self._store.request(kind, key=version.key, versionId=version.version_id)
