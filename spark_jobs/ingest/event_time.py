"""The time of a view from the text that a landing file holds."""

from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F

from contracts.errors import BadInput
from contracts.landing_settings import LandingSettings
from spark_jobs.ingest.parsing.time_texts import EPOCHS, ISO_MINUTES, ISO_TIME, ISO_ZONE

_ZONE_LETTERS = frozenset("VzOXxZ")  # of a Spark datetime pattern


def event_time(text: Column, settings: LandingSettings) -> Column:
    """The instant that `text` names, to the microsecond, or null where it names none.

    A time without a zone is one of `settings.time_zone`; of the two instants that share a wall
    clock when summer time ends it is the earlier, and a wall clock that summer time skips moves
    on by the gap. Whether there is a zone is asked of each value: a pattern may have an optional
    one.
    """
    if settings.time_format in EPOCHS:
        micros = text.try_cast("decimal(29,6)") * F.lit(EPOCHS[settings.time_format])
        return F.timestamp_micros(micros.try_cast("bigint"))
    if settings.time_format == "iso":
        return _iso_time(F.trim(text), settings.time_zone)
    return _by_pattern(text, settings.time_format, settings.time_zone)


def check_time_format(spark: SparkSession, settings: LandingSettings) -> None:
    """Raise `BadInput` now where Spark would not understand the pattern later."""
    if settings.time_format in ("iso", *EPOCHS):
        return
    try:
        spark.range(1).select(event_time(F.lit("0"), settings)).collect()
    except Exception as error:  # Spark has several kinds for a pattern, one of them an upgrade's
        if "PATTERN" not in str(error):
            raise
        raise BadInput(
            f"landing/settings.toml: time_format {settings.time_format!r} is neither iso, "
            f"{', '.join(EPOCHS)} nor a datetime pattern of Spark: {str(error).splitlines()[0]}"
        ) from None


def _iso_time(text: Column, time_zone: str) -> Column:
    """Spark's cast alone would take a bare "2017", or an hour and today's date, for a time; and it
    wants seconds before a zone."""
    time = text.try_cast("timestamp")
    minutes = F.regexp_replace(text, f"({ISO_MINUTES})({ISO_ZONE})", "$1:00$2")
    with_zone = F.when(text.rlike(ISO_MINUTES + ISO_ZONE), minutes.try_cast("timestamp"))
    with_zone = with_zone.when(text.rlike(ISO_TIME + ISO_ZONE), time)
    return with_zone.when(text.rlike(ISO_TIME + "$"), _local(time, time_zone))


def _by_pattern(text: Column, pattern: str, time_zone: str) -> Column:
    parsed = F.try_to_timestamp(text, F.lit(pattern))
    if not _has_zone(pattern):
        return _local(parsed, time_zone)
    without = _without_optional_zone(pattern)
    if without == pattern:
        return parsed
    return F.coalesce(_local(F.try_to_timestamp(text, F.lit(without)), time_zone), parsed)


def _has_zone(pattern: str) -> bool:
    return not _ZONE_LETTERS.isdisjoint("".join(pattern.split("'")[::2]))  # what is not quoted


def _without_optional_zone(pattern: str) -> str:
    """The pattern without its [optional] sections that hold a zone: a text that it reads has none.

    A section may hold others; of two that hold a zone the innermost goes.
    """
    stack = [""]
    for position, piece in enumerate(pattern.split("'")):
        if position % 2:
            stack[-1] += f"'{piece}'"
            continue
        for letter in piece:
            if letter == "[":
                stack.append("")
            elif letter == "]" and len(stack) > 1:
                section = stack.pop()
                stack[-1] += "" if _has_zone(section) else f"[{section}]"
            else:
                stack[-1] += letter
    return "[".join(stack)


def _local(time: Column, time_zone: str) -> Column:
    return time if time_zone == "UTC" else F.to_utc_timestamp(time, time_zone)
