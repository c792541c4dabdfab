"""What must hold of each table: what its contract implies, then what was written by hand.

Great Expectations on Spark runs some twenty jobs a suite. So each expectation here is of one
measure of the frame: one Spark aggregate takes all measures at once, and Great Expectations
judges that one row.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from contracts import tables
from contracts.forecasts import FORECAST_DAYS
from contracts.limits import EMBEDDING_WIDTH, SESSION_GAP_MINUTES
from contracts.tables import Table

_JobMeasures = Mapping[str, float]  # what the job measured of its whole run, by name

COLUMNS_THAT_DIFFER = "columns_that_differ"  # measured before any row is read
DUPLICATE_KEYS = "duplicate_keys"  # measured by a query of its own: it needs a shuffle
_MIN_ROWS = 20  # rows; below it a share or a spread is noise, and passes
_MIN_TITLE_WORDS = 1000  # words of titles; below it their share is noise, and passes
# Refused lines up to which a share of them says nothing of a day, if others of it are accepted: a
# site with five views a day is not stopped by two broken lines. Where they outnumber the accepted
# ones the day is wrong, however small it is: one good line with ten broken ones is no day to
# publish. Of up to four refused lines even that says nothing.
_MAX_FEW_LINES = 10
_MAX_FEW_OF_MOST = 4
MAX_REFUSED_SHARE = 0.2  # real logs: some broken lines, never many
_MAX_FUTURE_SHARE = 0.05  # clocks are off by hours


@dataclass(frozen=True)
class Expected:
    """One measure, and the bounds (inclusive) between which it must lie.

    It is taken by `sql`, an aggregate over the frame, or by counting the rows that `breaks` holds
    of, or from the job's own measures by `from_job`, or, without any of these, by the gate itself.
    """

    measure: str
    says: str  # what holds, in words for whoever reads the failure
    least: float | None = None
    most: float | None = None
    sql: str = ""
    breaks: str = ""  # Spark SQL; null counts as false
    from_job: Callable[[_JobMeasures], float] | None = None

    @property
    def aggregate(self) -> str:
        """The Spark SQL that takes this measure; empty when no query over rows does."""
        return f"count_if(coalesce({self.breaks}, false))" if self.breaks else self.sql


def contract_expectations(table: Table) -> list[Expected]:
    """The contract as expectations: its columns, its key, NOT NULL, and each CHECK.

    As in Delta, a CHECK that is null is broken.
    """
    key = ", ".join(table.key)
    return [
        Expected(COLUMNS_THAT_DIFFER, "the columns are those of contracts/tables.py", most=0),
        Expected(DUPLICATE_KEYS, f"no two rows share ({key})", most=0),
        *(
            Expected(f"nulls_in_{c.name}", f"{c.name} is not null", most=0, breaks=_null(c.name))
            for c in table.columns
            if not c.nullable
        ),
        *(
            Expected(name, condition, most=0, breaks=f"not coalesce({condition}, false)")
            for name, condition in table.checks
        ),
    ]


def _null(column: str) -> str:
    return f"{column} is null"


def _rows(least: int) -> Expected:
    return Expected("rows", f"there are at least {least} rows", least=least, sql="count(1)")


def _oldest_first(times: str) -> Expected:
    says = f"{times} run from the oldest to the newest"
    return Expected(f"{times}_out_of_order", says, most=0, breaks=f"{times} <> sort_array({times})")


def _one(column: str) -> Expected:
    differ = f"if(min({column}) = max({column}), 1, 2)"
    return Expected(f"{column}s", f"all rows have the same {column}", most=1, sql=differ)


def refused_share(job_measures: _JobMeasures) -> float:
    """Of all lines those that were refused; 0 where these are few and others were accepted."""
    num_lines = max(job_measures["lines_in"], 1)
    return _unless_few(job_measures.get("refused", float("nan")) / num_lines, job_measures)


def future_share(job_measures: _JobMeasures) -> float:
    """Of all lines those of a time after their landing day; 0 as in `refused_share`."""
    return _unless_few(job_measures.get("future_share", float("nan")), job_measures)


def _unless_few(share: float, job_measures: _JobMeasures) -> float:
    """A day of which nothing was accepted is judged however small it is."""
    num_accepted = job_measures.get("accepted", 0)
    num_lines = round(share * job_measures["lines_in"], 6)  # NaN is never few
    most = _MAX_FEW_LINES if num_lines <= num_accepted else _MAX_FEW_OF_MOST
    return 0.0 if num_lines <= most and num_accepted > 0 else share


def lines_lost(job_measures: _JobMeasures) -> float:
    """A line that is sent twice is no broken line."""
    ends = ("accepted", "duplicates", "refused")
    num_ended = sum(job_measures.get(end, float("nan")) for end in ends)
    num_ended += sum(job_measures.get(end, 0) for end in ("forgotten", "nobody"))
    return abs(job_measures["lines_in"] - num_ended)


def _unknown_word_share(job_measures: _JobMeasures) -> float:
    """Of the words of the day's titles, those that the model has no vector for."""
    num_words = job_measures.get("title_words", float("nan"))
    if num_words < _MIN_TITLE_WORDS:
        return 0.0
    return job_measures.get("unknown_words", float("nan")) / num_words


# For the job that embeds: it counts the `title_words` of its day's titles, and the `unknown_words`.
# A tenth of unknown words turned a user's vector by a cosine of 0.90 to 0.66 on average.
_EMBEDDING = [
    Expected(
        "unknown_word_share",
        "at most a tenth of the words of the day's titles are unknown to the model; train a new "
        "one on the words of today",
        most=0.1,
        from_job=_unknown_word_share,
    )
]

# For a publication that counts the `usable_users`, and of them the `users_without_vector`.
_COVERAGE = [
    Expected(
        "users_without_vector",
        "each user with a view in the window has a vector; `userbert user-sequences --as-of DAY`, "
        "`user-embeddings` and `published-embeddings` make those that lack one",
        most=0,
        from_job=lambda job_measures: job_measures["users_without_vector"],
    )
]

# For a publication under the setting stale_users = "leave".
_NOBODY_STALE = [
    Expected(
        "stale_users_kept",
        "nobody is published who has no view in the window (stale_users in conf/embedding.toml)",
        most=0,
        from_job=lambda job_measures: job_measures["stale_users_kept"],
    )
]

# For a job that tells how many `lines_in` it read, how many were `accepted`, `duplicates` and
# `refused`, its `future_share`, and each reason's count as "refused: REASON".
_INGEST = [
    Expected(
        "refused_share",
        f"at most a fifth of the lines are refused, or at most {_MAX_FEW_LINES} lines and no more "
        f"than are accepted, or at most {_MAX_FEW_OF_MOST} lines beside an accepted one",
        most=MAX_REFUSED_SHARE,
        from_job=refused_share,
    ),
    Expected(
        "future_share",
        "at most one line in twenty is of a time after its landing day, or at most "
        f"{_MAX_FEW_LINES} lines and no more than are accepted",
        most=_MAX_FUTURE_SHARE,
        from_job=future_share,
    ),
    Expected(
        "lines_lost",
        "accepted + duplicates + refused + forgotten + nobody = lines_in",
        most=0,
        from_job=lines_lost,
    ),
]

# Hashing a vector takes Spark 170 us, this takes 5: equal vectors lie at equal places on one fixed
# line, and others, but for chance, do not.
_LINE_WEIGHTS = ", ".join(f"{math.sqrt(i):.6g}f" for i in range(1, EMBEDDING_WIDTH + 1))
_PLACE_ON_LINE = (
    f"if(size(embedding) = {EMBEDDING_WIDTH}, "
    f"vector_inner_product(embedding, array({_LINE_WEIGHTS})), null)"
)

_VIEWS = f"views_{FORECAST_DAYS}_days"
# One vector for all is a collapse: the mean of the unit vectors is as long as they are.
_VECTORS = [
    _rows(1),
    _one("model_id"),
    Expected(
        "mean_direction_length",
        "the vectors do not all point the same way",
        most=0.9999,
        sql=f"if(count(1) < {_MIN_ROWS}, 0d, vector_norm(vector_avg(vector_normalize(embedding))))",
    ),
    # Of a model that forecasts nothing both pass: its rows are all null.
    Expected(
        "users_without_forecasts",
        "either every user has forecasts or nobody",
        most=0,
        sql=f"if(count({_VIEWS}) = 0, 0, count_if({_VIEWS} is null))",
    ),
    Expected(
        "distinct_forecasts",
        "users are not all forecast the same number of views",
        least=2,
        sql=f"if(count({_VIEWS}) < {_MIN_ROWS}, 2, approx_count_distinct({_VIEWS}))",
    ),
    Expected(
        "norm_ratio",
        "the longest vector is at most 1,000 times as long as the shortest",
        most=1e3,
        sql=f"if(count(1) < {_MIN_ROWS}, 1d, try_divide(max(norm), min(norm)))",
    ),
]


def _vectors_a_sequence(job_measures: _JobMeasures) -> Expected:
    """Few vectors for many inputs are the other collapse: fewer than half as many as there are
    distinct sequences of titles (both counts are approximate, within 5 %).

    The job counts `title_sequences`, since sequence_hash is of the times too, and a model that
    reads no times has one vector for all who viewed the same titles.
    """
    num_sequences = max(job_measures["title_sequences"], 1)
    return Expected(
        "vectors_a_sequence",
        "different sequences of titles have different vectors",
        least=0.5,
        sql=f"if(count(1) < {_MIN_ROWS}, 1d, "
        f"approx_count_distinct({_PLACE_ON_LINE}) / {num_sequences})",
    )


_GAPS = "zip_with(slice(event_times, 2, num_views), event_times, (later, t) -> later - t)"

_BY_HAND: Mapping[str, list[Expected]] = {
    tables.BROWSING_LOGS.name: [
        Expected(
            "titles_without_words",
            "a title has something besides blanks",
            most=0,
            breaks="trim(title) = ''",
        ),
    ],
    tables.TITLES.name: [
        Expected(
            "empty_words",
            "no word of a title is empty",
            most=0,
            breaks="array_contains(words, '')",
        ),
        Expected(
            "titles_not_trimmed",
            "titles are trimmed, white space folded",
            most=0,
            breaks="title <> trim(title) or contains(title, '  ')",
        ),
    ],
    tables.SESSIONS.name: [
        _rows(1),
        _oldest_first("event_times"),
        Expected(
            f"gaps_over_{SESSION_GAP_MINUTES}_minutes",
            f"no gap in a session is over {SESSION_GAP_MINUTES} minutes",
            most=0,
            breaks=f"exists({_GAPS}, gap -> gap > interval '{SESSION_GAP_MINUTES}' minute)",
        ),
        Expected(
            "ends_not_at_its_views",
            "start_time and end_time are those of the first and the last view",
            most=0,
            breaks="start_time <> event_times[0] or end_time <> event_times[num_views - 1]",
        ),
    ],
    tables.USER_SEQUENCES.name: [_rows(1), _oldest_first("event_times")],
    tables.SEQUENCE_PAIRS.name: [
        _rows(1),
        _oldest_first("a_event_times"),
        _oldest_first("b_event_times"),
        Expected(
            "users",
            "at least two users have pairs: a negative is another user's sequence",
            least=2,
            sql="approx_count_distinct(user_id)",
        ),
        Expected(
            "ends_not_at_its_views",
            "a_end and b_start are those of A's last and B's first view",
            most=0,
            breaks="a_end <> element_at(a_event_times, -1) or b_start <> b_event_times[0]",
        ),
    ],
    # The gate of `models` sees the whole table, for a change of one row is judged by the others.
    tables.MODELS.name: [
        _rows(1),
        Expected(
            "champions",
            "at most one model is the champion",
            most=1,
            sql="count_if(status = 'champion')",
        ),
        Expected(
            "not_json",
            "settings, inputs and measures are JSON",
            most=0,
            breaks="get_json_object(settings, '$') is null or get_json_object(inputs, '$') is null "
            "or get_json_object(measures, '$') is null",
        ),
    ],
    tables.USER_EMBEDDINGS.name: _VECTORS,
    tables.PUBLISHED_EMBEDDINGS.name: [
        *_VECTORS,
        _one("space_id"),
        Expected(
            "written_in_the_future",
            "no row is written later than now: the machines' clocks agree within five minutes",
            most=0,
            breaks="written_at > current_timestamp() + interval '5' minute",
        ),
    ],
    tables.EVALUATIONS.name: [
        _rows(1),
        Expected(
            "judged_models",
            "the judged model is among the rivals, with a difference of zero",
            least=1,
            sql="count_if(rival = model_id and difference = 0)",
        ),
        Expected(
            "scores_beyond_the_metric",
            "every score of a split lies between -1 and 1",
            most=0,
            breaks="array_min(split_scores) < -1 or array_max(split_scores) > 1",
        ),
    ],
}


def suite_expectations(table: Table, job_measures: _JobMeasures) -> list[Expected]:
    """All that must hold of `table`, given what its job measured."""
    by_job = []
    if table is tables.BROWSING_LOGS and "lines_in" in job_measures:
        by_job = _INGEST
    if table is tables.USER_EMBEDDINGS and "title_words" in job_measures:
        by_job = _EMBEDDING
    if table is tables.USER_EMBEDDINGS and "title_sequences" in job_measures:
        by_job = [*by_job, _vectors_a_sequence(job_measures)]
    if table is tables.PUBLISHED_EMBEDDINGS and "users_without_vector" in job_measures:
        by_job = [*_COVERAGE, *(_NOBODY_STALE if "stale_users_kept" in job_measures else [])]
    by_hand = _BY_HAND.get(table.name, [])
    counted = [] if any(e.measure == "rows" for e in by_hand) else [_rows(0)]
    return [*contract_expectations(table), *counted, *by_hand, *by_job]
