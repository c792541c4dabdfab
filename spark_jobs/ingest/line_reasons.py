"""What a landing line says of a view, and what is wrong with it, whatever the other lines are."""

from __future__ import annotations

from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.landing_settings import LINE_ID, OPTIONAL_COLUMNS, REQUIRED_COLUMNS, LandingSettings
from contracts.tables import BROWSING_LOGS
from contracts.user_lists import trim_user_id
from spark_jobs.ingest.event_time import event_time
from spark_jobs.ingest.pseudonymized_lines import keyed_view_id
from spark_jobs.ingest.reason_kinds import (
    AFTER_LANDING_DAY,
    EARLIEST_TIME,
    NOBODYS_LINE,
    NUL_IN_USER,
    SHOWN_CHARACTERS,
    UNREADABLE_TIME,
)
from spark_jobs.transforms.title_text import normalized_title, title_id


def judged_alone(lines: DataFrame, settings: LandingSettings) -> DataFrame:
    """browsing_logs' columns of each line, its `place`, and `reasons`: all that is wrong with it,
    or null where nothing is."""
    return _with_reasons(_with_facts(lines, settings), settings)


def _with_facts(lines: DataFrame, settings: LandingSettings) -> DataFrame:
    """Add what browsing_logs holds of a line; null where the line does not say."""
    # A null column leaves xxhash64 as it is, so a new optional column changes no view's id.
    facts = F.xxhash64(*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)
    log_id = F.xxhash64(LINE_ID) if LINE_ID in settings.columns else facts
    if settings.pseudonyms and LINE_ID not in settings.columns:
        log_id = keyed_view_id()  # event_time is an instant where it is asked
    time = F.coalesce("instant", event_time(F.col("event_time"), settings))
    return (
        lines.withColumn("time_text", F.col("event_time"))
        .withColumn("event_time", time)
        .withColumn("event_date", F.to_date("event_time"))
        .withColumn("normalized", F.coalesce("folded", normalized_title(F.col("title"))))
        .withColumn("title_id", title_id(F.col("normalized")))
        .withColumn("line_id", F.col(LINE_ID))
        .withColumn(LINE_ID, log_id)
    )


def _with_reasons(lines: DataFrame, settings: LandingSettings) -> DataFrame:
    """Add `reasons`: all that is wrong with the line itself, null where nothing is."""
    conditions = _conditions(settings)
    time = F.coalesce("time_text", F.col("event_time").cast("string"))
    shown = F.concat(F.lit(" ("), F.substring(time, 1, SHOWN_CHARACTERS), F.lit(")"))
    details = {
        # Where ids are pseudonyms nothing of an unreadable time is shown: it may be an id.
        "time": F.lit("") if settings.pseudonyms else F.coalesce(shown, F.lit("")),
        NOBODYS_LINE: F.concat(F.lit(" ("), "user_id", F.lit(")")),
    }
    reasons = [F.when(condition, _reason(kind, details)) for kind, condition in conditions.items()]
    # Arrays are built for the few lines that have a reason.
    is_bad = reduce(Column.__or__, conditions.values(), F.col("parse_errors").isNotNull())
    all_reasons = F.when(is_bad, F.coalesce("parse_errors", F.array_compact(F.array(*reasons))))
    return lines.select("place", *BROWSING_LOGS.names, all_reasons.alias("reasons"))


def _reason(kind: str, details: dict[str, Column]) -> Column:
    shown = next((detail for word, detail in details.items() if word in kind), None)
    return F.lit(kind) if shown is None else F.concat(F.lit(kind), shown)


def _conditions(settings: LandingSettings) -> dict[str, Column]:
    """By the kind of a reason, whether it holds of a line; never null."""
    time, no = F.col("event_time"), F.lit(False)
    is_early = time < F.lit(str(EARLIEST_TIME)).cast("timestamp")
    conditions = {
        "blank user_id": _is_blank(F.col("user_id")),
        NUL_IN_USER: F.coalesce(F.contains("user_id", F.lit("\0")), no),
        "blank title": F.coalesce(F.col("normalized"), F.lit("")) == "",
        UNREADABLE_TIME: time.isNull(),
        AFTER_LANDING_DAY: F.coalesce(_day_in(settings.time_zone) > F.col("landing_day"), no),
        f"event_time before {EARLIEST_TIME.year}": F.coalesce(is_early, no),
    }
    if settings.nobody:
        names = sorted({trim_user_id(name).lower() for name in settings.nobody})
        conditions[NOBODYS_LINE] = F.coalesce(F.lower("user_id").isin(names), no)
    if LINE_ID in settings.columns:
        conditions["blank log_id"] = _is_blank(F.col("line_id"))
    return conditions


def _day_in(time_zone: str) -> Column:
    """The day of a view in the zone of the landing files, whose folders are named for it."""
    if time_zone == "UTC":
        return F.col("event_date")
    return F.to_date(F.from_utc_timestamp("event_time", time_zone))


def _is_blank(text: Column) -> Column:
    """Whoever begins with a visible ASCII character, nearly all, is asked no regular expression."""
    is_visible = F.ascii(text).between(ord("!"), ord("~"))
    return text.isNull() | (~is_visible & (normalized_title(text) == ""))
