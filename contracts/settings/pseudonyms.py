"""Which columns of this installation hold pseudonyms, by which keys; raw ids as they are stored.

    [pseudonyms]                                   in landing/settings.toml
    columns = ["user_id", "host"]                  user_id alone by default
    key_file = "/etc/userbert/pseudonyms.keys"     or, of an environment variable that names the
    key_variable = "PSEUDONYM_KEY_FILE"            file: key_variable

Every command that takes ids of users from people passes them through `ids_as_stored`.
"""

import os
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import BadInput
from contracts.landing_settings import LandingSettings, PseudonymSettings, read_settings
from contracts.paths import Places
from contracts.settings.key_ring import KeyRing, read_key_file
from contracts.user_lists import USER_COLUMN, trim_user_id


@dataclass(frozen=True)
class Pseudonyms:
    """The columns that hold pseudonyms, and the keys. Goes to Spark's workers inside a closure,
    so that no plan and no event log shows a key."""

    columns: tuple[str, ...]
    ring: KeyRing
    nobody: tuple[str, ...] = ()  # ids that stand for no user, in lower case: they stay readable

    @property
    def record(self) -> str:
        """What tables and commits say of how their ids are stored: columns and fingerprints."""
        return f"{','.join(sorted(self.columns))}:{self.ring.fingerprint}"


def pseudonyms_of(settings: LandingSettings, places: Places) -> Pseudonyms | None:
    """What the landing settings say; None where ids are stored as they were logged."""
    if (asked := settings.pseudonyms) is None:
        return None
    path = _key_file(asked)
    if path.resolve().is_relative_to(places.root.resolve()):
        raise BadInput(
            f"the key file {path} lies in the data root {places.root}, where whoever may read the "
            "lake reads it too: move it elsewhere, and name the new path in landing/settings.toml"
        )
    nobody = tuple(sorted({trim_user_id(name).lower() for name in settings.nobody}))
    return Pseudonyms(asked.columns, read_key_file(path), nobody)


def _key_file(asked: PseudonymSettings) -> Path:
    if asked.key_file:
        return Path(asked.key_file)
    name = os.environ.get(asked.key_variable, "")
    if not name:
        raise BadInput(
            f"landing/settings.toml reads the path of the key file from {asked.key_variable}, "
            "which is not set: export it where this command runs"
        )
    return Path(name)


def read_key_ring(places: Places) -> KeyRing | None:
    """The keys of this installation; None where ids are stored as they were logged."""
    path = places.landing / "settings.toml"
    try:
        is_asked = "pseudonyms" in tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return None  # nothing landed here; what is wrong with the settings is the ingest's to say
    found = pseudonyms_of(read_settings(path), places) if is_asked else None
    return found.ring if found else None


def rotation_note(places: Places) -> Path:
    """The file that lies there while a rotation is under way."""
    return places.root / "pseudonyms" / "rotation.json"


def must_not_rotate(places: Places) -> None:
    """Raise `BadInput` where a rotation is under way: a table would take rows of both keys."""
    if rotation_note(places).exists():
        raise BadInput(
            "a rotation of pseudonyms is not finished: run `userbert pseudonyms rotate --to` with "
            "its key file to the end, and then this again"
        )


def ids_as_stored(
    users: Iterable[str], are_pseudonyms: bool = False, places: Places | None = None
) -> list[str]:
    """Ids that a person gave, as the tables hold them, in order."""
    given = list(users)
    ring = None if are_pseudonyms else read_key_ring(places or Places.from_environment())
    return [ring.pseudonym(user, USER_COLUMN) for user in given] if ring else given
