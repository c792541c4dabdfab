"""Who has a vector as of a day, who has none, and why.

userbert coverage --as-of 2017-07-01 [--users 12 1467] [--file users.txt] [--json]

A user is whoever is in browsing_logs, and whoever is named by a refused line. --csv prints the
users that are asked about, or without any the reasons.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated

import typer

from analyst.lake_access.open_lake import OpenLake, open_lake
from analyst.output.answers import Listing, print_answer
from contracts.errors import BadInput, MissingTable
from contracts.landing_settings import read_settings
from contracts.limits import MAX_VIEWS_A_DAY
from contracts.settings.embedding import EmbeddingSettings
from contracts.settings.pseudonyms import ids_as_stored
from contracts.tables import (
    BROWSING_LOGS,
    PUBLISHED_EMBEDDINGS,
    REJECTED_LOGS,
    TITLES,
    USER_EMBEDDINGS,
    USER_SEQUENCES,
)
from contracts.terminal.options import (
    ArePseudonyms,
    AsCsv,
    AsJson,
    AsOfOrNewest,
    ModelOrChampion,
    UserFile,
)
from contracts.user_lists import named_users

_MAX_EXAMPLES = 3
# (name, whether it has a vector, condition over the facts of a user, what to do). The first reason
# whose condition holds is the one.
_PossibleReason = tuple[str, bool, str, str]
_IS_STALE = "vector_day < $day AND num_views > 0 AND last_view_day < $since"
# Where stale users leave the published table, whatever vector they have elsewhere.
_HAS_LEFT = (
    "stale: left the window, and so the published table",
    False,
    "vector_day IS NOT NULL AND num_views > 0 AND last_view_day < $since",
    "",
)
_REASONS = (
    ("embedded on the day", True, "vector_day = $day", ""),
    ("stale: has an older vector, and left the window", True, _IS_STALE, ""),
    (
        "has an older vector: no view on the day before",
        True,
        "vector_day < $day AND NOT active",
        "",
    ),
    (
        "has an older vector, though active on the day before",
        True,
        "vector_day < $day",
        "userbert backfill plan, for the model and the day",
    ),
    (
        "only refused lines",
        False,
        "first_day IS NULL",
        'userbert sql "SELECT reasons, raw FROM rejected_logs"',
    ),
    ("no view before the day", False, "num_views = 0", ""),
    (
        f"excluded as a bot: more than {MAX_VIEWS_A_DAY:,} views on each of its days",
        False,
        "person_days = 0",
        "",
    ),
    ("left the window: no view in it", False, "last_view_day < $since", ""),
    ("none of the titles is in `titles`", False, "titled = 0", "userbert titles"),
    (
        "has a sequence, and no vector under this model",
        False,
        "sequence_day IS NOT NULL",
        "userbert backfill plan, for the model and the days",
    ),
    (
        "active on the day before, and no sequence as of the day",
        False,
        "active",
        "userbert sessions, then userbert user-sequences --as-of DAY",
    ),
    (
        "in the window, and not active before a day that was embedded",
        False,
        "true",
        "userbert user-sequences --as-of DAY, then user-embeddings and published-embeddings",
    ),
)


@dataclass(frozen=True)
class Reason:
    reason: str
    has_vector: bool
    users: int
    examples: list[str]  # the first user_ids, in their order
    what_to_do: str


@dataclass(frozen=True)
class User:
    user_id: str
    reason: str
    views_before: int
    last_view_day: date | None  # before the day, and on a day that was not excluded
    vector_day: date | None


@dataclass(frozen=True)
class Coverage:
    model_id: str
    as_of: date
    users: int
    with_vector: int
    window_days: int
    usable: int  # users with a view in the window, on a day on which they are no bot
    usable_with_vector: int
    reasons: list[Reason]
    refused_unnamed: int  # refused lines that name no user
    asked: list[User]


def coverage(
    lake: OpenLake,
    as_of: date | None = None,
    model_id: str | None = None,
    users: list[str] | None = None,
) -> Coverage:
    lake.need(BROWSING_LOGS)
    model_id, as_of = _embedded_day(lake, model_id, as_of)
    settings = EmbeddingSettings.from_environment()
    window_days, possible = settings.window_days, _reasons_under(settings)
    unnamed = _gather_facts(lake, model_id, as_of, window_days, possible)
    counted = lake.connection.execute(
        f"""SELECT reason, count(*), array_agg(user_id ORDER BY user_id)[:{_MAX_EXAMPLES}]
        FROM reasoned GROUP BY reason"""
    ).fetchall()
    usable, usable_with_vector = lake.connection.execute(
        "SELECT count(*), count(vector_day) FROM facts "
        "WHERE last_view_day >= $since AND titled > 0",
        {"since": as_of - timedelta(days=window_days)},
    ).fetchall()[0]
    found = {place: (number, examples) for place, number, examples in counted}
    reasons = [
        Reason(name, has_vector, *found[place], what_to_do)
        for place, (name, has_vector, _, what_to_do) in enumerate(possible)
        if place in found
    ]
    return Coverage(
        model_id,
        as_of,
        sum(reason.users for reason in reasons),
        sum(reason.users for reason in reasons if reason.has_vector),
        window_days,
        usable,
        usable_with_vector,
        reasons,
        unnamed,
        _requested_users(lake, users or [], possible),
    )


def _reasons_under(settings: EmbeddingSettings) -> list[_PossibleReason]:
    if settings.do_stale_users_leave:
        return [_HAS_LEFT, *(reason for reason in _REASONS if reason[2] != _IS_STALE)]
    return list(_REASONS)


def _embedded_day(lake: OpenLake, model_id: str | None, as_of: date | None) -> tuple[str, date]:
    """The model and the day; where they are None, the champion and its newest day."""
    table = PUBLISHED_EMBEDDINGS if model_id is None else USER_EMBEDDINGS
    lake.need(table)
    found = lake.connection.execute(
        f"""SELECT model_id, max(as_of) FROM {table.name}
        WHERE $model IS NULL OR model_id = $model GROUP BY model_id""",
        {"model": model_id},
    ).fetchone()
    if found is None:
        raise MissingTable(
            f"{table.name} has no vector of {model_id or 'a champion'}: "
            "`userbert models list` tells which models there are"
        )
    return found[0], as_of or found[1]


def _gather_facts(
    lake: OpenLake,
    model_id: str,
    as_of: date,
    window_days: int,
    possible: Sequence[_PossibleReason],
) -> int:
    """Make the table `reasoned`, a row a user; the number of refused lines that name nobody."""
    unnamed = _gather_refused(lake)
    parameters = {"day": as_of, "model": model_id, "most": MAX_VIEWS_A_DAY}
    lake.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE facts AS {_facts_query(lake)}",
        _named_in(_facts_query(lake), parameters),
    )
    cases = " ".join(
        f"WHEN {condition} THEN {place}" for place, (_, _, condition, _) in enumerate(possible)
    )
    lake.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE reasoned AS SELECT *, CASE {cases} END AS reason FROM facts",
        {"day": as_of, "since": as_of - timedelta(days=window_days)},
    )
    return unnamed


def _facts_query(lake: OpenLake) -> str:
    """SQL: the facts of each user from all tables. Of `titles` only whether a title is there."""
    titled = "title_id IN (SELECT title_id FROM titles)" if lake.has(TITLES) else "true"
    newest = {
        USER_SEQUENCES: ("sequence_day", "true"),
        USER_EMBEDDINGS: ("vector_day", "model_id = $model"),
    }
    parts = {
        name: f"SELECT user_id, max(as_of) AS {name} FROM {table.name} "
        f"WHERE as_of <= $day AND {condition} GROUP BY user_id"
        if lake.has(table)
        else f"SELECT '' AS user_id, NULL::DATE AS {name} WHERE false"
        for table, (name, condition) in newest.items()
    }
    return f"""WITH days AS (
        SELECT user_id, event_date, count(*) AS num_views, count(*) FILTER ({titled}) AS titled
        FROM browsing_logs GROUP BY ALL
    ),
    viewed AS (
        SELECT user_id, min(event_date) AS first_day,
            coalesce(sum(num_views) FILTER (event_date < $day), 0)::BIGINT AS num_views,
            coalesce(sum(titled) FILTER (event_date < $day), 0)::BIGINT AS titled,
            count(*) FILTER (event_date < $day AND num_views <= $most) AS person_days,
            max(event_date) FILTER (event_date < $day AND num_views <= $most) AS last_view_day
        FROM days GROUP BY user_id
    )
    SELECT user_id, first_day, coalesce(num_views, 0) AS num_views, titled, person_days,
        last_view_day, coalesce(last_view_day = $day - 1, false) AS active, sequence_day, vector_day
    FROM viewed FULL JOIN refused USING (user_id)
    LEFT JOIN ({parts["sequence_day"]}) USING (user_id)
    LEFT JOIN ({parts["vector_day"]}) USING (user_id)"""


def _gather_refused(lake: OpenLake) -> int:
    """Make the table `refused` of users that refused lines name; how many lines name nobody.

    A line names its user where it is JSON, as lines of JSON and of Parquet are kept; a CSV line
    does not say which of its values is the user.
    """
    lake.connection.execute("CREATE OR REPLACE TEMP TABLE refused (user_id VARCHAR)")
    if not lake.has(REJECTED_LOGS):
        return 0
    column = _user_column(lake)  # or a path into values
    lake.connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE named AS
        SELECT nullif(trim(CASE WHEN json_valid(raw) THEN coalesce(
            json_extract_string(raw, $name), json_extract_string(raw, $path)) END), '') AS user_id
        FROM {REJECTED_LOGS.name}""",
        {"name": _json_pointer(column), "path": _json_pointer(*column.split("."))},
    )
    lake.connection.execute(
        "INSERT INTO refused SELECT DISTINCT user_id FROM named WHERE user_id IS NOT NULL"
    )
    unnamed = lake.sql("SELECT count(*) FROM named WHERE user_id IS NULL").fetchone()
    assert unnamed is not None
    return int(unnamed[0])


def _json_pointer(*steps: str) -> str:
    """RFC 6901, which any name fits into, `Kunden-Nr.` too: DuckDB's paths know no empty step."""
    escaped = (step.replace("~", "~0").replace("/", "~1") for step in steps)
    return "".join(f"/{step}" for step in escaped)


def _user_column(lake: OpenLake) -> str:
    """What the landing files call user_id, if their settings are still there."""
    try:
        return read_settings(lake.places.landing / "settings.toml").columns["user_id"]
    except BadInput:
        return "user_id"


def _requested_users(
    lake: OpenLake, users: list[str], possible: Sequence[_PossibleReason]
) -> list[User]:
    rows = lake.connection.execute(
        """SELECT user_id, reason, num_views, last_view_day, vector_day
        FROM reasoned WHERE list_contains($users, user_id) ORDER BY user_id""",
        {"users": users},
    ).fetchall()
    names = [name for name, *_ in possible]
    found = [User(user, names[reason], *facts) for user, reason, *facts in rows]
    unknown = set(users) - {user.user_id for user in found}
    return found + [
        User(user, "no line names this user", 0, None, None) for user in sorted(unknown)
    ]


def _named_in(query: str, parameters: dict[str, object]) -> dict[str, object]:
    """DuckDB refuses a parameter that the query does not name."""
    return {name: value for name, value in parameters.items() if f"${name}" in query}


def _percent(found: Coverage) -> str:
    """Rounded down: 100 % is everybody."""
    share = found.usable_with_vector / found.usable if found.usable else 1.0
    return f"{math.floor(share * 1000) / 10:g} %"


def main(
    users: Annotated[
        list[str] | None,
        typer.Option("--users", metavar="USER", help="Explain these users too."),
    ] = None,
    more_users: Annotated[
        list[str] | None, typer.Argument(metavar="USER", help="More users to explain.")
    ] = None,
    file: UserFile = None,
    as_of: AsOfOrNewest = None,
    model: ModelOrChampion = None,
    pseudonyms: ArePseudonyms = False,
    json: AsJson = False,
    csv: AsCsv = False,
) -> None:
    words = [*(users or []), *(more_users or [])]
    named = ids_as_stored(named_users(words, file).ids, pseudonyms) if words or file else None
    with open_lake() as lake:
        found = coverage(lake, as_of, model, named)
    title = (
        f"{found.with_vector:,} of {found.users:,} users have a vector of {found.model_id} "
        f"as of {found.as_of}; of the {found.usable:,} users with a view in the "
        f"{found.window_days} days before, {found.usable_with_vector:,} ({_percent(found)})"
    )
    if found.refused_unnamed:
        title += f"; {found.refused_unnamed:,} refused lines name no user"
    rows = [
        ("yes" if r.has_vector else "no", r.reason, r.users, r.examples, r.what_to_do)
        for r in found.reasons
    ]
    listings = [Listing(rows, ("vector", "reason", "#users", "such as", "what to do"))]
    if found.asked:
        requested = [
            (u.user_id, u.reason, u.views_before, u.last_view_day, u.vector_day)
            for u in found.asked
        ]
        columns = ("user", "reason", "#views before", "last view", "vector of")
        listings.append(Listing(requested, columns))
    print_answer(found, json, title, *listings, csv=listings[-1] if csv else None)
