"""The page titles of generated logs: a title is a number (its code) until it must be written.

A code holds a title's topic, the day it was published (0: always there), its rank among those
(0 is the most viewed) and its form. Text and host follow from the code and the seed alone, by
hashing, so a catalogue of millions of titles takes no memory and no order of drawing matters.
"""

import re
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from landing.synthetic import words
from landing.texts import Texts, join_texts, take_texts

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

NUM_TOPICS = len(words.TOPICS)
PORTAL_INDEX = NUM_TOPICS  # the index of the pages that say nothing of interests
TOPIC_NAMES = (*words.TOPICS, words.PORTAL_TOPIC)
_MAX_DAYS = 1 << 15  # days since 1970 that a code can hold: until 2059
_MAX_RANKS = 1 << 24
_NUM_FORMS = 2  # "X: Y - Site" on the site's own host, "X | Y | Site" on its mobile one
_SHARE_OF_NAMED_SITES = 0.6  # titles that end in the site's name
_SHARE_OF_GENERAL_SITES = 0.3  # titles on a site that writes about everything
_WORDS_A_TOPIC = min(len(some) for some in words.TOPICS.values())


def hash_parts(*parts: int | Ints) -> npt.NDArray[np.uint64]:
    """A 64-bit hash of the parts, in their order (splitmix64's finalizer after each)."""
    state: npt.NDArray[np.uint64] = np.zeros((), np.uint64)
    with np.errstate(over="ignore"):
        for part in parts:
            z = (state ^ np.asarray(part).astype(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = np.asarray(z ^ (z >> np.uint64(31)))
    return state


def uniform_from_hash(*parts: int | Ints) -> Floats:
    """A float in [0, 1) by the hash of the parts."""
    return np.asarray((hash_parts(*parts) >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def zipf_ranks(u: Floats, size: int) -> Ints:
    """Turn uniform draws into ranks below `size`: rank r has weight log((r + 2) / (r + 1)).

    That is Zipf's law of exponent 1 (about 1 / r), and its inverse is a power, so it is quick.
    """
    return np.minimum((size + 1.0) ** u - 1.0, size - 1.0).astype(np.int64)


@cache
def _zipf_of_die(size: int) -> Ints:
    """`zipf_ranks` of each value that a 16-bit die can show."""
    return zipf_ranks(np.arange(1 << 16) / (1 << 16), size)


def title_codes(topic: Ints, published: Ints, rank: Ints, form: Ints) -> Ints:
    return ((topic * _MAX_DAYS + published) * _MAX_RANKS + rank) * _NUM_FORMS + form


def topic_of(codes: Ints) -> Ints:
    return codes // (_MAX_DAYS * _MAX_RANKS * _NUM_FORMS)


@cache
def _patterns() -> list[list[str]]:
    """Each pattern in parts, the topics' before the portal's: literal text, or `{field}`."""
    every = [f"{text}{{site}}" for text in words.PATTERNS + words.PORTAL_PATTERNS]
    return [[part for part in re.split(r"(\{.*?\})", text) if part] for text in every]


@cache
def _sites() -> tuple[list[str], list[str]]:
    """Names and hosts of the sites: each topic's, then those that write about everything."""
    own = [f"{topic} {kind}" for topic in words.TOPICS for kind in words.SITE_KINDS]
    names = [*own, *words.GENERAL_SITES]
    return names, [re.sub("[^a-z]", "", name.lower()) + ".example" for name in names]


@dataclass(frozen=True)
class Catalogue:
    """All titles of one seed."""

    seed: int

    def hosts(self, codes: Ints) -> Texts:
        _, hosts = _sites()
        both = [f"{prefix}.{host}" for host in hosts for prefix in ("www", "m")]
        return take_texts(
            both, self._site(codes, self._dice(codes)) * _NUM_FORMS + codes % _NUM_FORMS
        )

    def texts(self, codes: Ints) -> Texts:
        """The titles as a reader sees them. The two forms of a title may be the same text."""
        dice = self._dice(codes)  # (12, N)
        pattern = self._pattern(codes, dice)
        fields = self._fields(codes, dice)
        rows = [np.flatnonzero(pattern == place) for place in range(len(_patterns()))]
        pieces = [
            join_texts(*(take_texts(fields[p], here) if p in fields else p for p in parts))
            for parts, here in zip(_patterns(), rows, strict=True)
        ]
        # The texts were made pattern by pattern; this puts them into the order of the codes.
        back = np.argsort(np.concatenate(rows), kind="stable")  # (N,)
        return take_texts(pa.concat_arrays(pieces), back)

    def _dice(self, codes: Ints) -> npt.NDArray[np.uint16]:
        """Twelve dice of 16 bits a title (12, N), the same for its two forms."""
        titles = codes // _NUM_FORMS
        # Three hashes of 64 bits are twelve dice of 16.
        hashes = [hash_parts(self.seed, salt, titles).astype("<u8") for salt in range(3)]
        return np.concatenate([some.view("<u2").reshape(-1, 4).T for some in hashes])

    def _site(self, codes: Ints, dice: npt.NDArray[np.uint16]) -> Ints:
        """Where each title stands, as a place in `_sites()`."""
        topics = topic_of(codes)
        own = topics * len(words.SITE_KINDS) + _zipf_of_die(len(words.SITE_KINDS))[dice[0]]
        general = (
            NUM_TOPICS * len(words.SITE_KINDS) + _zipf_of_die(len(words.GENERAL_SITES))[dice[0]]
        )
        is_general = dice[1] < _SHARE_OF_GENERAL_SITES * (1 << 16)
        return np.asarray(np.where(is_general | (topics == PORTAL_INDEX), general, own))

    def _pattern(self, codes: Ints, dice: npt.NDArray[np.uint16]) -> Ints:
        of_topic = _zipf_of_die(len(words.PATTERNS))[dice[2]]
        of_portal = len(words.PATTERNS) + codes // _NUM_FORMS % _MAX_RANKS % len(
            words.PORTAL_PATTERNS
        )
        return np.where(topic_of(codes) == PORTAL_INDEX, of_portal, of_topic)

    def _fields(self, codes: Ints, dice: npt.NDArray[np.uint16]) -> dict[str, Texts]:
        """What stands for each field of a pattern, a value a code."""
        topic = np.minimum(topic_of(codes), NUM_TOPICS - 1)  # the portal's patterns have no words
        every_word = [w for some in words.TOPICS.values() for w in some[:_WORDS_A_TOPIC]]
        word = _zipf_of_die(_WORDS_A_TOPIC)[dice[4]]
        other = (word + 1 + _zipf_of_die(_WORDS_A_TOPIC - 1)[dice[5]]) % _WORDS_A_TOPIC
        endings = ["", *(f"{mark}{name}" for name in _sites()[0] for mark in (" - ", " | "))]
        named = dice[3] < _SHARE_OF_NAMED_SITES * (1 << 16)
        ending = np.where(named, 1 + self._site(codes, dice) * _NUM_FORMS + codes % _NUM_FORMS, 0)
        return {
            "{w}": take_texts(every_word, topic * _WORDS_A_TOPIC + word),
            "{v}": take_texts(every_word, topic * _WORDS_A_TOPIC + other),
            "{a}": take_texts(
                words.AUDIENCE_NAMES, _zipf_of_die(len(words.AUDIENCE_NAMES))[dice[6]]
            ),
            "{p}": take_texts(words.PLACE_NAMES, _zipf_of_die(len(words.PLACE_NAMES))[dice[7]]),
            "{q}": take_texts(words.QUALITY_WORDS, _zipf_of_die(len(words.QUALITY_WORDS))[dice[8]]),
            "{n}": take_texts([str(n) for n in range(1, 53)], dice[9].astype(np.int64) % 52),
            "{:}": take_texts([": ", " | "], codes % _NUM_FORMS),
            "{site}": take_texts(endings, ending),
        }
