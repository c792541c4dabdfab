"""Who asked to be forgotten, so that a later ingest keeps nothing of theirs.

forgotten/users.jsonl holds a line a user: a keyed hash, the day, and the models that had learned
from the user. forgotten/key is the hash's key, readable by its owner alone. Without the key nobody
can tell whether a user is on the list; with it one can ask for one user, and cannot list them.
"""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from contracts.paths import Places

REASON = "forgotten user"  # why an ingest refuses such a line; nothing else of it is kept
# What may be a user in a line that cannot be parsed. Two ways to cut, as an id may hold "-" or ".".
TOKENS = (re.compile(r"[^\s\"',;|{}\[\]]+"), re.compile(r"\w+"))


@dataclass(frozen=True)
class Forgotten:
    """The list, as an ingest asks it. Goes to Spark's workers inside a closure, never in a plan."""

    key: bytes = field(repr=False)
    hashes: frozenset[str] = field(repr=False)

    def __contains__(self, user: object) -> bool:
        return isinstance(user, str) and keyed(user.strip(), self.key) in self.hashes

    def names(self, line: str) -> bool:
        """Whether any word of a line that has no columns is a user on the list."""
        return any(word in self for cut in TOKENS for word in set(cut.findall(line)))


@lru_cache(maxsize=100_000)
def keyed(user: str, key: bytes) -> str:
    return hashlib.blake2b(user.encode(), key=key, digest_size=16).hexdigest()


def folder(places: Places) -> Path:
    return places.root / "forgotten"


def read(places: Places) -> Forgotten | None:
    """The list; None where nobody is on it, so that an ingest has nothing to ask."""
    models = _models(folder(places) / "users.jsonl")
    return Forgotten(_key(folder(places)), frozenset(models)) if models else None


def models_of(places: Places, users: Iterable[str]) -> set[str]:
    """The models that were noted of any of `users`."""
    if not (folder(places) / "key").exists():
        return set()
    key, noted = _key(folder(places)), _models(folder(places) / "users.jsonl")
    return {model for user in users for model in noted.get(keyed(user, key), ())}


def add(places: Places, users: Iterable[str], models: Iterable[str]) -> None:
    """Put `users` on the list, each with `models`; those that are on it keep what was noted."""
    where = folder(places)
    where.mkdir(parents=True, exist_ok=True)
    key, today = _key(where), datetime.now(UTC).date()
    told = [
        {"user": keyed(user, key), "asked": str(today), "models": sorted(models)} for user in users
    ]
    with (where / "users.jsonl").open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in told)
        file.flush()
        os.fsync(file.fileno())


def _models(path: Path) -> dict[str, set[str]]:
    """By hash. A line that a kill has torn was never acted on."""
    noted: dict[str, set[str]] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.endswith("}"):
            told = json.loads(line)
            noted.setdefault(told["user"], set()).update(told["models"])
    return noted


def _key(where: Path) -> bytes:
    """The key, made when first needed: whole or not at all."""
    path = where / "key"
    if not path.exists():
        where.mkdir(parents=True, exist_ok=True)
        unfinished = where / f".key.{os.getpid()}"
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
