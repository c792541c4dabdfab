"""The steps of a rotation of pseudonyms. A kill at any moment is mended by the same command.

A note says from which keys to which a rotation is under way; while it lies there no job of Spark
starts, so that no table takes rows of both. Each table records its own keys in the commit that
changes them, and files with older pseudonyms are removed after it. The suppression list stays as
it is: a raw id passes through the older pseudonyms on its way to the newest.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from contracts.errors import BadInput
from contracts.paths import Places
from contracts.settings.key_ring import PSEUDONYM_LENGTH, KeyRing
from contracts.settings.pseudonyms import rotation_note
from contracts.storage.atomic_write import read_json, write_json
from contracts.tables import (
    BROWSING_LOGS,
    PUBLISHED_EMBEDDINGS,
    PUBLISHED_HISTORY,
    REJECTED_LOGS,
    SESSIONS,
    TITLES,
)
from erasure.delta_tables import drop_older_versions
from erasure.forgetting import Forgetting
from erasure.known_users import USER_TABLES
from erasure.pseudonyms.rotated_tables import Rotation, held_columns, rotate_table
from erasure.redaction import redact_logs
from erasure.user_patterns import Users
from spark_jobs.lake.lake import Lake
from spark_jobs.lake.pseudonym_record import recorded_keys
from spark_jobs.registry.online_store import refresh_online_store

# browsing_logs is the last: what it records says how far the lake as a whole is.
_ROTATED_TABLES = (
    *(table for table in USER_TABLES if table != BROWSING_LOGS),
    REJECTED_LOGS,
    BROWSING_LOGS,
)
# (table, source): the table records up to which version of the source it was made.
_FOLLOWERS = (
    (TITLES, BROWSING_LOGS),
    (SESSIONS, BROWSING_LOGS),
    (PUBLISHED_HISTORY, PUBLISHED_EMBEDDINGS),
)
_WORD = re.compile(rb"(user_id\W{1,12})?(?<![0-9a-f])([0-9a-f]{%d})(?![0-9a-f])" % PSEUDONYM_LENGTH)


@dataclass(frozen=True)
class OlderPseudonyms(Users):
    """Older pseudonyms in text: words whose newer form a table holds, and values of user_id."""

    rotation: Rotation | None = None
    known: frozenset[str] = field(default=frozenset(), repr=False)  # newer ones, of tables

    def has(self, value: str) -> bool:
        return self._newer(value) is not None

    def are_in_text(self, text: bytes) -> bool:
        return self.redact_text(text) != text

    def are_in_wide_text(self, text: bytes) -> bool:
        return False

    def redact_text(self, text: bytes) -> bytes:
        """`text` with the newer pseudonyms; a user whom no table knows is taken out."""
        return _WORD.sub(self._replaced, text)

    def _replaced(self, match: re.Match[bytes]) -> bytes:
        before, word = match[1] or b"", match[2].decode()
        if newer := self._newer(word):
            return before + newer.encode()
        return before + b"(unknown)" if before and word not in self.known else match[0]

    def _newer(self, word: str) -> str | None:
        """The newer form that a table has of this older pseudonym of any column."""
        assert self.rotation
        forms = (self.rotation.hash_of(column)(word) for column in self.rotation.columns)
        return next((form for form in forms if form in self.known), None)


@dataclass(frozen=True)
class RotationSteps:
    """The steps of one call. Each may be repeated."""

    places: Places
    lake: Lake
    rotation: Rotation

    def steps(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """All steps, by what they are about."""
        yield "tables", self.rotate_tables
        yield "caches", Forgetting(self.places, Users(()), lambda: self.lake).remove_caches
        yield "online store", self.refill_online_store
        yield "logs", self.rename_in_logs
        yield "note", self.remove_note

    def begin(self) -> None:
        """Write the note, with the tables that have followed their source until now."""
        followed = [
            table.name
            for table, source in _FOLLOWERS
            if self.lake.exists(table)
            and self.lake.exists(source)
            and self.lake.watermark(table, source) == self.lake.version(source)
        ]
        path = rotation_note(self.places)
        path.parent.mkdir(parents=True, exist_ok=True)
        facts = {"from": self.rotation.held, "to": self.rotation.wanted, "followed": followed}
        write_json(path, {**facts, "done": []})

    def rotate_tables(self) -> str:
        """Rewrite each table, and leave no file of before; a table that is done is left alone."""
        note = read_note(self.places)
        for table in filter(self.lake.exists, _ROTATED_TABLES):
            if table.name not in note["done"]:
                provenance = self.lake.metadata(table)
                rotate_table(self.lake, table, self.rotation)
                record = {**provenance, "pseudonyms": self.rotation.wanted}
                drop_older_versions(self.lake, table, record)
                note["done"].append(table.name)
                write_json(rotation_note(self.places), note)
        for table, source in _FOLLOWERS:  # they hold what the sources say now, too
            if table.name in note["followed"]:
                self.lake.mark(table, watermark={source.name: self.lake.version(source)})
        return f"{len(note['done'])} have newer pseudonyms, and no older version"

    def refill_online_store(self) -> str:
        if not (self.places.feature_store / "feature_store.yaml").exists():
            return "there is none"
        from feature_store.store import Store  # Feast takes five seconds to import

        store = Store(self.places)
        for view in store.online_views:
            store.online.keep_only(view, ())
        store.online.rewrite()
        return refresh_online_store(self.lake, self.places)

    def rename_in_logs(self) -> str:
        """Pseudonyms in gate results, pages, labels and task logs; event logs go whole."""
        renamed, gone = redact_logs(self.places, self._older)
        return f"{renamed:,} files have newer pseudonyms, {gone:,} Spark event logs removed"

    @cached_property
    def _older(self) -> OlderPseudonyms:
        known = {
            value
            for table in filter(self.lake.exists, USER_TABLES)
            for name in held_columns(table, self.rotation)
            for (value,) in self.lake.read(table).select(name).distinct().collect()
        }
        return OlderPseudonyms((), rotation=self.rotation, known=frozenset(known))

    def remove_note(self) -> str:
        rotation_note(self.places).unlink()
        return f"done: the lake is of {self.rotation.wanted}"


def read_note(places: Places) -> dict[str, Any]:
    """What the rotation that is under way has written; empty where there is none."""
    path = rotation_note(places)
    found: dict[str, Any] = read_json(path)
    return found


def plan_rotation(lake: Lake, places: Places, ring: KeyRing) -> Rotation | None:
    """What is to be done to bring the lake to the keys of `ring`; None where nothing is."""
    note = read_note(places)
    held = note["from"] if note else recorded_keys(lake)
    columns, _, keys = held.partition(":")
    if not keys:
        raise BadInput(
            "the lake holds ids as they were logged, and no pseudonyms: ingest the landing days "
            "into a new data root with [pseudonyms] in landing/settings.toml (docs/pseudonyms.md)"
        )
    newer = ring.since(keys)
    wanted = f"{columns}:{ring.fingerprint}"
    if newer is None:
        raise BadInput(
            f"the key file does not begin with the keys of the lake ({keys}): make one by "
            "`userbert pseudonyms new-key NEW --after OLD`; nothing was changed"
        )
    if note and note["to"] != wanted:
        raise BadInput(
            f"a rotation to {note['to']} is not finished: give its key file once more, and rotate "
            "again afterwards"
        )
    return Rotation(held, wanted, tuple(columns.split(",")), newer) if newer.keys else None
