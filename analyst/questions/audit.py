"""The rules of the lake, each one query over whole tables.

userbert audit [--sql] [--json] [--csv]

A gate judges the rows of one write; this looks at every row that is there now, across tables, and
counts the landing lines anew from the files. Before that it compares each page of every table with
its checksum. It writes nothing. Exit code 1 if a rule is broken.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import typer

from analyst.lake_access.open_lake import OpenLake, open_lake
from analyst.landing_counts import day_folders, lines_by_file
from analyst.output.answers import Listing, print_answer
from contracts.errors import MissingTable
from contracts.landing_settings import are_days_expected
from contracts.limits import (
    EMBEDDING_WIDTH,
    MAX_HISTORY_VIEWS,
    MAX_VIEWS,
    MAX_VIEWS_A_DAY,
    SESSION_GAP_MINUTES,
)
from contracts.paths import Places
from contracts.settings.embedding import EmbeddingSettings
from contracts.tables import (
    BROWSING_LOGS,
    MODELS,
    PUBLISHED_EMBEDDINGS,
    PUBLISHED_HISTORY,
    REJECTED_LOGS,
    SEQUENCE_PAIRS,
    SESSIONS,
    TABLES,
    TITLES,
    USER_EMBEDDINGS,
    USER_SEQUENCES,
    Table,
)
from contracts.terminal.options import AsCsv, AsJson

_MAX_EXAMPLES = 3


@dataclass(frozen=True)
class _Rule:
    """`broken` selects the rows that break the rule, from `over`, the first of `tables`."""

    says: str
    tables: tuple[Table, ...]  # the rule applies when all of them exist
    broken: str  # SQL of DuckDB

    @property
    def over(self) -> Table:
        return self.tables[0]


def _no_key_twice(table: Table) -> _Rule:
    key = ", ".join(table.key)
    return _Rule(
        f"no {key} twice",
        (table,),
        f"SELECT {key}, count(*) AS times FROM {table.name} GROUP BY ALL HAVING times > 1",
    )


_AUDIT_RULES = (
    _Rule(
        "A is over before B begins",
        (SEQUENCE_PAIRS,),
        "SELECT as_of, user_id, pair_id FROM sequence_pairs "
        "WHERE list_max(a_event_times) >= list_min(b_event_times)",
    ),
    _Rule(
        f"1 to {MAX_VIEWS} views in A and in B, with a time each",
        (SEQUENCE_PAIRS,),
        "SELECT as_of, user_id, pair_id FROM sequence_pairs "
        f"WHERE NOT (len(a_title_ids) BETWEEN 1 AND {MAX_VIEWS} "
        f"AND len(b_title_ids) BETWEEN 1 AND {MAX_VIEWS} "
        "AND len(a_title_ids) = len(a_event_times) AND len(b_title_ids) = len(b_event_times))",
    ),
    _Rule(
        "no view from on or after as_of",
        (SEQUENCE_PAIRS,),
        "SELECT as_of, user_id, pair_id FROM sequence_pairs "
        "WHERE list_max(list_concat(a_event_times, b_event_times)) >= as_of::TIMESTAMPTZ",
    ),
    _Rule(
        "no view from on or after as_of",
        (USER_SEQUENCES,),
        "SELECT as_of, user_id FROM user_sequences "
        "WHERE list_max(event_times) >= as_of::TIMESTAMPTZ",
    ),
    _Rule(
        f"1 to {MAX_HISTORY_VIEWS} views with a time each, oldest first",
        (USER_SEQUENCES,),
        "SELECT as_of, user_id FROM user_sequences "
        f"WHERE NOT (len(title_ids) BETWEEN 1 AND {MAX_HISTORY_VIEWS} "
        "AND len(title_ids) = len(event_times) AND event_times = list_sort(event_times))",
    ),
    _Rule(
        "a user who viewed on the day before, and no bot, has a sequence",
        (BROWSING_LOGS, USER_SEQUENCES),
        # A view that landed after its night counts in the nights since. West of Greenwich some of a
        # day's views land on the day before, whose folder ends when that day ends there.
        "SELECT event_date + 1 AS as_of, user_id FROM browsing_logs "
        "WHERE as_of::DATE IN (SELECT DISTINCT as_of FROM user_sequences) "
        f"GROUP BY ALL HAVING count(*) <= {MAX_VIEWS_A_DAY} AND min(landing_day) <= event_date "
        "EXCEPT SELECT as_of, user_id FROM user_sequences",
    ),
    _Rule(
        f"at most {SESSION_GAP_MINUTES} minutes from a view to the next",
        (SESSIONS,),
        "SELECT session_date, user_id, session_id FROM sessions WHERE list_max(list_transform("
        "range(1, num_views), i -> event_times[i + 1] - event_times[i])) "
        f"> INTERVAL {SESSION_GAP_MINUTES} MINUTE",
    ),
    _Rule(
        f"more than {SESSION_GAP_MINUTES} minutes from a session to the user's next",
        (SESSIONS,),
        "SELECT session_date, user_id, session_id FROM sessions QUALIFY start_time <= lag(end_time)"
        " OVER (PARTITION BY user_id ORDER BY start_time) "
        f"+ INTERVAL {SESSION_GAP_MINUTES} MINUTE",
    ),
    _Rule(
        "each title that is in a sequence is in titles",
        (USER_SEQUENCES, TITLES),
        "SELECT DISTINCT unnest(title_ids) AS title_id FROM user_sequences "
        "EXCEPT SELECT title_id FROM titles",
    ),
    _Rule(
        f"{EMBEDDING_WIDTH} finite floats of a norm above 0",
        (USER_EMBEDDINGS,),
        "SELECT model_id, as_of, user_id FROM user_embeddings "
        f"WHERE len(embedding) != {EMBEDDING_WIDTH} OR len(list_filter(embedding, "
        "x -> x IS NULL OR NOT isfinite(x))) > 0 OR NOT list_dot_product(embedding, embedding) > 0",
    ),
    _Rule(
        "the sequence that was embedded is the one that is there",
        (PUBLISHED_EMBEDDINGS, USER_SEQUENCES),
        "SELECT p.as_of, p.user_id FROM published_embeddings p JOIN user_sequences s "
        "USING (as_of, user_id) WHERE s.sequence_hash != p.sequence_hash",
    ),
    _Rule(
        "published rows are the champion's, as they are in user_embeddings",
        (PUBLISHED_EMBEDDINGS, USER_EMBEDDINGS, MODELS),
        "SELECT p.as_of, p.user_id FROM published_embeddings p "
        "LEFT JOIN user_embeddings e USING (model_id, as_of, user_id) "
        "WHERE p.embedding IS DISTINCT FROM e.embedding OR p.model_id NOT IN "
        "(SELECT model_id FROM models WHERE status = 'champion' AND models.space_id = p.space_id)",
    ),
    _Rule(
        "each published row is in the history, since the same time",
        (PUBLISHED_EMBEDDINGS, PUBLISHED_HISTORY),
        "SELECT as_of, user_id, written_at FROM published_embeddings "
        "ANTI JOIN published_history USING (model_id, as_of, user_id, written_at)",
    ),
    *map(_no_key_twice, TABLES),
)
_GAPS = (
    "WITH days AS (SELECT landing_day AS day FROM browsing_logs UNION SELECT landing_day FROM "
    "rejected_logs) SELECT unnest(generate_series(min(day), max(day), INTERVAL 1 DAY))::DATE "
    "AS day FROM days EXCEPT SELECT day FROM days"
)
_LINES_RULE = _Rule(
    "lines of the landing files = accepted + refused, on each day",
    (BROWSING_LOGS, REJECTED_LOGS),
    "WITH kept AS (SELECT landing_day AS day, count(*) AS kept FROM (SELECT landing_day FROM "
    "browsing_logs UNION ALL SELECT landing_day FROM rejected_logs) GROUP BY ALL), "
    "damaged AS (SELECT file FROM rejected_logs WHERE reasons[1] LIKE 'damaged file%'), "
    "counts AS (SELECT day, sum(if(file IN (FROM damaged), 1, lines)) AS lines "
    "FROM landing_counts GROUP BY ALL) "
    "SELECT day, lines, kept FROM counts LEFT JOIN kept USING (day) "
    "WHERE kept != lines",  # a day whose folder is gone, or that is not ingested yet, is left out
)


@dataclass(frozen=True)
class Finding:
    table: str
    rule: str
    rows: int  # that were checked
    broken: int
    examples: list[dict[str, Any]]
    sql: str


@dataclass(frozen=True)
class _Audit:
    rules: list[Finding]


def _gaps_rule(landing: Path) -> _Rule:
    """Where no day comes by itself, a day without a folder is a day without views."""
    broken = _GAPS
    if not are_days_expected(landing):
        folders = ", ".join(f"DATE '{path.name}'" for path in day_folders(landing))
        broken = f"SELECT day FROM ({_GAPS}) WHERE list_contains([{folders}]::DATE[], day)"
    says = "no landing day between the first and the last is missing"
    return _Rule(says, (BROWSING_LOGS, REJECTED_LOGS), broken)


def _active_users_rule(settings: EmbeddingSettings) -> _Rule:
    """By a setting, all rows of users who left the window have left with them."""
    newest = "(SELECT max(as_of) FROM published_embeddings)"
    left_the_window = (
        f"AND user_id IN (SELECT user_id FROM user_sequences WHERE as_of <= {newest} "
        "GROUP BY user_id HAVING max(last_view_time) >= "
        f"({newest} - {settings.window_days})::TIMESTAMPTZ) "
    )
    return _Rule(
        "each user who was active before a published day, and has a sequence of it, has a vector",
        (USER_SEQUENCES, PUBLISHED_EMBEDDINGS),
        # Of the others those of a model that is about to be promoted are there before it is.
        "SELECT as_of, user_id FROM user_sequences "
        "WHERE as_of IN (SELECT DISTINCT as_of FROM published_embeddings) "
        "AND last_view_time >= as_of::TIMESTAMPTZ - INTERVAL 1 DAY "
        f"{left_the_window if settings.do_stale_users_leave else ''}"
        "EXCEPT SELECT as_of, user_id FROM published_embeddings",
    )


def _everybody_rule(window_days: int) -> _Rule:
    """A view that landed on or after the newest published day counts from the next night on."""
    newest = "(SELECT max(as_of) FROM published_embeddings)"
    return _Rule(
        f"a user with a view in the {window_days} days before the newest published day, and no "
        "bot, has a vector",
        (BROWSING_LOGS, PUBLISHED_EMBEDDINGS),
        "SELECT DISTINCT user_id FROM (SELECT user_id FROM browsing_logs "
        f"WHERE event_date < {newest} AND event_date >= {newest} - {window_days} "
        f"AND landing_day < {newest} GROUP BY user_id, event_date "
        f"HAVING count(*) <= {MAX_VIEWS_A_DAY}) "
        "EXCEPT SELECT user_id FROM published_embeddings",
    )


def audit(lake: OpenLake) -> Iterator[Finding]:
    """Check each rule whose tables exist."""
    settings = EmbeddingSettings.from_environment()
    rules = (
        *_AUDIT_RULES,
        _active_users_rule(settings),
        _everybody_rule(settings.window_days),
        _gaps_rule(lake.places.landing),
    )
    for rule in rules:
        if lake.has(*rule.tables):
            yield _looked_at(lake, rule, _rows(lake, rule.over))
    if lake.has(*_LINES_RULE.tables) and (counts := _landing_counts(lake)):
        lake.connection.register("landing_counts", pa.Table.from_pylist(counts))
        yield _looked_at(lake, _LINES_RULE, sum(each["lines"] for each in counts))


def _landing_counts(lake: OpenLake) -> list[dict[str, Any]]:
    landing = lake.places.landing
    if not (landing / "settings.toml").exists():
        return []
    return [
        {"day": day, "file": file, "lines": lines} for day, file, lines in lines_by_file(landing)
    ]


def _rows(lake: OpenLake, table: Table) -> int:
    return int(lake.sql(f"SELECT count(*) FROM {table.name}").fetchall()[0][0])


def _looked_at(lake: OpenLake, rule: _Rule, rows: int) -> Finding:
    broken = int(lake.sql(f"SELECT count(*) FROM ({rule.broken})").fetchall()[0][0])
    found = lake.sql(f"SELECT * FROM ({rule.broken}) ORDER BY ALL LIMIT {_MAX_EXAMPLES}")
    examples = [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
    return Finding(rule.over.name, rule.says, rows, broken, examples, rule.broken)


def _findings_listing(found: list[Finding]) -> Listing:
    rows = [(each.table, each.rule, each.rows, each.broken) for each in found]
    return Listing(rows, ("table", "rule", "#rows", "#broken"))


def _report(found: list[Finding], with_sql: bool) -> Iterator[str]:
    """A line for each example of a broken rule; with `with_sql`, each rule's query too."""
    for each in found:
        if with_sql:
            yield f"-- {each.table}: {each.rule}\n{each.sql};"
        for example in each.examples:
            values = ", ".join(f"{name} {value}" for name, value in example.items())
            yield f"broken: {each.table}, {each.rule}: {values}"


def main(
    sql: Annotated[bool, typer.Option("--sql", help="Show the query of each rule.")] = False,
    json: AsJson = False,
    csv: AsCsv = False,
) -> int:
    with open_lake() as lake:
        lake.check_all_pages()
        answer = _Audit(list(audit(lake)))
    if not answer.rules:
        places = Places.from_environment()
        raise MissingTable(
            f"there is no table below {places.lake}, and so no rule to ask: name the right root by "
            "USERBERT_DATA, or make one by `userbert run`"
        )
    rules = _findings_listing(answer.rules)
    print_answer(answer, json, *_report(answer.rules, sql), rules, csv=rules if csv else None)
    return int(any(finding.broken for finding in answer.rules))
