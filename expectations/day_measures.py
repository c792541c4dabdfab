"""What a landing day is like, in numbers: asked by one SQL text of Spark and of DuckDB.

Row rules see a broken line; they do not see a day of whole lines that is wrong as a whole. The
numbers here are few and name nobody, so that those of past days may be kept (day_history.py) and
the new day be compared with them (day_bounds.py).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

LOOKBACK_DAYS = 28  # landing days in which a user, a title or a host counts as known
VIEW_COLUMNS = ("landing_day", "user_id", "title_id", "title", "host", "event_time")

Query = Callable[[str], list[tuple[Any, ...]]]  # runs SQL over the view `day_views`

# In DuckDB, by the names that Spark has for the same things.
DUCKDB_MACROS = (
    "CREATE MACRO rlike(words, pattern) AS regexp_matches(words, pattern)",
    "CREATE MACRO unix_micros(instant) AS epoch_us(instant)",
    "CREATE MACRO unix_date(utc_day) AS (utc_day - DATE '1970-01-01')",
    "CREATE MACRO xxhash64(a, b, c) AS hash(a, b, c)",
)

_VERSION = 1  # raise it when a number gets another meaning: days are then measured again
_DAY_US, _HOUR_US, _MINUTE_US = 86_400_000_000, 3_600_000_000, 60_000_000  # microseconds
_OLD_DAYS = 7  # before its landing day; late views come a day or two after they happened

# No pattern holds a backslash or a quote: the two engines read these in literals in other ways.
_PLACEHOLDER_IDS = (
    "^(null|undefined|nan|none|nil|n/a|na|unknown|anonymous|guest|test|user|id|true|false|void|empty"
    "|missing|default|[-_.?*0]+|[{(<].*[)}>]|00000000-0000-0000-0000-000000000000)$"
)
_ERROR_PAGES = (
    "(^|[^0-9])(4[0-9][0-9]|5[0-9][0-9])([^0-9]|$).{0,3}(not found|forbidden|error|bad |gateway"
    "|unavailable|unauthori|too many|server)|^(error|http)? ?(4[0-9][0-9]|5[0-9][0-9])( error)?$"
    "|not found|just a moment|access denied|forbidden|bad gateway|gateway time-?out"
    "|service (temporarily )?unavailable|internal server error|too many requests|captcha"
    "|attention required|checking your browser|are you (a )?(human|robot)|verify you are human"
    "|site can.t be reached|under maintenance|maintenance mode|an error occurred"
    "|something went wrong|application error|nicht gefunden|introuvable|no encontrada|non trovata"
    "|^(undefined|null|untitled|loading[.]*|error|redirecting[.]*|new tab|about:blank)$"
)
_MARKUP = "<[a-z/!][^<]*>|&(amp|lt|gt|quot|nbsp|#[0-9x]+);|<script|[{][{].*[}][}]|<[?%]"
_EMAIL = "[a-z0-9._%+-]+@[a-z0-9-]+[.][a-z.]{2,}"
_SECRETS = (
    "(password|passwd|pwd|passphrase|secret|api_?key|access_?token|auth_?token|session_?id)=[^ ]"
    "|://[^/ ]*:[^/ ]*@|bearer [a-z0-9]|^[^ /@]+:[^ /@]+@|-----begin"
)
_HOST = "^(https?://)?[a-z0-9_-]+([.][a-z0-9_-]+)+(:[0-9]+)?(/[^ @]*)?$"
_DOMAIN = "^(https?://)?[a-z0-9-]+([.][a-z0-9-]+)*[.][a-z]{2,12}(/[^ ]*)?$"
# One class of letters is that of most of a title: of its first letter that is none of ASCII.
_SCRIPTS = {
    "cyrillic": "[\u0400-\u052f]",
    "greek": "[\u0370-\u03ff]",
    "han": "[\u3400-\u9fff]",
    "kana": "[\u3040-\u30ff]",
    "hangul": "[\uac00-\ud7af]",
    "arabic": "[\u0600-\u06ff]",
    "hebrew": "[\u0590-\u05ff]",
    "thai": "[\u0e00-\u0e7f]",
    "indic": "[\u0900-\u0dff]",
    "other": "[\u10a0-\u10ff\u0530-\u058f\u1200-\u139f]",
    "latin": "[A-Za-z\u00c0-\u024f]",
}
# Which kinds of characters an id has: what a change of its format changes.
_ID_CHARACTERS = {
    "a": "[a-z]", "A": "[A-Z]", "9": "[0-9]", "_": "_", "-": "-", ".": "[.]", "@": "@", ":": ":",
    "/": "/", "blank": "[ ]", "{}": "[{}()<>]", "+": "[+=%&#|;,*!?$~]", "other": "[^ -~]",
}  # fmt: skip


@dataclass(frozen=True)
class DayFacts:
    """A landing day in numbers; shares are of its accepted views."""

    day: date
    numbers: Mapping[str, float]
    hours: tuple[float, ...] = ()  # (24,) views in each hour of UTC
    alphabets: Mapping[str, float] = field(default_factory=dict)  # share of views by ids' kinds
    scripts: Mapping[str, float] = field(default_factory=dict)  # share of views by titles' script

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "day": str(self.day), "version": _VERSION}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> "DayFacts":
        """Raises ValueError for what other code measured."""
        if facts["version"] != _VERSION:
            raise ValueError(f"measured by version {facts['version']}")
        return cls(
            date.fromisoformat(facts["day"]),
            dict(facts["numbers"]),
            tuple(facts["hours"]),
            dict(facts["alphabets"]),
            dict(facts["scripts"]),
        )


def empty_day(day: date) -> DayFacts:
    """The facts of a day without a view."""
    return DayFacts(day, {"views": 0, "users": 0, "titles": 0})


def measure_days(query: Query, days: Iterable[date]) -> dict[date, DayFacts]:
    """The facts of each of `days`; those without a view have the zeros of `empty_day`.

    `query` runs SQL over the view `day_views` of VIEW_COLUMNS, which holds the views of `days` and
    of up to LOOKBACK_DAYS landing days before them.
    """
    wanted = set(days)
    numbers: dict[date, dict[str, float]] = {}
    hours: dict[date, tuple[float, ...]] = {}
    for day, *counts in query(_ROWS_SQL):
        numbers[day] = dict(zip(_ROW_COUNTS, counts[24:], strict=True))
        hours[day] = tuple(map(float, counts[:24]))
    for names, sql in ((_USER_COUNTS, _USERS_SQL), (_TITLE_COUNTS, _TITLES_SQL)):
        for day, *counts in query(sql):
            numbers[day] |= dict(zip(names, counts, strict=True))
    for day, buckets in query(_BURSTS_SQL):
        numbers[day]["crowded"] = numbers[day]["views"] - buckets
    order = {day: place for place, day in enumerate(sorted(numbers))}
    for day in numbers:
        numbers[day] |= dict.fromkeys(_KEYS, 0.0)
    for day, kind, before, count in query(_KNOWN_SQL):
        if before is not None and order[day] - order[before] <= LOOKBACK_DAYS:
            numbers[day][kind] += count
    groups = {name: _groups(query(sql)) for name, sql in _GROUPS_SQL.items()}
    return {
        day: _facts(day, numbers[day], hours[day], groups) if day in numbers else empty_day(day)
        for day in sorted(wanted)
    }


def _facts(
    day: date,
    counts: Mapping[str, float],
    hours: tuple[float, ...],
    groups: Mapping[str, Mapping[date, Mapping[str, float]]],
) -> DayFacts:
    views, users = counts["views"], counts["users"]
    sizes = {name: float(counts[name]) for name in ("views", "users", "titles")}
    shares = {
        f"{name}_share": float(count) / views for name, count in counts.items() if name not in sizes
    }
    shares["views_a_user"] = views / users
    return DayFacts(
        day, sizes | shares, hours, groups["alphabets"].get(day, {}), groups["scripts"].get(day, {})
    )


def _groups(rows: Iterable[tuple[Any, ...]]) -> dict[date, dict[str, float]]:
    """By day the share of each group's views."""
    counts: dict[date, dict[str, float]] = {}
    for day, name, count in rows:
        counts.setdefault(day, {})[name] = float(count)
    return {
        day: {name: n / sum(each.values()) for name, n in sorted(each.items())}
        for day, each in counts.items()
    }


def _count_if(condition: str) -> str:
    return f"sum(CASE WHEN {condition} THEN 1 ELSE 0 END)"


def _views_if(condition: str) -> str:
    return f"sum(CASE WHEN {condition} THEN n ELSE 0 END)"


_US = "unix_micros(event_time)"
_IN_HOST = "rlike(lower(coalesce(host, '')), '{}')"
_ROW_COUNTS = ("views", "whole_hour", "old", "earlier_day", "no_host", "host_private", "odd_host")
_ROWS_SQL = f"""
SELECT landing_day,
  {", ".join(_count_if(f"floor({_US} / {_HOUR_US}) % 24 = {hour}") for hour in range(24))},
  count(1),
  {_count_if(f"{_US} % {_HOUR_US} = 0")},
  {_count_if(f"unix_date(landing_day) - floor({_US} / {_DAY_US}) > {_OLD_DAYS}")},
  {_count_if(f"unix_date(landing_day) > floor({_US} / {_DAY_US})")},
  {_count_if("host IS NULL")},
  {_count_if(_IN_HOST.format(_EMAIL) + " OR " + _IN_HOST.format(_SECRETS))},
  {_count_if(f"host IS NOT NULL AND NOT rlike(lower(host), '{_HOST}')")}
FROM day_views GROUP BY landing_day"""

_USERS = "(SELECT landing_day, user_id, count(1) AS n FROM day_views GROUP BY landing_day, user_id)"
_USER_COUNTS = ("users", "largest_user", "placeholder", "blank_in_id")
_USERS_SQL = f"""
SELECT landing_day, count(1), max(n),
  {_views_if(f"rlike(lower(user_id), '{_PLACEHOLDER_IDS}')")},
  {_views_if("rlike(user_id, '[ ]')")}
FROM {_USERS} AS users GROUP BY landing_day"""

_TITLES = (
    "(SELECT landing_day, title_id, min(lower(title)) AS title, count(1) AS n FROM day_views "
    "GROUP BY landing_day, title_id)"
)
_TITLE_COUNTS = ("titles", "largest_title", "error_page", "markup", "private", "domain_title")
_TITLES_SQL = f"""
SELECT landing_day, count(1), max(n),
  {_views_if(f"rlike(title, '{_ERROR_PAGES}')")},
  {_views_if(f"rlike(title, '{_MARKUP}')")},
  {_views_if(f"rlike(title, '{_EMAIL}') OR rlike(title, '{_SECRETS}')")},
  {_views_if(f"rlike(title, '{_DOMAIN}')")}
FROM {_TITLES} AS titles GROUP BY landing_day"""

_BURSTS_SQL = f"""
SELECT landing_day, count(1) FROM (
  SELECT DISTINCT landing_day, user_id, title_id, floor({_US} / {_MINUTE_US}) AS minute
  FROM day_views
) AS buckets GROUP BY landing_day"""


# Of what a view may be known, and by what.
_KEYS = {
    "known_user": "xxhash64(user_id, 0, 0)",
    "known_title": "xxhash64(title_id, 0, 0)",
    "known_host": "xxhash64(host, 0, 0)",
    "repeated": f"xxhash64(user_id, title_id, {_US} % {_DAY_US})",
}


def _keyed(kind: str, key: str) -> str:
    return (
        f"SELECT '{kind}' AS kind, {key} AS hash, landing_day, count(1) AS n "
        f"FROM day_views GROUP BY {key}, landing_day"
    )


_KNOWN_SQL = f"""
SELECT landing_day, kind, before, sum(n) FROM (
  SELECT kind, landing_day, n,
    lag(landing_day) OVER (PARTITION BY kind, hash ORDER BY landing_day) AS before
  FROM (
    {" UNION ALL ".join(_keyed(kind, key) for kind, key in _KEYS.items())}
  ) AS keyed
) AS ordered GROUP BY landing_day, kind, before"""


def _first_matching(text: str, patterns: Mapping[str, str]) -> str:
    cases = " ".join(f"WHEN rlike({text}, '{p}') THEN '{name}'" for name, p in patterns.items())
    return f"CASE {cases} ELSE 'none' END"


def _all_matching(text: str, patterns: Mapping[str, str]) -> str:
    return "concat({})".format(
        ", ".join(
            f"CASE WHEN rlike({text}, '{p}') THEN '{name} ' ELSE '' END"
            for name, p in patterns.items()
        )
    )


_GROUPS_SQL = {
    "alphabets": f"""
SELECT landing_day, alphabet, sum(n) FROM (
  SELECT landing_day, n, {_all_matching("user_id", _ID_CHARACTERS)} AS alphabet
  FROM {_USERS} AS users
) AS named GROUP BY landing_day, alphabet""",
    "scripts": f"""
SELECT landing_day, script, sum(n) FROM (
  SELECT landing_day, n, {_first_matching("title", _SCRIPTS)} AS script FROM {_TITLES} AS titles
) AS named GROUP BY landing_day, script""",
}
