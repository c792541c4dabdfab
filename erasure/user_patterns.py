"""How a text names a user: the patterns by which the scan and the redaction find one.

A user is looked for in two ways. As a value of user columns: next to the column's name in text
("user_id": "7", user_id=7, and the same inside JSON inside JSON). And as a word of any bytes
whatever, if the id cannot be mistaken for something else: six characters or more, not all letters;
nine or more where all are digits. "7" is a page's number, a count or a version in any file: it is
looked for in the first way alone.

Another user's id may hold one that is looked for (u0000123 in u0000123-b). The ids of the tables
that do so are known here, and are read whole, so that they name nobody else.
"""

import html
import json
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from contracts.settings.key_ring import KeyRing
from contracts.user_lists import USER_COLUMN, trim_user_id

_REPLACEMENT = b"(forgotten)"
_MIN_LENGTH, _MIN_DIGITS = 6, 9  # of an id that is looked for as a word
_QUOTES = rb"(?:\\*[\"']|&quot;|&#34;|&#x27;|&#39;)?"
# What may stand between two parts of one id: after "7", "-2" makes another id, and ". " does not.
_VALUE_ENDS = rb"(?!\w|[-.@:+/~%]\w)"


@dataclass(frozen=True)
class Users:
    """Who is looked for. `columns` are the names that the user column has in files.

    `spellings` are more texts by which files may name them: the ids as they were given, and as
    tables have them. `longer` are ids of others that hold one of these.
    """

    ids: tuple[str, ...]
    columns: tuple[str, ...] = (USER_COLUMN,)
    spellings: tuple[str, ...] = ()
    longer: tuple[str, ...] = ()
    ring: KeyRing | None = None  # where `ids` are pseudonyms: landing files hold raw ids

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """All that is looked for, each text once."""
        return tuple(dict.fromkeys([*self.ids, *self.spellings]))

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The texts that cannot be mistaken for anything else."""
        return tuple(text for text in self.texts if is_unmistakable(trim_user_id(text)))

    @cached_property
    def _id_set(self) -> frozenset[str]:
        return frozenset(self.ids)

    def has(self, value: str) -> bool:
        """Whether a whole value of a user column is one of them."""
        text = trim_user_id(value)
        forms = self.ring.stages(text) if self.ring else ()
        return text in self._id_set or any(form in self._id_set for form in forms)

    @cached_property
    def _as_value(self) -> re.Pattern[bytes]:
        names = rb"|".join(re.escape(name.encode()) for name in self.columns)
        before = rb"(?:" + names + rb")" + _QUOTES + rb"\s*(?:[:=]|&#61;)\s*" + _QUOTES
        return self._pattern(rb"(" + before + rb")", self.texts, _VALUE_ENDS)

    @cached_property
    def _as_word(self) -> re.Pattern[bytes]:
        return self._pattern(rb"(?<!\w)()", self.words, rb"(?!\w)")

    @cached_property
    def _as_any_word(self) -> re.Pattern[bytes]:
        return self._pattern(rb"(?<!\w)()", self.texts, rb"(?!\w)")

    @cached_property
    def _as_wide_text(self) -> re.Pattern[bytes]:
        """As numpy keeps text, and as UTF-16."""
        codes = ("utf-32-le", "utf-16-le")
        wanted, others = (
            _one_of(text.encode(code) for text in texts for code in codes)
            for texts in (self.words, self.longer)
        )
        return re.compile(rb"()(?:" + others + rb"|(" + wanted + rb"))")

    def _pattern(self, before: bytes, texts: Iterable[str], after: bytes) -> re.Pattern[bytes]:
        """Group 1 is what stands before; group 2 is a user, unless a longer id stands there.

        A longer id is one wherever it stands: SQLite puts values side by side without a mark.
        """
        wanted, others = (_one_of(_forms(each)) for each in (texts, self.longer))
        user = rb"(?:" + others + rb"|(" + wanted + rb")" + after + rb")"
        return re.compile(others + rb"|" + before + user)

    @cached_property
    def online_keys(self) -> tuple[bytes, ...]:
        """How Feast's serialized entity keys end: the length, and the value."""
        return tuple(struct.pack("<I", len(text.encode())) + text.encode() for text in self.texts)

    def are_in_text(self, text: bytes) -> bool:
        """Whether `text` names one of them in either way."""
        return self.are_words_of(text) or _is_named(self._as_value, text)

    def are_words_of(self, text: bytes) -> bool:
        return bool(self.words) and _is_named(self._as_word, text)

    def stand_apart_in(self, text: bytes) -> bool:
        """Whether one stands in `text` between other than word characters, however short."""
        return _is_named(self._as_any_word, text)

    def are_in_wide_text(self, text: bytes) -> bool:
        return bool(self.words) and _is_named(self._as_wide_text, text)

    def redact_text(self, text: bytes) -> bytes:
        """`text` without the users; other users' longer ids stay."""
        for pattern in (self._as_value, self._as_word) if self.words else (self._as_value,):
            text = pattern.sub(lambda m: m[0] if m[2] is None else m[1] + _REPLACEMENT, text)
        return text

    def describe_search(self) -> list[str]:
        """What the scan looks for, a line a user; users go by their place in the command."""
        how = {
            True: "as a value of user columns, and as a word of any file's bytes",
            False: "only as a value of user columns: the id is too short to be more than a number",
        }
        return [f"user {n}: {how[is_unmistakable(user)]}" for n, user in enumerate(self.ids, 1)]


def is_unmistakable(user: str) -> bool:
    """Whether the id, met anywhere, can only be the user's."""
    if user.isdigit():
        return len(user) >= _MIN_DIGITS
    return len(user) >= _MIN_LENGTH and not user.isalpha()


def _is_named(pattern: re.Pattern[bytes], text: bytes) -> bool:
    return any(match[2] is not None for match in pattern.finditer(text))


def _forms(texts: Iterable[str]) -> Iterable[bytes]:
    """The texts as they are, and as JSON and HTML write them."""
    for text in texts:
        yield from (form.encode() for form in {text, json.dumps(text)[1:-1], html.escape(text)})


def _one_of(words: Iterable[bytes]) -> bytes:
    """A pattern of any of `words`, the longest first.

    It is a tree by first bytes: where a text matches none, one byte tells, however many words
    there are. A pattern of 100 words side by side would try each of them at each byte.
    """
    tree: dict[int, Any] = {}
    for word in words:
        node = tree
        for byte in word:
            node = node.setdefault(byte, {})
        node[-1] = {}  # a word may end here
    return _tree_pattern(tree) if tree else rb"(?!)"


def _tree_pattern(tree: dict[int, Any]) -> bytes:
    prefix = b""
    while len(tree) == 1 and -1 not in tree:  # without a fork, so that no group nests
        byte, tree = next(iter(tree.items()))
        prefix += re.escape(bytes([byte]))
    branches = [
        re.escape(bytes([byte])) + _tree_pattern(rest) for byte, rest in tree.items() if byte >= 0
    ]
    if not branches:
        return prefix
    return prefix + rb"(?:" + rb"|".join(branches) + rb")" + (b"?" if -1 in tree else b"")
