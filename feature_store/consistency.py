"""How the answers of the online store differ from the table, by the three counts of Chronon.

mismatch: a user is in both, and something differs; missing: a user of the table is not online;
extra: a user is online and not in the table.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feature_store.definitions import USER_KEY, feature_names
from feature_store.online_sqlite import UserRow

_MAX_NAMED = 3  # users that a count names
_PRESENCE = "model_id"  # every row has it


@dataclass(frozen=True)
class Consistency:
    """The users who differ, each with what differs; one user counts once in each of the three."""

    mismatch: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def is_consistent(self) -> bool:
        return not (self.mismatch or self.missing or self.extra)

    def joined(self, other: "Consistency") -> "Consistency":
        """Of what two comparisons found; who is missing or extra is no mismatch as well."""
        missing, extra = {**other.missing, **self.missing}, {**other.extra, **self.extra}
        differing = {**other.mismatch, **self.mismatch}
        in_both = differing.keys() - missing.keys() - extra.keys()
        return Consistency({user: differing[user] for user in in_both}, missing, extra)

    def __str__(self) -> str:
        counts = ("mismatch", self.mismatch), ("missing", self.missing), ("extra", self.extra)
        return ", ".join(f"{len(users):,} {name}{_named(users)}" for name, users in counts)


def _named(users: Mapping[str, str]) -> str:
    if not users:
        return ""
    some = [
        f"{user}: {what}" if what else user for user, what in sorted(users.items())[:_MAX_NAMED]
    ]
    return f" ({'; '.join(some)}{'; ...' if len(users) > _MAX_NAMED else ''})"


def compare_rows(online: Mapping[str, UserRow], table: Mapping[str, UserRow]) -> Consistency:
    """Of the day and the content of every user's vector, online and in the table."""
    both = online.keys() & table.keys()
    return Consistency(
        {
            user: _difference(online[user], table[user])
            for user in both
            if online[user] != table[user]
        },
        {user: f"as of {table[user][0]} in the table" for user in table.keys() - both},
        {user: f"as of {online[user][0]} online" for user in online.keys() - both},
    )


def _difference(online: UserRow, table: UserRow) -> str:
    if online[0] != table[0]:
        return f"as of {online[0]} online, {table[0]} in the table"
    return f"another sequence as of {table[0]}"


def compare_fetches(found: pd.DataFrame, expected: pd.DataFrame) -> Consistency:
    """Of what a reader fetched and what the table holds: the same user in the same row of both.

    A user who is not there has nulls for features.
    """
    here, there = (frame[_PRESENCE].notna().to_numpy() for frame in (found, expected))
    users = expected[USER_KEY].to_numpy(str)
    both = here & there
    wrong: dict[str, list[str]] = {}
    for name in feature_names():
        for user in users[both & _differing(found[name], expected[name])]:
            wrong.setdefault(str(user), []).append(name)
    return Consistency(
        {user: ", ".join(names) for user, names in wrong.items()},
        dict.fromkeys(map(str, users[there & ~here]), ""),
        dict.fromkeys(map(str, users[here & ~there]), ""),
    )


def _differing(ours: pd.Series, theirs: pd.Series) -> NDArray[np.bool_]:
    """(N,) whether row n differs."""
    pairs = zip(_plain_values(ours), _plain_values(theirs), strict=True)
    return np.array([not _is_same(a, b) for a, b in pairs], bool)


def _plain_values(column: pd.Series) -> Iterator[Any]:
    """Nulls as None, and times by the second: Feast keeps no more of them online."""
    if pd.api.types.is_datetime64_any_dtype(column):
        column = pd.to_datetime(column, utc=True).dt.floor("s")
    for value in column:
        is_vector = isinstance(value, (list, np.ndarray))
        yield None if not is_vector and pd.isna(value) else value


def _is_same(ours: Any, theirs: Any) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    if isinstance(theirs, (list, np.ndarray)):
        return np.array_equal(np.asarray(ours, np.float32), np.asarray(theirs, np.float32))
    return bool(ours == theirs)
