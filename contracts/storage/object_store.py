"""A lake on a store that speaks S3: the AWS_* variables of the environment, as each reader asks.

Spark, delta-rs, Arrow and DuckDB each have settings of their own; here is the one place that makes
them. A key is never a setting of Spark, which shows its settings in its pages and event logs: its
JVM takes keys from the environment by itself.
"""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from contracts.errors import BadInput
from contracts.storage.sql_literal import sql_literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pyarrow.fs import FileSystem

OBJECT_STORE_FOLDER = Path(sys.prefix) / "object-store"  # filled by _FETCH_COMMAND
OBJECT_STORE_JARS = OBJECT_STORE_FOLDER / "jars"
DUCKDB_EXTENSION = OBJECT_STORE_FOLDER / "httpfs.duckdb_extension"
_FETCH_COMMAND = "make object-store"  # python -m userbert.local.object_store

_CONNECT_S, _ANSWER_S = 5, 60  # after which a store that does not answer is an error


@dataclass(frozen=True)
class ObjectStore:
    """Where the store is, and who asks. Without keys each library looks for a role of its own."""

    endpoint: str  # with its scheme; empty for Amazon's own
    region: str
    is_path_style: bool  # the bucket stands in the path, not in the host's name
    key_id: str = field(repr=False)
    secret: str = field(repr=False)
    token: str = field(repr=False)

    @classmethod
    def from_environment(cls) -> "ObjectStore":
        names = os.environ
        endpoint = names.get("AWS_ENDPOINT_URL_S3") or names.get("AWS_ENDPOINT_URL", "")
        if endpoint and not endpoint.startswith(("http://", "https://")):
            raise BadInput(f"AWS_ENDPOINT_URL is {endpoint!r}: begin it with http:// or https://")
        is_virtual = names.get("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "").lower() == "true"
        return cls(
            endpoint.rstrip("/"),
            names.get("AWS_REGION") or names.get("AWS_DEFAULT_REGION") or "us-east-1",
            bool(endpoint) and not is_virtual,
            names.get("AWS_ACCESS_KEY_ID", ""),
            names.get("AWS_SECRET_ACCESS_KEY", ""),
            names.get("AWS_SESSION_TOKEN", ""),
        )

    @property
    def scheme(self) -> Literal["http", "https"]:
        return "http" if self.endpoint.startswith("http://") else "https"

    @property
    def host(self) -> str:
        """Of the endpoint, with its port."""
        return self.endpoint.partition("://")[2]

    def spark_settings(self) -> dict[str, str]:
        """What Hadoop's s3a:// needs, but for keys."""
        settings = {"fs.s3a.endpoint.region": self.region}
        if self.endpoint:
            settings["fs.s3a.endpoint"] = self.endpoint
            settings["fs.s3a.path.style.access"] = str(self.is_path_style).lower()
        return settings

    def delta_options(self) -> dict[str, str]:
        """What delta-rs calls storage options."""
        given = {
            "AWS_REGION": self.region,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_SESSION_TOKEN": self.token,
        }
        options = {name: value for name, value in given.items() if value}
        options["AWS_ALLOW_HTTP"] = str(self.scheme == "http").lower()
        options["AWS_VIRTUAL_HOSTED_STYLE_REQUEST"] = str(not self.is_path_style).lower()
        return {**options, "connect_timeout": f"{_CONNECT_S}s", "timeout": f"{_ANSWER_S}s"}

    def arrow_files(self) -> "FileSystem":
        from pyarrow.fs import S3FileSystem

        return S3FileSystem(
            access_key=self.key_id or None,
            secret_key=self.secret or None,
            session_token=self.token or None,
            region=self.region,
            scheme=self.scheme,
            endpoint_override=self.host or None,
            force_virtual_addressing=not self.is_path_style,
            connect_timeout=_CONNECT_S,
            request_timeout=_ANSWER_S,
        )

    def duckdb_secret(self) -> str:
        """The statement that tells DuckDB, which has no way to a role of the machine."""
        if not self.key_id:
            raise BadInput(
                "AWS_ACCESS_KEY_ID is not set, and DuckDB finds no other keys: `aws configure "
                "export-credentials --format env` prints those of a profile or a role"
            )
        facts = {
            "KEY_ID": self.key_id,
            "SECRET": self.secret,
            "SESSION_TOKEN": self.token,
            "REGION": self.region,
            "ENDPOINT": self.host,
            "URL_STYLE": "path" if self.is_path_style else "vhost",
            "USE_SSL": str(self.scheme == "https").lower(),
        }
        said = ", ".join(f"{name} {sql_literal(value)}" for name, value in facts.items() if value)
        return f"CREATE OR REPLACE SECRET lake_store (TYPE s3, {said})"


def reader_address(path: str) -> str:
    """All readers but Spark name an object store by s3://."""
    return path.replace("s3a://", "s3://", 1)


def spark_address(path: str) -> str:
    """Spark names it by s3a://, Hadoop's newest client of S3."""
    return path.replace("s3://", "s3a://", 1)


def is_on_s3(path: str) -> bool:
    return path.startswith(("s3a://", "s3://"))


def delta_options(path: str) -> dict[str, str] | None:
    """What delta-rs needs to open the table at `path`; None for one on a disk."""
    return ObjectStore.from_environment().delta_options() if is_on_s3(path) else None


def arrow_folder(path: str) -> "FileSystem":
    """The folder at `path`, on the disk or on S3, as Arrow's own file system."""
    from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

    if not is_on_s3(path):
        return SubTreeFileSystem(path, LocalFileSystem())
    files = ObjectStore.from_environment().arrow_files()
    return SubTreeFileSystem(path.partition("://")[2], files)


def _must_be_fetched(needed: Path, path: str) -> None:
    if not needed.exists():
        raise BadInput(
            f"{path} is on an object store, and what reads it is not there ({needed}): "
            f"`{_FETCH_COMMAND}` fetches it"
        )


def spark_settings(path: str, *, has_own_jars: bool) -> dict[str, str]:
    """What a session of Spark is made with, so that it finds `path`; nothing for one on a disk.

    An installation with settings of its own brings its own jars.
    """
    if not is_on_s3(path):
        return {}
    if not has_own_jars:
        _must_be_fetched(OBJECT_STORE_JARS, path)
    return ObjectStore.from_environment().spark_settings()


def let_duckdb_read(connection: "DuckDBPyConnection", path: str) -> None:
    """Let `connection` read below `path`, where that is on S3."""
    if not is_on_s3(path):
        return
    _must_be_fetched(DUCKDB_EXTENSION, path)
    connection.execute(f"INSTALL {sql_literal(str(DUCKDB_EXTENSION))}; LOAD httpfs")
    # Loaded, it has copied the keys out of the environment into settings that any query can read;
    # a secret's value nobody can.
    for name in ("s3_access_key_id", "s3_secret_access_key", "s3_session_token"):
        connection.execute(f"SET GLOBAL {name} = ''")
    connection.execute(ObjectStore.from_environment().duckdb_secret())
