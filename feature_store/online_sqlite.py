"""The online rows behind Feast, which has no count, no freshness and no delete of a row."""

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from feast.infra.key_encoding_utils import deserialize_entity_key, serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from feature_store.definitions import USER_KEY, feature_names

MODEL_FEATURE = "model_id"
# Each user has one value a feature. The one that the table gained last counts the users who have
# them all: others are materialized again.
COUNTED_FEATURE = "space_id"
# Of one model and one day, equal hashes mean equal vectors.
CONTENT_FEATURE = "sequence_hash"
UserRow = tuple[date, int]  # the day of a user's vector, and its sequence_hash


def entity_key(user: str) -> EntityKey:
    return EntityKey(join_keys=[USER_KEY], entity_values=[Value(string_val=user)])


def user_of_key(key: bytes, version: int) -> str:
    """The user whose `entity_key` was serialized so."""
    read = deserialize_entity_key(key, entity_key_serialization_version=version)
    return str(read.entity_values[0].string_val)


def whole_number(value: bytes) -> int:
    """As Feast keeps it."""
    return int(Value.FromString(value).int64_val)


class OnlineRows(ABC):
    """The questions about the rows of a view, and their deletions, in every online store."""

    features = feature_names()

    @abstractmethod
    def user_rows(self, view: str) -> dict[str, UserRow]:
        """Of each user who has every feature: by it the row is known, without its vector."""

    @abstractmethod
    def keep_only(self, view: str, users: Iterable[str]) -> int:
        """Delete the rows of all users but these; how many went."""

    @abstractmethod
    def drop_other_models(self, view: str, model_id: str) -> int:
        """Delete the users whose row is of another model than the view's; how many went."""

    @abstractmethod
    def forget(self, view: str, users: Iterable[str]) -> int:
        """Delete the rows of these users; how many went."""

    @abstractmethod
    def rewrite(self) -> None:
        """Leave no byte on disk of what was deleted."""

    def count(self, view: str) -> int:
        return len(self.user_rows(view))


@dataclass(frozen=True)
class SqliteRows(OnlineRows):
    """Feast's SQLite file: a table a view, (entity_key, feature_name) its key."""

    path: Path
    project: str
    version: int  # of the entity keys' serialization

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.path, timeout=60)
        try:
            with connection:
                yield connection
        finally:
            connection.close()

    @contextmanager
    def _erasing(self) -> Iterator[sqlite3.Connection]:
        """What is deleted is overwritten with zeros."""
        with self._connected() as sql:
            sql.execute("PRAGMA secure_delete = ON")
            yield sql

    def user_rows(self, view: str) -> dict[str, UserRow]:
        """Feast writes a UTC time as if it were of this machine's zone: it is read as one too."""
        table = self._table(view)
        with self._connected() as sql:
            rows = sql.execute(
                "SELECT counted.entity_key, date(counted.event_ts, 'unixepoch', 'localtime'), "
                f"content.value FROM {table} counted JOIN {table} content USING (entity_key) "
                "WHERE counted.feature_name = ? AND content.feature_name = ?",
                (COUNTED_FEATURE, CONTENT_FEATURE),
            )
            return {
                user_of_key(key, self.version): (date.fromisoformat(day), whole_number(content))
                for key, day, content in rows
            }

    def keep_only(self, view: str, users: Iterable[str]) -> int:
        with self._erasing() as sql:
            sql.execute("CREATE TEMP TABLE kept (entity_key BLOB PRIMARY KEY)")
            sql.executemany("INSERT INTO kept VALUES (?)", ((self.key(user),) for user in users))
            return sql.execute(
                f"DELETE FROM {self._table(view)} "
                "WHERE entity_key NOT IN (SELECT entity_key FROM kept)"
            ).rowcount

    def drop_other_models(self, view: str, model_id: str) -> int:
        table, ours = self._table(view), Value(string_val=model_id).SerializeToString()
        with self._erasing() as sql:
            return sql.execute(
                f"DELETE FROM {table} WHERE entity_key IN "
                f"(SELECT entity_key FROM {table} WHERE feature_name = ? AND value <> ?)",
                (MODEL_FEATURE, ours),
            ).rowcount

    def forget(self, view: str, users: Iterable[str]) -> int:
        if not self.path.exists():
            return 0
        with self._erasing() as sql:
            keys = ((self.key(user),) for user in users)
            return sql.executemany(
                f"DELETE FROM {self._table(view)} WHERE entity_key = ?", keys
            ).rowcount

    def rewrite(self) -> None:
        if self.path.exists():
            with closing(sqlite3.connect(self.path, timeout=60)) as sql:
                sql.execute("VACUUM")

    def key(self, user: str) -> bytes:
        """As Feast writes it."""
        key = entity_key(user)
        return bytes(serialize_entity_key(key, entity_key_serialization_version=self.version))

    def _table(self, view: str) -> str:
        return f'"{self.project}_{view}"'
