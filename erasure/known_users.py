"""What the tables know of the users who are to be forgotten. Read without Spark."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, timedelta

from analyst.lake_access.open_lake import OpenLake
from contracts.limits import PRETRAINING_DAYS
from contracts.tables import MODELS, SEQUENCE_PAIRS, SESSIONS, TABLES, Table
from contracts.user_lists import EDGE_CHARACTERS
from erasure.user_patterns import Users, is_unmistakable

USER_TABLES = tuple(table for table in TABLES if "user_id" in table.names)
# Delta and Parquet cut texts to these lengths in the statistics of a file.
_STATISTICS_LENGTHS = (32, 64)


def stored_ids(lake: OpenLake, table: Table, ids: Sequence[str]) -> list[str]:
    """The user_ids of `table` that are of these users, spelled as the table has them."""
    rows = lake.connection.execute(
        f"SELECT DISTINCT user_id FROM {table.name} WHERE trim(user_id, $edge) IN "
        "(SELECT unnest($ids))",
        {"edge": EDGE_CHARACTERS, "ids": list(ids)},
    ).fetchall()
    return sorted(user for (user,) in rows)


def with_table_spellings(lake: OpenLake, users: Users) -> tuple[Users, set[str]]:
    """`users` with all by which the scan must know them; and the ids that a table knows."""
    tables = [table for table in USER_TABLES if lake.has(table)]
    stored = {user for table in tables for user in stored_ids(lake, table, users.ids)}
    spellings = (*users.spellings, *sorted(stored - set(users.texts)))
    known = replace(users, spellings=spellings)
    longer = tuple(sorted(_longer_ids(lake, tables, known)))
    known_ids = {user for user in users.ids if any(user in text for text in stored)}
    return replace(known, longer=longer), known_ids


def _longer_ids(lake: OpenLake, tables: Iterable[Table], users: Users) -> set[str]:
    """Other users' ids that hold an id that is looked for, as text would show it."""
    selects = [f"SELECT DISTINCT user_id FROM {table.name}" for table in tables]
    if not selects:
        return set()
    rows = lake.connection.execute(
        f"""WITH users AS ({" UNION ".join(selects)}),
        wanted AS (SELECT unnest($texts) AS text, unnest($unmistakable) AS is_word)
        SELECT DISTINCT user_id FROM users, wanted
        WHERE user_id != text AND CASE WHEN is_word THEN contains(user_id, text)
            ELSE regexp_matches(substr(user_id, 1 + length(text), 1), '\\W')
                AND starts_with(user_id, text) END""",
        {
            "texts": list(users.texts),
            "unmistakable": [is_unmistakable(text) for text in users.texts],
        },
    ).fetchall()
    others = {user for (user,) in rows if not users.has(user)}
    cut = {user[:length] for user in others for length in _STATISTICS_LENGTHS}
    return others | {text for text in cut if not users.has(text)}


def models_that_saw(lake: OpenLake, ids: Sequence[str]) -> list[str]:
    """The models whose pairs had one of the users; where those pairs are gone, who may have had.

    Of the registry, and of folders of trainings that are not registered, finished or not.
    """
    days_of_pairs, pairs_with_users = set[date](), set[date]()
    if lake.has(SEQUENCE_PAIRS):
        days_of_pairs = _days(lake, f"SELECT DISTINCT as_of FROM {SEQUENCE_PAIRS.name}", [])
        pairs_with_users = _days(lake, _days_with_users("as_of", SEQUENCE_PAIRS), ids)
    session_days = set[date]()
    if lake.has(SESSIONS):
        session_days = _days(lake, _days_with_users("session_date", SESSIONS), ids)
    saw = []
    for model_id, end in _known_models(lake):
        start = end - timedelta(days=PRETRAINING_DAYS)
        if end in days_of_pairs:
            if end in pairs_with_users:
                saw.append(model_id)
        elif any(start <= day < end for day in session_days):
            saw.append(model_id)
    return saw


def _known_models(lake: OpenLake) -> list[tuple[str, date]]:
    """Each model and the day that it was trained before, those of the registry first."""
    found: dict[str, date] = {}
    if lake.has(MODELS):
        models = f"SELECT model_id, trained_before FROM {MODELS.name} ORDER BY created_at, model_id"
        found = dict(lake.connection.execute(models).fetchall())
    folder = lake.places.models
    for path in sorted([*folder.glob("*/manifest.json"), *folder.glob("*/step-*/manifest.json")]):
        facts = json.loads(path.read_text())
        found.setdefault(facts["model_id"], date.fromisoformat(facts["trained_before"]))
    return list(found.items())


def _days_with_users(column: str, table: Table) -> str:
    return (
        f"SELECT DISTINCT {column} FROM {table.name} WHERE trim(user_id, $edge) IN "
        "(SELECT unnest($ids))"
    )


def _days(lake: OpenLake, query: str, ids: Sequence[str]) -> set[date]:
    values = {"edge": EDGE_CHARACTERS, "ids": list(ids)} if ids else {}
    return {day for (day,) in lake.connection.execute(query, values).fetchall()}


def describe_unknown(ids: Sequence[str], known: set[str], listed: set[str]) -> str:
    """Which ids no table knows, in one line; empty when a table knows each of them."""
    unknown = [
        f"user {n} {json.dumps(user)}" + (" (forgotten before)" if user in listed else "")
        for n, user in enumerate(ids, 1)
        if user not in known
    ]
    if not unknown:
        return ""
    return f"no table knows {len(unknown)} of the {len(ids)} users: {', '.join(unknown)}"
