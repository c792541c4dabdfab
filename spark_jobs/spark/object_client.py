"""The AWS SDK's client of S3, as Hadoop has made it: with its server, its keys and its retries."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pyspark.sql import SparkSession

from contracts.storage.object_store import spark_address

_SDK = "software.amazon.awssdk"


@dataclass(frozen=True)
class ObjectClient:
    """For the objects whose address (s3a://bucket/key) begins with `address`."""

    spark: SparkSession
    address: str

    @property
    def bucket(self) -> str:
        return self.address.partition("://")[2].partition("/")[0]

    @property
    def key(self) -> str:
        """What stands behind the bucket."""
        return self.address.partition("://")[2].partition("/")[2].strip("/")

    def java(self, name: str) -> Any:
        """A class by its whole name."""
        return getattr(self.spark._jvm, name)

    @cached_property
    def sdk(self) -> Any:
        """The SDK's S3Client."""
        path = self.java("org.apache.hadoop.fs.Path")(spark_address(self.address))
        settings = self.spark._jsparkSession.sessionState().newHadoopConf()
        return path.getFileSystem(settings).getS3AInternals().getAmazonS3Client("userbert")

    def request(self, kind: str, **facts: object) -> Any:
        """The SDK's request of that name, about the bucket."""
        return self._model(kind, bucket=self.bucket, **facts)

    def _model(self, kind: str, **facts: object) -> Any:
        builder = self.java(f"{_SDK}.services.s3.model.{kind}").builder()
        for name, value in facts.items():
            builder = getattr(builder, name)(value)
        return builder.build()

    def remove(self, versions: Iterable[tuple[str, str]]) -> None:
        """Remove up to a thousand versions of objects, by key and version."""
        named = self.java("java.util.ArrayList")()
        for key, version in versions:
            named.add(self._model("ObjectIdentifier", key=key, versionId=version))
        request = self.request("DeleteObjectsRequest", delete=self._model("Delete", objects=named))
        if failed := self.sdk.deleteObjects(request).errors():
            raise OSError(f"the store did not remove {len(failed)} old versions: {failed[0]}")

    def body(self, text: str) -> Any:
        """What a PUT sends."""
        return self.java(f"{_SDK}.core.sync.RequestBody").fromString(text)
