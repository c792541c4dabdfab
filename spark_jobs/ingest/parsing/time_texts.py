"""The time of a view from one text, by Python alone; `event_time.py` does the same by Spark.

It serves a look at some lines, for which nobody waits for Spark. Of Spark's datetime patterns it
knows the letters that logs use; a pattern with others has no reader here.
"""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

EPOCHS = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}  # microseconds in one
ISO_MINUTES = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d"
ISO_TIME = ISO_MINUTES + r"(:\d\d([.]\d+)?)?"
ISO_ZONE = r" ?(Z|[+-]\d\d(:?\d\d)?)$"

_ISO_PARTS = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)[T ](?P<hour>\d\d):(?P<minute>\d\d)"
    r"(:(?P<second>\d\d)(\.(?P<fraction>\d+))?)? ?(?P<zone>Z|[+-]\d\d(:?\d\d)?)?"
)
_MONTHS = "January February March April May June July August September October November December"
_FARTHEST_DIGITS = (
    28  # of Spark's decimal; a power of ten as high as a text can name is not computed
)
_FARTHEST_ZONE = timedelta(hours=18)
_EPOCH_1970 = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBERS = {"d": "day", "H": "hour", "h": "hour12", "m": "minute", "s": "second"}
_ZONES = {
    "X": r"Z|[+-]\d\d(?:\d\d)?", "XX": r"Z|[+-]\d{4}", "XXX": r"Z|[+-]\d\d:\d\d",
    "x": r"[+-]\d\d(?:\d\d)?", "xx": r"[+-]\d{4}", "xxx": r"[+-]\d\d:\d\d",
    "Z": r"[+-]\d{4}", "ZZ": r"[+-]\d{4}", "ZZZ": r"[+-]\d{4}", "ZZZZZ": r"Z|[+-]\d\d:\d\d",
}  # fmt: skip
_TOKENS = re.compile(r"'(?:[^']|'')*'|([A-Za-z])\1*|.", re.DOTALL)


def instant_of(text: str, time_format: str, time_zone: str) -> datetime | None:
    """The instant that `text` names, to the microsecond; None where it names none.

    `ValueError` where `time_format` is a pattern that `can_read_pattern` denies.
    """
    try:
        if time_format in EPOCHS:
            return _since_1970(text, EPOCHS[time_format])
        if time_format == "iso":
            found = _ISO_PARTS.fullmatch(text.strip(" "))
        else:
            found = _pattern(time_format).fullmatch(text)
        return None if found is None else _instant(found.groupdict(), ZoneInfo(time_zone))
    except (OverflowError, InvalidOperation, _NoTime):
        return None


def can_read_pattern(time_format: str) -> bool:
    """Whether `instant_of` reads times of this format."""
    if time_format == "iso" or time_format in EPOCHS:
        return True
    try:
        _pattern(time_format)
    except ValueError:
        return False
    return True


class _NoTime(Exception):
    """The text has the form of a time, and names none: 31 February."""


def _since_1970(text: str, unit: int) -> datetime | None:
    number = Decimal(text.strip())
    if not number.is_finite() or number.adjusted() > _FARTHEST_DIGITS:
        return None
    return _EPOCH_1970 + timedelta(microseconds=int(number * unit))


def _instant(parts: dict[str, str | None], time_zone: ZoneInfo) -> datetime:
    try:
        minute, second = (int(parts.get(name) or 0) for name in ("minute", "second"))
        micros = int((parts.get("fraction") or "").ljust(6, "0")[:6])
        day, hour = int(parts["day"] or 0), _hour(parts)
        local = datetime(_year(parts), _month(parts), day, hour, minute, second, micros)
        zone = parts.get("zone")
        if zone is None:  # of two instants the earlier; what summer time skips moves on
            return local.replace(tzinfo=time_zone).astimezone(UTC)
        return (local - _offset(zone)).replace(tzinfo=UTC)
    except ValueError:
        raise _NoTime from None


def _offset(zone: str) -> timedelta:
    if zone.upper() == "Z":
        return timedelta(0)
    digits = zone[1:].replace(":", "")
    hours, minutes = int(digits[:2]), int(digits[2:] or 0)
    offset = timedelta(hours=hours, minutes=minutes)
    if offset > _FARTHEST_ZONE or minutes > 59:
        raise _NoTime
    return -offset if zone[0] == "-" else offset


def _year(parts: dict[str, str | None]) -> int:
    year = parts["year"] or ""
    return 2000 + int(year) if len(year) == 2 else int(year)


def _month(parts: dict[str, str | None]) -> int:
    if name := parts.get("month_name"):
        return [each[:3] for each in _MONTHS.lower().split()].index(name.lower()[:3]) + 1
    return int(parts["month"] or 0)


def _hour(parts: dict[str, str | None]) -> int:
    if (hour := parts.get("hour12")) is None:
        return int(parts.get("hour") or 0)
    if not 1 <= int(hour) <= 12:
        raise _NoTime
    return int(hour) % 12 + (12 if (parts.get("half") or "").upper() == "PM" else 0)


@cache
def _pattern(time_format: str) -> "re.Pattern[str]":
    """A Spark datetime pattern as a regular expression with a name for each field."""
    pieces = [_piece(found.group()) for found in _TOKENS.finditer(time_format)]
    try:
        pattern = re.compile("".join(pieces), re.IGNORECASE)
    except re.error as error:  # such as a letter that stands twice
        raise ValueError(f"{time_format!r} has no reader here: {error}") from None
    names = set(pattern.groupindex)
    if not {"year", "day"} <= names or not names & {"month", "month_name"}:
        raise ValueError(f"{time_format!r} names no whole date")
    return pattern


def _piece(token: str) -> str:
    if token.startswith("'") and len(token) > 1:
        return re.escape(token[1:-1].replace("''", "'") or "'")
    if token in "[]":  # nosec B105: brackets of a pattern
        return "(?:" if token == "[" else ")?"  # nosec B105
    if not token[0].isalpha():
        return re.escape(token)
    if (field := _field(token)) is None:
        raise ValueError(f"{token} has no reader here")
    return field


def _field(token: str) -> str | None:
    letter, count = token[0], len(token)
    known: dict[str, Any] = {
        "M": {3: _one_of("month_name", _MONTHS, 3), 4: _one_of("month_name", _MONTHS)},
        "y": {1: r"(?P<year>\d{4})", 2: r"(?P<year>\d\d)", 4: r"(?P<year>\d{4})"},
        "S": {count: rf"(?P<fraction>\d{{1,{count}}})"},
        "a": {1: "(?P<half>AM|PM)"},
    }
    if token in _ZONES:
        return f"(?P<zone>{_ZONES[token]})"
    if found := known.get(letter, {}).get(count):
        return str(found)
    name = {**_NUMBERS, "M": "month"}.get(letter)
    digits = {1: r"\d{1,2}", 2: r"\d\d"}.get(count)
    return f"(?P<{name}>{digits})" if name and digits else None


def _one_of(name: str, words: str, letters: int | None = None) -> str:
    return f"(?P<{name}>{'|'.join(word[:letters] for word in words.split())})"
