"""Which column is the user, the time and the title, and how its times are written."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from contracts.errors import BadInput
from contracts.landing_settings import LINE_ID, REQUIRED_COLUMNS
from spark_jobs.ingest.first_look.file_guess import FileGuess, Values
from spark_jobs.ingest.parsing.time_texts import EPOCHS, instant_of

# Names that logs give these columns, without blanks, hyphens and underscores; the surest first.
_KNOWN_NAMES: dict[str, tuple[str, ...]] = {
    "user_id": (
        *("userid", "user", "visitorid", "visitor", "anonymousid", "customerid", "customer"),
        *("clientid", "memberid", "accountid", "householdid", "household", "personid", "uid"),
        *("userpseudoid", "distinctid", "fullvisitorid", "cookieid", "deviceid", "sessionid"),
    ),
    "event_time": (
        *("eventtime", "timestamp", "time", "datetime", "eventtimestamp", "at", "ts", "viewedat"),
        *("createdat", "occurredat", "receivedat", "originaltimestamp", "date", "when", "day"),
    ),
    "title": (
        *("title", "pagetitle", "headline", "producttitle", "productname", "itemname", "itemtitle"),
        *("name", "product", "item", "page", "query", "description", "subject"),
    ),
    "host": ("host", "hostname", "domain", "site", "website"),
    LINE_ID: ("logid", "eventid", "requestid", "messageid", "hitid", "insertid"),
}
GUESSED_PATTERNS = (
    *("yyyy-MM-dd HH:mm:ss Z", "yyyy/MM/dd HH:mm:ss", "yyyy/MM/dd HH:mm", "yyyyMMddHHmmss"),
    *("dd/MM/yyyy HH:mm:ss", "MM/dd/yyyy HH:mm:ss", "dd/MM/yyyy HH:mm", "MM/dd/yyyy HH:mm"),
    *("d/M/yyyy H:mm:ss", "M/d/yyyy H:mm:ss", "d/M/yyyy H:mm", "M/d/yyyy H:mm"),
    *("M/d/yyyy h:mm:ss a", "dd.MM.yyyy HH:mm:ss", "dd.MM.yyyy HH:mm", "d.M.yyyy H:mm"),
    *("dd/MMM/yyyy:HH:mm:ss Z", "dd MMM yyyy HH:mm:ss"),
    *("yyyy-MM-dd", "dd/MM/yyyy", "MM/dd/yyyy", "dd.MM.yyyy", "yyyyMMdd"),
)
_FIRST_YEAR, _LAST_YEAR = 1995, 2100  # of a number that is taken for a time
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
    columns = dict(named)
    reasons = dict.fromkeys(named, "you said so")
    for ours in _KNOWN_NAMES:
        if ours in columns:
            continue
        free = [name for name in file.columns if name not in columns.values()]
        if found := _best(ours, free, file):
            columns[ours], reasons[ours] = found
        elif ours in REQUIRED_COLUMNS:
            raise BadInput(
                f"no column looks like {ours}: say which one it is by --{ours.replace('_', '-')}; "
                f"the file has {', '.join(file.columns)}"
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
    order = [ours for ours in _KNOWN_NAMES if ours in columns]
    return ColumnGuess({ours: columns[ours] for ours in order}, time, has_zones, reasons)


def _best(ours: str, free: Sequence[str], file: FileGuess) -> tuple[str, str] | None:
    """The column with the surest name, of equal names the first, whose values fit; and why."""
    places = {name: _place(ours, name) for name in free}
    fitting = sorted(
        (name for name in free if places[name] is not None and _fits(ours, name, file)),
        key=lambda name: places[name] or 0,
    )
    if fitting:
        others = f"; it could be {', '.join(fitting[1:3])} too" if fitting[1:] else ""
        return fitting[0], f"its name{others}"
    if ours == "event_time":
        times = [name for name in free if _fits(ours, name, file)]
        return (times[0], "its values are times") if times else None
    return None


def _place(ours: str, theirs: str) -> int | None:
    """Where the last step of a path stands among the known names; a whole path comes after it."""
    known = _KNOWN_NAMES[ours]
    step = re.sub(r"[\s_-]", "", theirs.rpartition(".")[2]).lower()
    if step not in known:
        return None
    return known.index(step) + len(known) * theirs.count(".")


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
