"""The SQL of a day's measures, which Spark and DuckDB read alike.

Each question is of the view `day_views`: the new days, and four weeks before them. Where it says
WANTED_VIEWS, only the days that are measured are read.
"""

from collections.abc import Mapping

from contracts.limits import SESSION_GAP_MINUTES
from expectations.days.patterns import (
    BROKEN_TEXT,
    DOMAIN_NAME,
    EMAIL_ADDRESS,
    ERROR_PAGES,
    HOST_NAME,
    ID_CHARACTERS,
    PLACEHOLDER_IDS,
    SECRET_VALUES,
    TITLE_MARKUP,
    TITLE_SCRIPTS,
)

# In DuckDB, by the names that Spark has for the same things.
DUCKDB_MACROS = (
    "CREATE MACRO rlike(words, pattern) AS regexp_matches(words, pattern)",
    "CREATE MACRO unix_micros(instant) AS epoch_us(instant)",
    "CREATE MACRO unix_date(utc_day) AS (utc_day - DATE '1970-01-01')",
    "CREATE MACRO xxhash64(a, b, c) AS hash(a, b, c)",
    "CREATE MACRO explode(words) AS unnest(words)",
)

_DAY_US, _HOUR_US, _MINUTE_US = 86_400_000_000, 3_600_000_000, 60_000_000  # microseconds
_OLD_DAYS = 7  # before its landing day; late views come a day or two after they happened
_SESSION_GAP_US = SESSION_GAP_MINUTES * _MINUTE_US
_MAX_OF_PEOPLE = 100  # views of a user and a day; who has more may be a program
_EVEN_GAP_US = 1_000_000  # from which two equal silences of one user are no accident
_MIN_HOST_SHARE = 250  # hosts with less than a 250th of a day's views are not listed


def _count_if(condition: str) -> str:
    return f"sum(CASE WHEN {condition} THEN 1 ELSE 0 END)"


def _views_if(condition: str) -> str:
    return f"sum(CASE WHEN {condition} THEN n ELSE 0 END)"


def _of_people(count: str) -> str:
    return f"sum(CASE WHEN n <= {_MAX_OF_PEOPLE} THEN {count} ELSE 0 END)"


_US = "unix_micros(event_time)"
_IN_HOST = "rlike(lower(coalesce(host, '')), '{}')"
HELD_DAYS_SQL = "SELECT DISTINCT landing_day FROM day_views"

ROW_COUNTS = (
    *("views", "whole_hour", "whole_minute", "old", "earlier_day"),
    *("no_host", "host_private", "odd_host"),
)
ROWS_SQL = f"""
SELECT landing_day, count(1),
  {_count_if(f"{_US} % {_HOUR_US} = 0")},
  {_count_if(f"{_US} % {_MINUTE_US} = 0")},
  {_count_if(f"unix_date(landing_day) - floor({_US} / {_DAY_US}) > {_OLD_DAYS}")},
  {_count_if(f"unix_date(landing_day) > floor({_US} / {_DAY_US})")},
  {_count_if("host IS NULL")},
  {_count_if(_IN_HOST.format(EMAIL_ADDRESS) + " OR " + _IN_HOST.format(SECRET_VALUES))},
  {_count_if(f"host IS NOT NULL AND NOT rlike(lower(host), '{HOST_NAME}')")}
FROM WANTED_VIEWS GROUP BY landing_day"""

# Views by the hours since the landing day began, UTC: -24 is the first hour of the day before.
_HOURS_SINCE = f"(floor({_US} / {_HOUR_US}) - unix_date(landing_day) * 24)"
CLOCK_SQL = f"""
SELECT landing_day, hours_since, count(1) FROM (
  SELECT landing_day, {_HOURS_SINCE} AS hours_since FROM WANTED_VIEWS
) AS timed WHERE hours_since >= -24 GROUP BY landing_day, hours_since"""

_USERS = (
    "(SELECT landing_day, user_id, count(1) AS n FROM WANTED_VIEWS GROUP BY landing_day, user_id)"
)
USER_COUNTS = ("users", "largest_user", "placeholder", "blank_in_id")
USERS_SQL = f"""
SELECT landing_day, count(1), max(n),
  {_views_if(f"rlike(lower(user_id), '{PLACEHOLDER_IDS}')")},
  {_views_if("rlike(user_id, '[ ]')")}
FROM {_USERS} AS users GROUP BY landing_day"""

_TITLES = (
    "(SELECT landing_day, title_id, min(lower(title)) AS title, count(1) AS n FROM WANTED_VIEWS "
    "GROUP BY landing_day, title_id)"
)
TITLE_COUNTS = (
    *("titles", "largest_title", "error_page", "markup", "private", "domain_title"),
    "broken_text",
)
TITLES_SQL = f"""
SELECT landing_day, count(1), max(n),
  {_views_if(f"rlike(title, '{ERROR_PAGES}')")},
  {_views_if(f"rlike(title, '{TITLE_MARKUP}')")},
  {_views_if(f"rlike(title, '{EMAIL_ADDRESS}') OR rlike(title, '{SECRET_VALUES}')")},
  {_views_if(f"rlike(title, '{DOMAIN_NAME}')")},
  {_views_if(f"rlike(title, '{BROKEN_TEXT}')")}
FROM {_TITLES} AS titles GROUP BY landing_day"""

# What is left of a day's views when those of a user and a title count once a minute; and of the
# views of people, when they count once a day.
BURSTS_SQL = f"""
SELECT landing_day, sum(minutes), {_of_people("n")}, {_of_people("titles")} FROM (
  SELECT landing_day, user_id, sum(n) AS n, sum(minutes) AS minutes, count(1) AS titles FROM (
    SELECT landing_day, user_id, title_id, sum(n) AS n, count(1) AS minutes FROM (
      SELECT landing_day, user_id, title_id, floor({_US} / {_MINUTE_US}) AS minute, count(1) AS n
      FROM WANTED_VIEWS GROUP BY landing_day, user_id, title_id, floor({_US} / {_MINUTE_US})
    ) AS buckets GROUP BY landing_day, user_id, title_id
  ) AS pairs GROUP BY landing_day, user_id
) AS users GROUP BY landing_day"""

# Views of which another user has the title and the instant.
TWINS_SQL = """
SELECT landing_day, sum(CASE WHEN low <> high THEN n ELSE 0 END) FROM (
  SELECT landing_day, count(1) AS n,
    min(xxhash64(user_id, 0, 0)) AS low, max(xxhash64(user_id, 0, 0)) AS high
  FROM WANTED_VIEWS GROUP BY landing_day, title_id, event_time
) AS instants GROUP BY landing_day"""

_BY_TIME = "OVER (PARTITION BY landing_day, user_id ORDER BY us)"
GAP_COUNTS = ("sessions", "even_gap")
GAPS_SQL = f"""
SELECT landing_day,
  {_count_if(f"n <= {_MAX_OF_PEOPLE} AND (gap IS NULL OR gap > {_SESSION_GAP_US})")},
  {_count_if(f"gap >= {_EVEN_GAP_US} AND gap = gap_before")}
FROM (
  SELECT landing_day, n, gap, lag(gap) {_BY_TIME} AS gap_before FROM (
    SELECT landing_day, user_id, us, us - lag(us) {_BY_TIME} AS gap,
      count(1) OVER (PARTITION BY landing_day, user_id) AS n
    FROM (SELECT landing_day, user_id, {_US} AS us FROM WANTED_VIEWS) AS timed
  ) AS gaps
) AS two_gaps GROUP BY landing_day"""

# Hosts with many of a day's views, of all days.
HOSTS_SQL = f"""
SELECT landing_day, host, n / total FROM (
  SELECT landing_day, host, n, sum(n) OVER (PARTITION BY landing_day) AS total FROM (
    SELECT landing_day, host, count(1) AS n FROM day_views GROUP BY landing_day, host
  ) AS hosts
) AS shares WHERE host IS NOT NULL AND n * {_MIN_HOST_SHARE} >= total"""

# Of what a view may be known, and by what.
_KEYS = {
    "known_title": "xxhash64(title_id, 0, 0)",
    "known_host": "xxhash64(host, 0, 0)",
    "repeated": f"xxhash64(user_id, title_id, {_US} % {_DAY_US})",
}
_WORDS = f"""
SELECT 'known_word' AS kind, xxhash64(word, 0, 0) AS hash, landing_day, sum(n) AS n FROM (
  SELECT landing_day, n, explode(split(title, ' ')) AS word
  FROM {_TITLES.replace("WANTED_VIEWS", "day_views")} AS titles
) AS words WHERE word <> '' GROUP BY xxhash64(word, 0, 0), landing_day"""
# (landing_day, user_id) of programs: few, so that leaving them out costs no sort.
_PROGRAMS = f"""(
  SELECT landing_day, user_id FROM day_views GROUP BY landing_day, user_id
  HAVING count(1) > {_MAX_OF_PEOPLE}
)"""
_PAIRS = f"""
SELECT 'known_pair' AS kind, xxhash64(views.user_id, title_id, 0) AS hash, views.landing_day,
  count(1) AS n
FROM day_views AS views LEFT JOIN {_PROGRAMS} AS programs
  ON views.landing_day = programs.landing_day AND views.user_id = programs.user_id
WHERE programs.user_id IS NULL
GROUP BY xxhash64(views.user_id, title_id, 0), views.landing_day"""
KNOWN_KINDS = (*_KEYS, "known_word", "known_pair", "known_user")


_PEOPLE = f"""
SELECT 'known_user' AS kind, xxhash64(user_id, 0, 0) AS hash, landing_day, n
FROM {_USERS.replace("WANTED_VIEWS", "day_views")} AS users WHERE n <= {_MAX_OF_PEOPLE}"""


def _keyed(kind: str, key: str) -> str:
    return (
        f"SELECT '{kind}' AS kind, {key} AS hash, landing_day, count(1) AS n "
        f"FROM day_views GROUP BY {key}, landing_day"
    )


_SOURCES = " UNION ALL ".join(
    [*(_keyed(kind, key) for kind, key in _KEYS.items()), _WORDS, _PAIRS, _PEOPLE]
)
# Of each wanted day what is known of it: by the day on which it was last before. Of many days at
# once by a sort of all that four weeks hold; of ON_DAY alone by hashes, in a fraction of the time.
KNOWN_SQL = f"""
SELECT landing_day, kind, before, sum(n) FROM (
  SELECT kind, landing_day, n,
    lag(landing_day) OVER (PARTITION BY kind, hash ORDER BY landing_day) AS before
  FROM ({_SOURCES}) AS keyed
) AS ordered WHERE landing_day IN (WANTED_DAYS) GROUP BY landing_day, kind, before"""
KNOWN_ON_DAY_SQL = f"""
SELECT ON_DAY AS landing_day, kind, before, sum(n) FROM (
  SELECT kind, max(CASE WHEN landing_day < ON_DAY THEN landing_day END) AS before,
    sum(CASE WHEN landing_day = ON_DAY THEN n ELSE 0 END) AS n
  FROM ({_SOURCES}) AS keyed GROUP BY kind, hash
) AS keys WHERE n > 0 GROUP BY kind, before"""


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


GROUPS_SQL = {
    "alphabets": f"""
SELECT landing_day, alphabet, sum(n) FROM (
  SELECT landing_day, n, {_all_matching("user_id", ID_CHARACTERS)} AS alphabet
  FROM {_USERS} AS users
) AS named GROUP BY landing_day, alphabet""",
    "scripts": f"""
SELECT landing_day, script, sum(n) FROM (
  SELECT landing_day, n, {_first_matching("title", TITLE_SCRIPTS)} AS script
  FROM {_TITLES} AS titles
) AS named GROUP BY landing_day, script""",
}
