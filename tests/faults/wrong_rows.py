"""For each expectation of each table the rows that break it, by little, and few others.

A case is a list of rows that a suite must not let through, or the number that the gate or the job
measured, where rows do not tell it. A null in each column that has none comes by itself.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from contracts.forecasts import FORECAST_NAMES
from contracts.limits import EMBEDDING_WIDTH, MAX_HISTORY_VIEWS, MAX_TITLE_WORDS, MAX_VIEWS
from contracts.tables import (
    BROWSING_LOGS,
    EVALUATIONS,
    MODELS,
    PUBLISHED_EMBEDDINGS,
    PUBLISHED_HISTORY,
    REJECTED_LOGS,
    SEQUENCE_PAIRS,
    SESSIONS,
    TITLES,
    USER_EMBEDDINGS,
    USER_SEQUENCES,
    Table,
)

Row = dict[str, Any]
Case = Sequence[Row] | float
DAY, AS_OF = date(2017, 6, 25), date(2017, 6, 26)
MIDNIGHT, NOON = datetime(2017, 6, 26), datetime(2017, 6, 25, 12)
MINUTE = timedelta(minutes=1)
MANY = 20  # rows; a share or a spread of fewer passes


def vector(place: int, length: float = 1.0) -> list[float]:
    return [length if n == place else 0.0 for n in range(EMBEDDING_WIDTH)]


def embedded(number: int = 0, **changed: Any) -> Row:
    """A user's row without forecasts."""
    row = {"model_id": "m1", "as_of": AS_OF, "user_id": f"u{number:02}", "as_of_time": MIDNIGHT,
           "space_id": "m1", "embedding": vector(number), "norm": 1.0, "num_views": 2,
           "last_view_time": NOON, "sequence_hash": number, "written_at": MIDNIGHT,
           "is_gone": False}  # fmt: skip
    return row | dict.fromkeys(FORECAST_NAMES) | changed


def forecast(views: float = 12.0) -> Row:
    return dict(zip(FORECAST_NAMES, (0.5, 0.25, views, 3.5, 4.0), strict=True))


# A row that each suite lets through.
GOOD: Mapping[str, Row] = {
    BROWSING_LOGS.name: {
        "event_date": DAY, "log_id": 1, "user_id": "ann", "event_time": NOON, "title_id": 7,
        "title": "A title", "host": None, "landing_day": DAY,
    },
    REJECTED_LOGS.name: {
        "landing_day": DAY, "file": "a", "line": 1, "raw": "{", "reasons": ["not JSON"],
    },
    TITLES.name: {"title_id": 7, "title": "a title", "words": ["a", "title"]},
    SESSIONS.name: {
        "session_date": DAY, "user_id": "ann", "session_id": 5, "start_time": NOON,
        "end_time": NOON + MINUTE, "num_views": 2, "title_ids": [7, 8],
        "event_times": [NOON, NOON + MINUTE],
    },
    USER_SEQUENCES.name: {
        "as_of": AS_OF, "user_id": "ann", "title_ids": [7, 8],
        "event_times": [NOON, NOON + MINUTE], "num_views": 2, "last_view_time": NOON + MINUTE,
        "sequence_hash": 9,
    },
    SEQUENCE_PAIRS.name: {
        "as_of": AS_OF, "user_id": "ann", "pair_id": 0, "a_title_ids": [7, 8],
        "a_event_times": [NOON, NOON + MINUTE], "b_title_ids": [7, 8],
        "b_event_times": [NOON + 60 * MINUTE, NOON + 61 * MINUTE], "a_start": NOON,
        "a_end": NOON + MINUTE, "b_start": NOON + 60 * MINUTE, "b_end": NOON + 61 * MINUTE,
    },
    MODELS.name: {
        "model_id": "m1", "created_at": NOON, "status": "champion", "status_changed_at": NOON,
        "status_reason": "best", "path": "models/m1", "trained_before": AS_OF, "settings": "{}",
        "inputs": "{}", "measures": "{}", "vocabulary_hash": "0f", "code_version": "c",
        "space_id": "m1",
    },
    USER_EMBEDDINGS.name: embedded(),
    PUBLISHED_EMBEDDINGS.name: embedded(),
    PUBLISHED_HISTORY.name: embedded(),
    EVALUATIONS.name: {
        "as_of": AS_OF, "evaluation_id": "e", "model_id": "m1", "task": "churn", "rival": "m1",
        "head": "logistic", "label_share": 1.0, "population": "all", "stale_days": 0,
        "metric": "roc_auc", "num_users": 90, "mean": 0.7, "deviation": 0.1,
        "split_scores": [0.6, 0.8], "difference": 0.0, "p_value": 1.0, "is_leaking": False,
        "was_trained_again": False, "settings": "{}", "evaluated_at": NOON, "code_version": "c",
    },
}  # fmt: skip
# Numbers of a job that went well, with which every expectation stands in its suite.
JOB_MEASURES = {
    "lines_in": 100.0, "accepted": 90.0, "duplicates": 0.0, "refused": 10.0, "future_share": 0.0,
    "title_words": 2_000.0, "unknown_words": 0.0, "title_sequences": 20.0,
    "users_without_vector": 0.0, "stale_users_kept": 0.0,
}  # fmt: skip


def of(table: Table, **changed: Any) -> list[Row]:
    return [GOOD[table.name] | changed]


def vectors(make: Callable[[int], Row]) -> list[Row]:
    return [make(number) for number in range(MANY)]


def far_apart(last: float) -> Callable[[int], Row]:
    """The longest of many vectors is `last` times as long as the others."""

    def make(number: int) -> Row:
        length = last if number == MANY - 1 else 1.0
        return embedded(number, embedding=vector(number, length), norm=length)

    return make


_OUT_OF_RANGE = (1.001, -0.001, float("nan"), -0.01, 28.1)
_EMBEDDED: Mapping[str, Case] = {
    "width": [embedded(embedding=[1.0])],
    "finite_and_not_zero": [embedded(embedding=vector(0, 0.0), norm=0.0)],
    "norm_is_the_vectors": [embedded(norm=1.001)],
    "nothing_from_the_day_itself": [embedded(last_view_time=MIDNIGHT)],
    **{
        f"{name}_in_range": [embedded(**(forecast() | {name: value}))]
        for name, value in zip(FORECAST_NAMES, _OUT_OF_RANGE, strict=True)
    },
    "all_forecasts_or_none": [embedded(**(forecast() | {FORECAST_NAMES[-1]: None}))],
    "rows": [],
    "model_ids": [embedded(0), embedded(1, model_id="m2")],
    "mean_direction_length": vectors(lambda number: embedded(number, embedding=vector(0))),
    "users_without_forecasts": [embedded(0, **forecast()), embedded(1)],
    "distinct_forecasts": vectors(lambda number: embedded(number, **forecast())),
    "norm_ratio": vectors(far_apart(1_001.0)),
}
_SESSION_GAP = [NOON, NOON + 30 * MINUTE + timedelta(microseconds=1)]
_BACKWARDS = [NOON + MINUTE, NOON]
_PAIR = GOOD[SEQUENCE_PAIRS.name]
CASES: Mapping[str, Mapping[str, Case]] = {
    BROWSING_LOGS.name: {
        "day_of_time": of(BROWSING_LOGS, event_date=DAY - timedelta(days=1)),
        "user_is_named": of(BROWSING_LOGS, user_id=""),
        "not_before_it_happened": of(BROWSING_LOGS, landing_day=DAY - timedelta(days=2)),
        "titles_without_words": of(BROWSING_LOGS, title=" "),
        "refused_share": 0.21,
        "future_share": 0.051,
        "lines_lost": 1,
    },
    REJECTED_LOGS.name: {
        "has_a_reason": of(REJECTED_LOGS, reasons=[]),
        "lines_count_from_1": of(REJECTED_LOGS, line=0),
    },
    TITLES.name: {
        "some_words_not_too_many": of(TITLES, words=["w"] * (MAX_TITLE_WORDS + 1)),
        "empty_words": of(TITLES, words=["a", ""]),
        "titles_not_trimmed": of(TITLES, title="a  title"),
    },
    SESSIONS.name: {
        "day_of_start": of(SESSIONS, session_date=AS_OF),
        "starts_before_end": of(SESSIONS, end_time=NOON - MINUTE),
        "views_are_counted": of(SESSIONS, title_ids=[7]),
        "has_views": of(SESSIONS, num_views=0, title_ids=[], event_times=[]),
        "rows": [],
        "event_times_out_of_order": of(SESSIONS, event_times=_BACKWARDS),
        "gaps_over_30_minutes": of(SESSIONS, event_times=_SESSION_GAP, end_time=_SESSION_GAP[1]),
        "ends_not_at_its_views": of(SESSIONS, end_time=NOON + 2 * MINUTE),
    },
    USER_SEQUENCES.name: {
        "some_views_not_too_many": of(
            USER_SEQUENCES,
            num_views=MAX_HISTORY_VIEWS + 1,
            title_ids=[7] * (MAX_HISTORY_VIEWS + 1),
            event_times=[NOON] * (MAX_HISTORY_VIEWS + 1),
            last_view_time=NOON,
        ),
        "views_are_counted": of(USER_SEQUENCES, title_ids=[7]),
        "nothing_from_the_day_itself": of(
            USER_SEQUENCES, event_times=[NOON, MIDNIGHT], last_view_time=MIDNIGHT
        ),
        "last_is_last": of(USER_SEQUENCES, last_view_time=NOON),
        "rows": [],
        "event_times_out_of_order": of(USER_SEQUENCES, event_times=_BACKWARDS, last_view_time=NOON),
    },
    SEQUENCE_PAIRS.name: {
        "a_is_over_before_b": of(
            SEQUENCE_PAIRS, a_end=_PAIR["b_start"], a_event_times=[NOON, _PAIR["b_start"]]
        ),
        "nothing_from_the_day_itself": of(SEQUENCE_PAIRS, b_end=MIDNIGHT),
        "a_fits": of(
            SEQUENCE_PAIRS,
            a_title_ids=[7] * (MAX_VIEWS + 1),
            a_event_times=[NOON] * (MAX_VIEWS + 1),
            a_end=NOON,
        ),
        "b_fits": of(SEQUENCE_PAIRS, b_title_ids=[], b_event_times=[]),
        "a_is_timed": of(SEQUENCE_PAIRS, a_title_ids=[7]),
        "b_is_timed": of(SEQUENCE_PAIRS, b_title_ids=[7]),
        "rows": [],
        "a_event_times_out_of_order": of(
            SEQUENCE_PAIRS, a_event_times=_BACKWARDS, a_end=NOON, a_start=NOON
        ),
        "b_event_times_out_of_order": of(
            SEQUENCE_PAIRS, b_event_times=_PAIR["b_event_times"][::-1], b_start=_PAIR["b_end"]
        ),
        "users": of(SEQUENCE_PAIRS),
        "ends_not_at_its_views": of(SEQUENCE_PAIRS, b_start=_PAIR["b_start"] - MINUTE),
    },
    MODELS.name: {
        "known_status": of(MODELS, status="Champion"),
        "space_is_named": of(MODELS, space_id=""),
        "rows": [],
        "champions": [*of(MODELS), *of(MODELS, model_id="m2")],
        "not_json": of(MODELS, measures="{"),
    },
    USER_EMBEDDINGS.name: {
        **_EMBEDDED,
        "unknown_word_share": 0.101,
        "vectors_a_sequence": vectors(
            lambda number: embedded(number, embedding=vector(number % 9))
        ),
    },
    PUBLISHED_EMBEDDINGS.name: {
        **_EMBEDDED,
        "time_is_the_days": [embedded(as_of_time=NOON)],
        "space_is_named": [embedded(space_id="")],
        "space_ids": [embedded(0), embedded(1, space_id="m2")],
        "written_in_the_future": [embedded(written_at=datetime.now() + timedelta(days=2))],
        "users_without_vector": 1,
        "stale_users_kept": 1,
    },
    PUBLISHED_HISTORY.name: {
        "only_a_gone_row_is_empty": [embedded(embedding=None)],
        "width": [embedded(embedding=[1.0])],
        "time_is_the_days": [embedded(as_of_time=NOON)],
    },
    EVALUATIONS.name: {
        "share_is_a_share": of(EVALUATIONS, label_share=1.01),
        "metric_is_in_range": of(EVALUATIONS, mean=-1.01),
        "p_is_a_probability": of(EVALUATIONS, p_value=1.01),
        "known_population": of(EVALUATIONS, population="everybody"),
        "has_scores": of(EVALUATIONS, split_scores=[]),
        "rows": [],
        "judged_models": of(EVALUATIONS, rival="m2"),
        "scores_beyond_the_metric": of(EVALUATIONS, split_scores=[0.5, 1.01]),
    },
}
MAY_BE_EMPTY = ("browsing_logs", "rejected_logs", "titles", "published_history")


def cases_of(table: Table) -> dict[str, Case]:
    """All of a table's, by the expectation that must see them."""
    nulls = {
        f"nulls_in_{c.name}": [GOOD[table.name] | {c.name: None}]
        for c in table.columns
        if not c.nullable
    }
    none: dict[str, Case] = {"rows": -1} if table.name in MAY_BE_EMPTY else {}
    counted: dict[str, Case] = {"columns_that_differ": 1, "duplicate_keys": 1}
    return {**counted, **nulls, **none, **CASES[table.name]}
