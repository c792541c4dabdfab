"""What is private in titles and hosts, masked before anything else sees it.

    mask = ["email", "phone", "card", "iban", "ssn", "url"]     # in landing/settings.toml

A title keeps its other words: "Re: ann@example.org" becomes "Re: [email]". Of a host that is a URL,
`url` leaves host and path. Numbers with a check digit (cards, IBAN) are masked where it fits;
telephone numbers where they are written as such: with +, a leading 0, or in the American groups.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from spark_jobs.ingest.parsing.parsed_lines import TEXT, Column

# Which titles are looked at one by one: with an @, or with six digits or more.
_SUSPICIOUS = r"@|(\d[^\d]{0,3}){5}\d|[A-Z]{2}\d\d"
_EMAIL = r"[\w.%+-]+@[\w-]+(?:\.[\w-]+)+"
_CARD = r"(?<![\d.])[3-6]\d{3}(?:[ -]?\d){10,15}(?![\d.])"
_IBAN = r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"
_SSN = r"(?<![\d-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])"
_PHONE = (
    r"(?<![\w+])(?:"
    r"(?:\+|00)[1-9]\d{0,2}[ .()/-]{0,2}(?:\d[ .()/-]{0,2}){6,12}\d"  # +49 30 1234567
    r"|\(?0\d{1,5}\)?[ /-]{1,3}\d{3,}(?:[ /-]?\d{2,}){0,5}"  # 030 / 123 45 67, and no date
    r"|0\d(?:[ .]\d{2}){4}"  # 01 23 45 67 89
    r"|(?:\(\d{3}\) ?|\d{3}[-.])\d{3}[-.]\d{4}"  # (212) 555-0147
    r")(?!\w)"
)
_URL_USER = re.compile(r"://[^/@\s\"',;]*@")
_URL_TAIL = re.compile(r"(?<=[\w/])[?#][^\s\"',;]*=[^\s\"',;]*")
_FEWEST_DIGITS = 8  # of a telephone number with its area


def _is_card(text: str) -> bool:
    """By Luhn's check digit."""
    digits = [int(each) for each in reversed(re.sub(r"\D", "", text))]
    doubled = [2 * each - 9 * (each > 4) for each in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _is_iban(text: str) -> bool:
    """By its check digits: the rest of a division by 97 (ISO 13616)."""
    plain = text.replace(" ", "")
    number = "".join(str(int(each, 36)) for each in plain[4:] + plain[:4])
    return int(number) % 97 == 1


def _is_phone(text: str) -> bool:
    return sum(each.isdigit() for each in text) >= _FEWEST_DIGITS


# In this order: an IBAN holds digits that look like a card's, and a card's like a telephone's.
_KINDS: Mapping[str, tuple[re.Pattern[str], Callable[[str], bool]]] = {
    "email": (re.compile(_EMAIL), lambda text: True),
    "iban": (re.compile(_IBAN), _is_iban),
    "card": (re.compile(_CARD), _is_card),
    "ssn": (re.compile(_SSN), lambda text: True),
    "phone": (re.compile(_PHONE), _is_phone),
}


def mask_text(text: str, kinds: Collection[str]) -> str:
    """`text` with a word in brackets for each value of one of `kinds`."""
    for kind, (pattern, is_one) in _KINDS.items():
        if kind in kinds:
            text = pattern.sub(lambda m, k=kind, f=is_one: f"[{k}]" if f(m[0]) else m[0], text)  # type: ignore[misc]
    return text


def mask_texts(texts: Column, kinds: Collection[str]) -> Column:
    """(L,) titles, each distinct suspicious one masked once."""
    if not set(kinds) & set(_KINDS):
        return texts
    suspicious: Any = pc.match_substring_regex(texts, _SUSPICIOUS)  # (L,) null where the title is
    distinct: list[Any] = texts.filter(suspicious).unique().to_pylist()
    masked = {text: mask_text(text, kinds) for text in distinct}
    masked = {text: other for text, other in masked.items() if other != text}
    if not masked:
        return texts
    places = pc.index_in(texts, value_set=pa.array(list(masked), TEXT))
    others: Column = pa.array(list(masked.values()), TEXT).take(places)
    result: Column = pc.if_else(places.is_valid(), others, texts)
    return result


def mask_line(raw: str, kinds: Collection[str]) -> str:
    """A refused line, which nobody could take apart, without what is private in it."""
    if "url" in kinds:
        raw = _URL_TAIL.sub("", _URL_USER.sub("://", raw))
    return mask_text(raw, kinds)


def cut_urls(hosts: Column, kinds: Collection[str]) -> Column:
    """Hosts and paths of URLs: no scheme, no user, no password, no query, no fragment."""
    if "url" not in kinds:
        return hosts
    for pattern in (r"^[a-zA-Z][a-zA-Z0-9+.-]*://", r"[?#].*$", r"^[^/@]*@"):
        hosts = pc.replace_substring_regex(hosts, pattern, "")
    return hosts
