"""The secret keys by which ids become pseudonyms, and the file that holds them.

A key file is text, a key a line in hexadecimal digits, the oldest first. Lines that begin with #
are comments. Several keys are applied one after the other: the pseudonym under the keys A, B is
HMAC(B, HMAC(A, id)). So a lake is brought from A to A, B by its own pseudonyms, without raw ids,
and whoever knows A alone can link nothing of it.
"""

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from contracts.errors import BadInput
from contracts.user_lists import USER_COLUMN, trim_user_id

MIN_KEY_BYTES = 32
PSEUDONYM_LENGTH = 32  # hexadecimal digits, so 128 bits of HMAC-SHA-256
_OTHERS = 0o077  # permissions of anybody but the owner
_FINGERPRINT_LABEL = b"userbert pseudonyms: fingerprint of a key"


@dataclass(frozen=True)
class KeyRing:
    """Keys, the oldest first. `repr` leaves them out, so that no message and no log shows them."""

    keys: tuple[bytes, ...] = field(repr=False)

    def stages(self, value: str, column: str = USER_COLUMN) -> Iterator[str]:
        """The pseudonyms of a raw value under the first key, the first two, and so on.

        Equal texts of two columns have different pseudonyms; a user's is the HMAC of the id alone,
        so that other systems can compute it.
        """
        text = value if column == USER_COLUMN else f"{column}\0{value}"
        for key in self.keys:
            content = text.encode(errors="surrogateescape")  # a command line may hold any bytes
            text = hmac.digest(key, content, hashlib.sha256).hex()[:PSEUDONYM_LENGTH]
            yield text
            text = text if column == USER_COLUMN else f"{column}\0{text}"

    def pseudonym(self, value: str, column: str = USER_COLUMN) -> str:
        """What stands in the tables for a raw value, white space at whose ends does not count."""
        return list(self.stages(trim_user_id(value), column))[-1]

    @property
    def fingerprint(self) -> str:
        """Which keys these are, for provenance; nobody can compute a key from it."""
        each = (hmac.digest(key, _FINGERPRINT_LABEL, hashlib.sha256) for key in self.keys)
        return "+".join(digest.hex()[:16] for digest in each)

    def since(self, fingerprint: str) -> Self | None:
        """The keys that follow those of `fingerprint`; None where this ring does not begin so."""
        held, own = fingerprint.split("+"), self.fingerprint.split("+")
        return type(self)(self.keys[len(held) :]) if own[: len(held)] == held else None


def read_key_file(path: Path) -> KeyRing:
    """The keys of a file that its owner alone can read; `BadInput` otherwise. Shows no content."""
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii")
    except UnicodeDecodeError:
        raise _no_keys(path) from None
    except OSError as error:
        raise BadInput(
            f"the key file {path} cannot be read: {error.strerror}; `userbert pseudonyms new-key "
            f"{path}` makes one, and without its first keys older pseudonyms cannot be made again"
        ) from None
    if not stat.S_ISREG(mode) or mode & _OTHERS:
        raise BadInput(
            f"the key file {path} has the permissions {stat.S_IMODE(mode):03o}, so others can read "
            f"the keys: `chmod 600 {path}`"
        )
    lines = [line.strip() for line in text.splitlines()]
    try:
        keys = tuple(bytes.fromhex(line) for line in lines if line and not line.startswith("#"))
    except ValueError:
        raise _no_keys(path) from None
    if not keys or min(map(len, keys)) < MIN_KEY_BYTES or len(set(keys)) < len(keys):
        raise _no_keys(path)
    return KeyRing(keys)


def _no_keys(path: Path) -> BadInput:
    return BadInput(
        f"{path} is no key file: a line must be a key of at least {MIN_KEY_BYTES} bytes as "
        f"{2 * MIN_KEY_BYTES} hexadecimal digits, and no key may stand twice; `userbert pseudonyms "
        "new-key FILE` makes one"
    )


def write_new_key(path: Path, earlier: KeyRing | None = None) -> KeyRing:
    """Make a key file (0600) of the `earlier` keys and a random one; it must not exist yet."""
    ring = KeyRing((*(earlier.keys if earlier else ()), secrets.token_bytes(MIN_KEY_BYTES)))
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BadInput(f"the key file {path} cannot be made: {error.strerror}") from None
    with os.fdopen(file, "w", encoding="ascii") as out:
        out.write("# Keys of pseudonyms, the oldest first. Whoever has them can link pseudonyms.\n")
        out.writelines(f"{key.hex()}\n" for key in ring.keys)
        out.flush()
        os.fsync(out.fileno())
    return ring
