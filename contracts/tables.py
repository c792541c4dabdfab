"""Every table of the lake, declared once.

Only the standard library is imported here, so a DAG file, a Spark job, a training run
and a Feast definition can all read this module at no cost.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from contracts.forecasts import FORECAST_NAMES, USER_FORECASTS
from contracts.limits import (
    EMBEDDING_WIDTH,
    MAX_HISTORY_VIEWS,
    MAX_TITLE_WORDS,
    MAX_VIEWS,
    SESSION_GAP_MINUTES,
)
from contracts.vectors import OWN_SPACE_SQL

# Raise it when the meaning of stored rows changes although no column or CHECK does, say when an id
# is hashed in another way. Code refuses a lake of a higher version: newer code wrote it.
# 2: sequence_hash is also of the times; it was of the titles alone.
LAYOUT_VERSION = 2
WRITTEN_AT = "written_at"  # Feast's created timestamp: since when a row is known


@dataclass(frozen=True)
class Column:
    """A column that a table gains later must be nullable or have a `default`, for Lake adds it to
    the tables that exist (docs/lake-layout.md)."""

    name: str
    type: str  # a Spark SQL type
    doc: str  # what one value means, with its unit
    nullable: bool = False
    # SQL of Spark over the other columns, that rows of before get; of text, SQL of DuckDB as well.
    default: str | None = None


@dataclass(frozen=True)
class Table:
    """A Delta table of the lake.

    `checks` are Spark SQL conditions that hold of each row. They become the table's CHECK
    constraints, so that Delta itself refuses a row that breaks one, and the gate's first
    expectations, so that the refusal is readable. No lambdas, so that every reader can parse them.
    """

    name: str
    doc: str  # what one row is
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    partition_by: tuple[str, ...] = ()
    checks: tuple[tuple[str, str], ...] = ()  # (name, condition)
    change_feed: bool = False  # a later job reads what changed
    # (name, condition) of CHECKs that earlier contracts had: Lake drops them from older tables.
    former_checks: tuple[tuple[str, str], ...] = ()

    @property
    def ddl(self) -> str:
        return ", ".join(
            f"{c.name} {c.type}{'' if c.nullable else ' NOT NULL'}" for c in self.columns
        )

    @property
    def names(self) -> list[str]:
        return [c.name for c in self.columns]

    def gained_columns(self, held: Collection[str]) -> list[Column]:
        """What a stored table with the columns `held` lacks until the next job opens it."""
        return [
            column
            for column in self.columns
            if column.name not in held and (column.nullable or column.default is not None)
        ]

    @property
    def fingerprint(self) -> str:
        """Of all that the stored table must agree with: equal contracts, equal text."""
        columns = [(c.name, c.type, c.nullable) for c in self.columns]
        facts = json.dumps([columns, self.partition_by, self.checks])
        return hashlib.sha256(facts.encode()).hexdigest()[:16]


BROWSING_LOGS = Table(
    name="browsing_logs",
    doc="A page view.",
    key=("event_date", "log_id"),
    partition_by=("event_date",),
    columns=(
        Column("event_date", "date", "the UTC day of event_time"),
        Column("log_id", "bigint", "xxhash64 of the line's own id or, without one, of its facts"),
        Column("user_id", "string", "who viewed"),
        Column("event_time", "timestamp", "when, UTC, to the microsecond"),
        Column("title_id", "bigint", "xxhash64 of the normalized title"),
        Column("title", "string", "the page's title as it was logged"),
        # Each nullable text is an optional column of the landing files: an entry here is all that a
        # new one takes.
        Column("host", "string", "the site that was visited", nullable=True),
        Column(
            "landing_day",
            "date",
            "the day of the landing folder that first held the view, in the landing files' zone",
        ),
    ),
    checks=(
        ("day_of_time", "event_date = cast(event_time as date)"),
        ("user_is_named", "user_id <> ''"),
        # West of Greenwich the last hours of a landing day are of the next UTC day.
        ("not_before_it_happened", "landing_day >= date_sub(event_date, 1)"),
    ),
    former_checks=(("not_before_it_happened", "landing_day >= event_date"),),
    change_feed=True,
)

REJECTED_LOGS = Table(
    name="rejected_logs",
    doc="A landing line that was refused, whole. Lines in = browsing_logs + rejected_logs.",
    key=("landing_day", "file", "line"),
    partition_by=("landing_day",),
    columns=(
        Column("landing_day", "date", "the day of the landing folder"),
        Column("file", "string", "path of the file below the landing folder"),
        Column("line", "bigint", "its place in the file, from 1; a row's place for Parquet"),
        Column("raw", "string", "the line as it was; a Parquet row as JSON"),
        Column("reasons", "array<string>", "why it was refused, at least one"),
    ),
    checks=(("has_a_reason", "size(reasons) > 0"), ("lines_count_from_1", "line >= 1")),
)

TITLES = Table(
    name="titles",
    doc="A distinct title, normalized and tokenized.",
    key=("title_id",),
    columns=(
        Column("title_id", "bigint", "xxhash64 of title"),
        Column("title", "string", "lower case, white space folded to one blank, trimmed"),
        Column("words", "array<string>", f"NLTK's tokens, the first {MAX_TITLE_WORDS} at most"),
    ),
    checks=(("some_words_not_too_many", f"size(words) between 1 and {MAX_TITLE_WORDS}"),),
)

SESSIONS = Table(
    name="sessions",
    doc=f"A run of one user's views with no gap over {SESSION_GAP_MINUTES} minutes; it may pass "
    "midnight.",
    key=("session_date", "user_id", "session_id"),
    partition_by=("session_date",),
    columns=(
        Column("session_date", "date", "the UTC day of start_time"),
        Column("user_id", "string", "whose views"),
        Column("session_id", "bigint", "xxhash64 of user_id and start_time"),
        Column("start_time", "timestamp", "of the first view, UTC"),
        Column("end_time", "timestamp", "of the last view, UTC"),
        Column("num_views", "int", "length of the two arrays"),
        Column("title_ids", "array<bigint>", "what was viewed, oldest first; ties go by log_id"),
        Column("event_times", "array<timestamp>", "when, UTC, in the order of title_ids"),
    ),
    checks=(
        ("day_of_start", "session_date = cast(start_time as date)"),
        ("starts_before_end", "start_time <= end_time"),
        ("views_are_counted", "num_views = size(title_ids) and num_views = size(event_times)"),
        ("has_views", "num_views > 0"),
    ),
)

USER_SEQUENCES = Table(
    name="user_sequences",
    doc=f"The newest views, at most {MAX_HISTORY_VIEWS:,}, of a user who viewed on the day before "
    "as_of. A model may read fewer: the newest ones.",
    key=("as_of", "user_id"),
    partition_by=("as_of",),
    columns=(
        Column("as_of", "date", "only views from before this UTC day's first instant count"),
        Column("user_id", "string", "whose views"),
        Column("title_ids", "array<bigint>", "what was viewed, oldest first"),
        Column("event_times", "array<timestamp>", "when, UTC, in the order of title_ids"),
        Column("num_views", "int", "length of the two arrays"),
        Column("last_view_time", "timestamp", "of the newest view, UTC"),
        Column(
            "sequence_hash",
            "bigint",
            "xxhash64 of title_ids and event_times: all that a model reads, but for as_of",
        ),
    ),
    checks=(
        ("some_views_not_too_many", f"num_views between 1 and {MAX_HISTORY_VIEWS}"),
        ("views_are_counted", "num_views = size(title_ids) and num_views = size(event_times)"),
        ("nothing_from_the_day_itself", "last_view_time < cast(as_of as timestamp)"),
        ("last_is_last", "last_view_time = event_times[num_views - 1]"),
    ),
    former_checks=(("some_views_not_too_many", "num_views between 1 and 100"),),
)

SEQUENCE_PAIRS = Table(
    name="sequence_pairs",
    doc="Two sequences A and B of one user, each of whole sessions, A over before B begins.",
    key=("as_of", "user_id", "pair_id"),
    partition_by=("as_of",),
    columns=(
        Column("as_of", "date", "only views from before this UTC day's first instant count"),
        Column("user_id", "string", "whose views"),
        Column("pair_id", "int", "0 for the user's oldest pair"),
        Column("a_title_ids", "array<bigint>", "A, oldest first"),
        Column("a_event_times", "array<timestamp>", "UTC, in the order of a_title_ids"),
        Column("b_title_ids", "array<bigint>", "B, oldest first"),
        Column("b_event_times", "array<timestamp>", "UTC, in the order of b_title_ids"),
        Column("a_start", "timestamp", "of A's first view, UTC"),
        Column("a_end", "timestamp", "of A's last view, UTC"),
        Column("b_start", "timestamp", "of B's first view, UTC"),
        Column("b_end", "timestamp", "of B's last view, UTC"),
    ),
    checks=(
        ("a_is_over_before_b", "a_start <= a_end and a_end < b_start and b_start <= b_end"),
        ("nothing_from_the_day_itself", "b_end < cast(as_of as timestamp)"),
        ("a_fits", f"size(a_title_ids) between 1 and {MAX_VIEWS}"),
        ("b_fits", f"size(b_title_ids) between 1 and {MAX_VIEWS}"),
        ("a_is_timed", "size(a_title_ids) = size(a_event_times)"),
        ("b_is_timed", "size(b_title_ids) = size(b_event_times)"),
    ),
)

_SPACE_ID = Column(
    "space_id",
    "string",
    "the space that the model's vectors live in: its own, or that of the model it was aligned with",
    default=OWN_SPACE_SQL,
)
_SPACE_IS_NAMED = ("space_is_named", "space_id <> ''")

MODELS = Table(
    name="models",
    doc="A trained model and its standing. At most one is the champion.",
    key=("model_id",),
    columns=(
        Column("model_id", "string", "its settings, content and day, as a name"),
        Column("created_at", "timestamp", "when it was registered, UTC"),
        Column("status", "string", "candidate, champion, retired or refused"),
        Column("status_changed_at", "timestamp", "when it came to this status, UTC"),
        Column("status_reason", "string", "why it has this status"),
        Column("path", "string", "folder of weights, manifest and vocabulary"),
        Column("trained_before", "date", "only views from before this UTC day were seen"),
        Column("settings", "string", "every setting of the training run, as JSON"),
        Column("inputs", "string", "the Delta version of each table that was read, as JSON"),
        Column("measures", "string", "on held-out users, by name, as JSON"),
        Column("vocabulary_hash", "string", "sha256 of the vocabulary"),
        Column("code_version", "string", "commit of the code that trained it"),
        _SPACE_ID,
    ),
    checks=(
        ("known_status", "status in ('candidate', 'champion', 'retired', 'refused')"),
        _SPACE_IS_NAMED,
    ),
)

_EMBEDDING = (
    Column("embedding", "array<float>", f"the user's vector, {EMBEDDING_WIDTH} finite floats"),
    Column("norm", "double", "Euclidean length of the vector, above 0"),
    Column(
        "num_views", "int", "views in the user's sequence, of which a model may read the newest"
    ),
    Column("last_view_time", "timestamp", "of the newest of them, UTC"),
    Column(
        "sequence_hash",
        "bigint",
        "user_sequences.sequence_hash of the input: equal hash, model_id and as_of, equal vector",
    ),
)
_FORECAST_COLUMNS = tuple(
    Column(each.name, "float", f"forecast: {each.doc}; null: the model makes none", nullable=True)
    for each in USER_FORECASTS
)
_HIGHEST_FORECAST = "1e9"  # where a forecast has no bound of its own; no NaN is below it
_FORECAST_CHECKS = (
    *(
        (
            f"{each.name}_in_range",
            f"{each.name} is null or {each.name} between 0 and {each.highest or _HIGHEST_FORECAST}",
        )
        for each in USER_FORECASTS
    ),
    (
        "all_forecasts_or_none",
        " and ".join(
            f"({FORECAST_NAMES[0]} is null) = ({name} is null)" for name in FORECAST_NAMES[1:]
        ),
    ),
)
_EMBEDDING_CHECKS = (
    ("width", f"size(embedding) = {EMBEDDING_WIDTH}"),
    # A vector with a NaN or an infinity has a norm of neither; NaN is the largest double to Spark.
    ("finite_and_not_zero", "norm > 0 and norm < 1e30"),
    ("norm_is_the_vectors", "abs(vector_norm(embedding) - norm) <= 1e-4 * norm"),
    ("nothing_from_the_day_itself", "last_view_time < cast(as_of as timestamp)"),
    *_FORECAST_CHECKS,
)

USER_EMBEDDINGS = Table(
    name="user_embeddings",
    doc="A user's vector under one model as of one day, and its forecasts. Compare vectors of one "
    "model_id only.",
    key=("model_id", "as_of", "user_id"),
    partition_by=("model_id", "as_of"),
    columns=(
        Column("model_id", "string", "whose space the vector lives in"),
        Column("as_of", "date", "only views from before this UTC day's first instant count"),
        Column("user_id", "string", "whose vector"),
        *_EMBEDDING,
        *_FORECAST_COLUMNS,
    ),
    checks=_EMBEDDING_CHECKS,
    change_feed=True,
)

PUBLISHED_EMBEDDINGS = Table(
    name="published_embeddings",
    doc="The champion's rows of user_embeddings, which the feature store serves: one space only.",
    key=("as_of", "user_id"),
    partition_by=("as_of",),
    columns=(
        Column("as_of", "date", "only views from before this UTC day's first instant count"),
        Column("user_id", "string", "whose vector"),
        Column("as_of_time", "timestamp", "the first instant of as_of, UTC: the feature's time"),
        Column("model_id", "string", "the champion, the same in every row"),
        _SPACE_ID,
        *_EMBEDDING,
        *_FORECAST_COLUMNS,
        # The rows that an older code wrote get the time of the file that they lie in.
        Column(
            WRITTEN_AT,
            "timestamp",
            "of the commit that first published the row as it is, UTC: publishing equal content "
            "again leaves it",
            default="_metadata.file_modification_time",
        ),
    ),
    checks=(
        *_EMBEDDING_CHECKS,
        ("time_is_the_days", "as_of_time = cast(as_of as timestamp)"),
        _SPACE_IS_NAMED,
    ),
    change_feed=True,
)

# What a vector says, without whose it is, of which day, and since when.
PUBLISHED_CONTENT = tuple(
    column
    for column in PUBLISHED_EMBEDDINGS.columns
    if column.name not in ("as_of", "user_id", "as_of_time", "model_id", WRITTEN_AT)
)

PUBLISHED_HISTORY = Table(
    name="published_history",
    doc="Each row that published_embeddings ever held, from the commit on that published it. What "
    "was known at a time is each (model_id, as_of, user_id)'s newest row written by then.",
    key=("model_id", "as_of", "user_id", WRITTEN_AT),
    partition_by=("model_id", "as_of"),
    columns=(
        Column("model_id", "string", "whose space the vector lives in"),
        Column("as_of", "date", "only views from before this UTC day's first instant count"),
        Column("user_id", "string", "whose vector"),
        Column("as_of_time", "timestamp", "the first instant of as_of, UTC: the feature's time"),
        Column(WRITTEN_AT, "timestamp", "of the commit that published the row, UTC"),
        Column(
            "is_gone",
            "boolean",
            "the commit took the user's row of the day out: the content is that of the user's "
            "newest earlier row, or null where there is none",
        ),
        *(replace(column, nullable=True) for column in PUBLISHED_CONTENT),
    ),
    checks=(
        ("only_a_gone_row_is_empty", "is_gone or embedding is not null"),
        ("width", f"embedding is null or size(embedding) = {EMBEDDING_WIDTH}"),
        ("time_is_the_days", "as_of_time = cast(as_of as timestamp)"),
    ),
)

EVALUATIONS = Table(
    name="evaluations",
    doc="How well a rival's vectors answer a task, by `userbert evaluate downstream`.",
    key=(
        "as_of",
        "evaluation_id",
        "task",
        "rival",
        "head",
        "label_share",
        "population",
        "stale_days",
    ),
    partition_by=("as_of",),
    columns=(
        Column("as_of", "date", "the cut: vectors use views from before it, labels views after it"),
        Column("evaluation_id", "string", "names the run: its settings, its data and its models"),
        Column("model_id", "string", "the judged model, which difference and p_value are against"),
        Column("task", "string", "what was asked"),
        Column("rival", "string", "whose vectors: a model_id, or the name of a rival"),
        Column("head", "string", "logistic (ridge for a number) or lightgbm"),
        Column("label_share", "double", "share of the training users' labels that the head saw"),
        Column("population", "string", "test users: all, cold, or seen_early"),
        Column("stale_days", "int", "age of the vectors at the cut, in days"),
        Column("metric", "string", "roc_auc (the mean over columns) or spearman"),
        Column("num_users", "int", "users with a label"),
        Column("mean", "double", "of the metric over the splits"),
        Column("deviation", "double", "of the metric over the splits"),
        Column("split_scores", "array<double>", "the metric of each split that allows one"),
        Column("difference", "double", "mean of the judged model minus this one"),
        Column("p_value", "double", "of the corrected paired t-test against the judged model"),
        Column("is_leaking", "boolean", "aggregates all but solve the task, so it does not count"),
        Column("was_trained_again", "boolean", "a twin trained on the views before the cut"),
        Column("settings", "string", "every setting of the run, as JSON"),
        Column("evaluated_at", "timestamp", "when it was recorded, UTC"),
        Column("code_version", "string", "commit of the code that judged"),
    ),
    checks=(
        ("share_is_a_share", "label_share > 0 and label_share <= 1"),
        ("metric_is_in_range", "mean between -1 and 1"),
        ("p_is_a_probability", "p_value between 0 and 1"),
        ("known_population", "population in ('all', 'cold', 'seen_early')"),
        ("has_scores", "size(split_scores) > 0"),
    ),
)

TABLES = (
    BROWSING_LOGS,
    REJECTED_LOGS,
    TITLES,
    SESSIONS,
    USER_SEQUENCES,
    SEQUENCE_PAIRS,
    MODELS,
    USER_EMBEDDINGS,
    PUBLISHED_EMBEDDINGS,
    PUBLISHED_HISTORY,
    EVALUATIONS,
)

# What each table is made from: tables, or what comes from outside of the lake.
TABLE_SOURCES: Mapping[str, tuple[str, ...]] = {
    "browsing_logs": ("landing files",),
    "rejected_logs": ("landing files",),
    "titles": ("browsing_logs",),
    "sessions": ("browsing_logs",),
    "user_sequences": ("sessions",),
    "sequence_pairs": ("sessions",),
    "models": ("sequence_pairs", "titles", "sessions"),
    "user_embeddings": ("user_sequences", "titles", "models"),
    "published_embeddings": ("user_embeddings", "models"),
    "published_history": ("published_embeddings",),
    "evaluations": ("user_embeddings", "sessions", "titles"),
}
