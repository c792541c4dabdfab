"""The online rows as Redis holds them: a hash a user, with the fields of every view."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from itertools import islice
from typing import Any

from feast.infra.online_stores.helpers import _mmh3, _redis_key, _redis_key_prefix
from feast.infra.online_stores.redis import RedisOnlineStore
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RepoConfig
from google.protobuf.timestamp_pb2 import Timestamp  # type: ignore[import-untyped]

from feature_store.definitions import USER_KEY
from feature_store.online_sqlite import (
    CONTENT_FEATURE,
    COUNTED_FEATURE,
    MODEL_FEATURE,
    OnlineRows,
    UserRow,
    entity_key,
    user_of_key,
    whole_number,
)

_USERS_PER_TRIP = 1_000  # users a round trip

_IsGone = Callable[
    [bytes, list[bytes | None]], bool
]  # of a user's key, and its (time, model) fields


@dataclass(frozen=True)
class RedisRows(OnlineRows):
    """Feast's hashes in one Redis, Sentinel or Cluster, as feature_store.yaml names it."""

    config: RepoConfig

    @cached_property
    def client(self) -> Any:
        """Feast's own client, of the same connection string."""
        return RedisOnlineStore()._get_client(self.config.online_store)

    def user_rows(self, view: str) -> dict[str, UserRow]:
        version, end = self.config.entity_key_serialization_version, len(self.config.project)
        return {
            user_of_key(key[:-end], version): (_day(time), whole_number(content))
            for key, (time, _, counted, content) in self._rows(view)
            if time and counted and content
        }

    def keep_only(self, view: str, users: Iterable[str]) -> int:
        kept = {self.key(user) for user in users}
        return self._delete(view, lambda key, fields: key not in kept)

    def drop_other_models(self, view: str, model_id: str) -> int:
        ours = Value(string_val=model_id).SerializeToString()
        return self._delete(view, lambda key, fields: fields[1] != ours)

    def forget(self, view: str, users: Iterable[str]) -> int:
        """All that is under the users' keys goes, of other views too."""
        return sum(self.client.delete(self.key(user)) for user in users)

    def rewrite(self) -> None:
        """What Redis keeps on its disk is written anew from memory, where it keeps anything."""
        if self.client.config_get("save").get("save"):
            self.client.save()
        if self.client.config_get("appendonly").get("appendonly") == "yes":
            self.client.bgrewriteaof()

    def key(self, user: str) -> bytes:
        """As Feast writes it."""
        version = self.config.entity_key_serialization_version
        return bytes(_redis_key(self.config.project, entity_key(user), version))

    def _rows(self, view: str) -> Iterator[tuple[bytes, list[bytes | None]]]:
        """(key, [time, model, counted feature, content]) of each user who is in `view`."""
        pattern = _redis_key_prefix([USER_KEY]) + b"*" + self.config.project.encode()
        keys = self.client.scan_iter(pattern, count=_USERS_PER_TRIP)
        names = (MODEL_FEATURE, COUNTED_FEATURE, CONTENT_FEATURE)
        fields = [f"_ts:{view}".encode(), *(_mmh3(f"{view}:{name}") for name in names)]
        while some := list(islice(keys, _USERS_PER_TRIP)):
            with self.client.pipeline(transaction=False) as pipe:
                for key in some:
                    pipe.hmget(key, fields)
                found = pipe.execute()
            yield from ((key, each) for key, each in zip(some, found, strict=True) if each[0])

    def _delete(self, view: str, gone: _IsGone) -> int:
        """The view's fields of the users for whom `gone` holds; an empty hash ends by itself."""
        keys = {key for key, fields in self._rows(view) if gone(key, fields)}
        names = [f"_ts:{view}".encode(), *(_mmh3(f"{view}:{name}") for name in self.features)]
        with self.client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hdel(key, *names)
            pipe.execute()
        return len(keys)


def _day(time: bytes) -> date:
    read = Timestamp()
    read.ParseFromString(time)
    return datetime.fromtimestamp(read.seconds, UTC).date()
