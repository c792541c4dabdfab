"""Which column is the user, the time and the title, and how its times are written."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from contracts.errors import BadInput
from contracts.landing_settings import LINE_ID, REQUIRED_COLUMNS
from spark_jobs.ingest.first_look.column_kinds import (
    KNOWN_NAMES,
    name_place,
    title_of_values,
    user_of_values,
)
from spark_jobs.ingest.first_look.file_guess import FileGuess, Values
from spark_jobs.ingest.parsing.time_texts import EPOCHS, instant_of

GUESSED_PATTERNS = (
    *("yyyy-MM-dd HH:mm:ss Z", "yyyy/MM/dd HH:mm:ss", "yyyy/MM/dd HH:mm", "yyyyMMddHHmmss"),
    *("dd/MM/yyyy HH:mm:ss", "MM/dd/yyyy HH:mm:ss", "dd/MM/yyyy HH:mm", "MM/dd/yyyy HH:mm"),
    *("d/M/yyyy H:mm:ss", "M/d/yyyy H:mm:ss", "d/M/yyyy H:mm", "M/d/yyyy H:mm"),
    *("M/d/yyyy h:mm:ss a", "dd.MM.yyyy HH:mm:ss", "dd.MM.yyyy HH:mm", "d.M.yyyy H:mm"),
    *("dd/MMM/yyyy:HH:mm:ss Z", "dd MMM yyyy HH:mm:ss"),
    *("yyyy-MM-dd", "dd/MM/yyyy", "MM/dd/yyyy", "dd.MM.yyyy", "yyyyMMdd"),
)
_FIRST_YEAR, _LAST_YEAR = 1995, 2100  # of a number that is taken for a time
_LONGEST_EXAMPLE = 24  # characters
_ENOUGH = 0.9  # of the values that a time format must read
_ZONE_AT_END = re.compile(r"(Z|[+-]\d\d(:?\d\d)?)$")


@dataclass(frozen=True)
class TimeGuess:
    """A time format, the share of the values that it reads, and another one that reads as many, as
    other instants."""

    format: str
    share: float
    rival: str | None = None


@dataclass(frozen=True)
class ColumnGuess:
    """Which columns the settings name, how times are written, and why."""

    columns: dict[str, str]  # ours to theirs
    time: TimeGuess
    has_zones: bool
    reasons: dict[str, str]  # by our name


def guess_columns(file: FileGuess, named: Mapping[str, str]) -> ColumnGuess:
    """`named` are columns that a person said; the others are guessed."""
    if unknown := [theirs for theirs in named.values() if theirs not in file.columns]:
        raise BadInput(f"the file has no column {unknown[0]}; it has {', '.join(file.columns)}")
    reasons = dict.fromkeys(named, "you said so")
    columns = dict(named)
    for found in (_by_names, _by_values):  # a name is surer than values
        for ours, (theirs, why) in found(columns, file).items():
            columns[ours], reasons[ours] = theirs, why
    if missing := [ours for ours in REQUIRED_COLUMNS if ours not in columns]:
        raise BadInput(
            f"no column looks like {missing[0]}: say which one it is by "
            f"--{missing[0].replace('_', '-')}; the file has {_with_examples(file)}"
        )
    theirs = columns["event_time"]
    values = _there(file.columns[theirs])
    time = TimeGuess("iso", 1.0) if theirs in file.instants else guess_time_format(values)
    if time is None:
        raise BadInput(
            f"no known time format reads the column {theirs}, for example {values[:1]}: say "
            "another column by --event-time, or write its time_format into settings.toml"
        )
    has_zones = time.format in EPOCHS or "Z" in time.format or all(
        _ZONE_AT_END.search(value) for value in values
    )  # fmt: skip
    order = [ours for ours in KNOWN_NAMES if ours in columns]
    return ColumnGuess({ours: columns[ours] for ours in order}, time, has_zones, reasons)


_Found = dict[str, tuple[str, str]]  # by our name: the column, and why


def _by_names(taken: Mapping[str, str], file: FileGuess) -> _Found:
    """Of each of our columns the one with the surest name, of equal names the first, whose values
    fit."""
    found: _Found = {}
    for ours in KNOWN_NAMES:
        used = {*taken.values(), *(theirs for theirs, _ in found.values())}
        places = {name: name_place(ours, name) for name in file.columns if name not in used}
        named = [name for name, place in places.items() if place is not None]
        fitting = sorted(
            (name for name in named if _fits(ours, name, file)), key=lambda name: places[name] or 0
        )
        if fitting and ours not in taken:
            others = f"; it could be {', '.join(fitting[1:3])} too" if fitting[1:] else ""
            found[ours] = fitting[0], f"its name{others}"
    return found


def _by_values(taken: Mapping[str, str], file: FileGuess) -> _Found:
    """What no name tells: the times, then of the others the title, then the user."""
    free = {name: _there(values) for name, values in file.columns.items() if any(values)}
    times = [name for name in free if _fits("event_time", name, file)]
    free = {name: free[name] for name in free if name not in (*taken.values(), *times)}
    found: _Found = {}
    times = [name for name in times if name not in taken.values()]
    if times and "event_time" not in taken:
        found["event_time"] = times[0], "its values are times"
    if "title" not in taken and (title := title_of_values(free)):
        del free[title]
        found["title"] = title, "no name tells; its values have the most words"
    if "user_id" not in taken and (user := user_of_values(free)):
        users, lines = len(set(free[user])), len(free[user])
        found["user_id"] = user, f"no name tells; {users} values repeat in {lines} lines"
    return found


def _with_examples(file: FileGuess) -> str:
    """Each column with a value, by which a person knows it."""
    values = {name: next(iter(_there(each)), "") for name, each in file.columns.items()}
    return ", ".join(f"{name} ({_cut(value)!r})" for name, value in values.items())


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_EXAMPLE else f"{text[: _LONGEST_EXAMPLE - 1]}…"


def _fits(ours: str, theirs: str, file: FileGuess) -> bool:
    values = _there(file.columns[theirs])
    if not values:
        return False
    if ours == "event_time":
        return theirs in file.instants or guess_time_format(values) is not None
    if ours == LINE_ID:
        return len(set(values)) == len(file.columns[theirs])
    return ours != "title" or not all(value.isdigit() for value in values)


def guess_time_format(values: Sequence[str]) -> TimeGuess | None:
    """The first of the formats that read the most values, if they read nearly all."""
    shares = {name: _share_read(values, name) for name in ("iso", *EPOCHS, *GUESSED_PATTERNS)}
    best = max(shares.values())
    if best < _ENOUGH:
        return None
    chosen, *rivals = [name for name, share in shares.items() if share == best]
    found = _instants(values, chosen)
    return TimeGuess(
        chosen, best, next((name for name in rivals if _instants(values, name) != found), None)
    )


def _instants(values: Sequence[str], time_format: str) -> list[datetime | None]:
    return [instant_of(value, time_format, "UTC") for value in values]


def _share_read(values: Sequence[str], time_format: str) -> float:
    years = [time.year for time in _instants(values, time_format) if time is not None]
    return sum(_FIRST_YEAR <= year <= _LAST_YEAR for year in years) / len(values)


def _there(values: Values) -> list[str]:
    return [value for value in values if value and value.strip()]
