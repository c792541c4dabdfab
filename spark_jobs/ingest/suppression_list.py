"""The suppression list: who asked to be forgotten, so that a later ingest keeps nothing of theirs.

forgotten/users.jsonl holds a line a user: a keyed hash, the day, and the models that had learned
from the user. forgotten/key is the hash's key, readable by its owner alone. Without the key nobody
can find out whether a user is on the list; with it one can ask for one user, and cannot list them.
"""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from contracts.paths import Places
from contracts.settings.key_ring import KeyRing
from contracts.settings.pseudonyms import read_key_ring
from contracts.user_lists import trim_user_id
from spark_jobs.ingest.parsing.parsed_lines import LineBatch

# Why an ingest refuses a line of such a user; nothing else of it is kept.
FORGOTTEN_USER = "forgotten user"
# What may be a user in a line that cannot be parsed. Two ways to cut, as an id may hold "-" or ".".
_WORD_PATTERNS = (re.compile(r"[^\s\"',;|{}\[\]]+"), re.compile(r"\w+"))


@dataclass(frozen=True)
class SuppressionList:
    """The list, as an ingest asks it. Goes to Spark's workers inside a closure, never in a plan."""

    key: bytes = field(repr=False)
    hashes: frozenset[str] = field(repr=False)
    ring: KeyRing | None = None  # where tables hold pseudonyms

    def __contains__(self, user: object) -> bool:
        """Whether a raw id or a pseudonym is on the list.

        The list keeps the pseudonyms of the day on which somebody asked. A rotation changes the
        tables' and not the list's: a raw id passes through the older ones on its way.
        """
        return isinstance(user, str) and any(
            _keyed_hash(form, self.key) in self.hashes for form in self._forms(trim_user_id(user))
        )

    def _forms(self, user: str) -> Iterator[str]:
        yield user
        if self.ring:
            yield from self.ring.stages(user)

    def names(self, line: str) -> bool:
        """Whether any word of a line that has no columns is a user on the list."""
        return any(word in self for cut in _WORD_PATTERNS for word in set(cut.findall(line)))

    def has_lines(self, lines: LineBatch) -> NDArray[np.bool_]:
        """(L,) whether a line is of a user on the list.

        A line that cannot be parsed is of each user that one of its words names.
        """
        users = lines.columns["user_id"]
        listed = [user for user in users.unique().to_pylist() if user in self]
        is_in = pc.is_in(users, value_set=pa.array(listed, pa.string()))
        found = np.array(is_in.to_numpy(zero_copy_only=False), bool)
        if lines.errors is not None:
            is_broken = lines.errors.is_valid().to_numpy(zero_copy_only=False)
            found[is_broken] = [self.names(raw) for raw in lines.raw_of_errors]
        return found


@dataclass(frozen=True)
class ForgottenUser:
    """A line of the list. A user who was forgotten twice has two."""

    user_hash: str
    asked: date  # the UTC day
    models: tuple[str, ...]  # that had learned from the user by then


def forgotten_users(places: Places) -> Iterator[ForgottenUser]:
    """All lines, the oldest first. No key is needed, and none of them names a user."""
    yield from _read_lines(_list_folder(places) / "users.jsonl")


@lru_cache(maxsize=100_000)
def _keyed_hash(user: str, key: bytes) -> str:
    return hashlib.blake2b(user.encode(), key=key, digest_size=16).hexdigest()


def _list_folder(places: Places) -> Path:
    return places.root / "forgotten"


def read_suppression_list(places: Places) -> SuppressionList | None:
    """The list; None where nobody is on it, so that an ingest has nothing to ask."""
    folder = _list_folder(places)
    models = _models_by_hash(folder / "users.jsonl")
    if not models:
        return None
    return SuppressionList(_read_key(folder), frozenset(models), read_key_ring(places))


def models_of(places: Places, users: Iterable[str]) -> set[str]:
    """The models that were noted of any of `users`."""
    folder = _list_folder(places)
    if not (folder / "key").exists():
        return set()
    key, noted = _read_key(folder), _models_by_hash(folder / "users.jsonl")
    return {model for user in users for model in noted.get(_keyed_hash(user, key), ())}


def add_users(places: Places, users: Iterable[str], models: Iterable[str]) -> None:
    """Put `users` on the list, each with `models`; those that are on it keep what was noted."""
    folder = _list_folder(places)
    folder.mkdir(parents=True, exist_ok=True)
    key, today = _read_key(folder), datetime.now(UTC).date()
    lines = [
        {"user": _keyed_hash(user, key), "asked": str(today), "models": sorted(models)}
        for user in users
    ]
    with (folder / "users.jsonl").open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())


def _models_by_hash(path: Path) -> dict[str, set[str]]:
    noted: dict[str, set[str]] = {}
    for entry in _read_lines(path):
        noted.setdefault(entry.user_hash, set()).update(entry.models)
    return noted


def _read_lines(path: Path) -> Iterator[ForgottenUser]:
    """A line that a kill has torn was never acted on."""
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.endswith("}"):
            entry = json.loads(line)
            asked = date.fromisoformat(entry["asked"])
            yield ForgottenUser(entry["user"], asked, tuple(entry["models"]))


def _read_key(folder: Path) -> bytes:
    """The key, made when first needed: whole or not at all."""
    path = folder / "key"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / f".key.{os.getpid()}"
        file = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "w") as out:
            out.write(secrets.token_hex(32))
        try:
            os.link(unfinished, path)
        except FileExistsError:
            pass  # another process made it first
        finally:
            unfinished.unlink()
    return bytes.fromhex(path.read_text())
