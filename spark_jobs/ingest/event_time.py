"""The time of a view from the text that a landing file holds."""

from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F

from contracts.errors import BadInput
from contracts.landing_settings import LandingSettings

ISO = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d([.]\d+)?)?"
ZONE = r" ?(Z|[+-]\d\d(:?\d\d)?)$"
EPOCHS = {"epoch_s": 1_000_000, "epoch_ms": 1_000}  # microseconds in one
ZONE_LETTERS = "VzOXxZ"  # of a Spark datetime pattern


def event_time(text: Column, settings: LandingSettings) -> Column:
    """The instant that `text` names, to the microsecond, or null where it names none.

    A time without a zone is one of `settings.time_zone`; of the two instants that share a wall
    clock when summer time ends it is the earlier, and a wall clock that summer time skips moves
    on by the gap.
    """
    if settings.time_format in EPOCHS:
        units = text.try_cast("decimal(26,6)") * F.lit(EPOCHS[settings.time_format])
        return F.timestamp_micros(units.try_cast("bigint"))
    if settings.time_format == "iso":
        return _iso(F.trim(text), settings.time_zone)
    parsed = F.try_to_timestamp(text, F.lit(settings.time_format))
    pattern = "".join(settings.time_format.split("'")[::2])  # what is not quoted
    zoned = any(letter in pattern for letter in ZONE_LETTERS)
    return parsed if zoned else _local(parsed, settings.time_zone)


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
            f"landing/settings.toml: time_format {settings.time_format!r} is neither iso, epoch_s, "
            f"epoch_ms nor a datetime pattern of Spark: {str(error).splitlines()[0]}"
        ) from None


def _iso(text: Column, time_zone: str) -> Column:
    """Spark's cast alone would take a bare "2017", or an hour and today's date, for a time."""
    time = text.try_cast("timestamp")
    zoned = text.rlike(ISO + ZONE)
    return F.when(zoned, time).when(text.rlike(ISO + "$"), _local(time, time_zone))


def _local(time: Column, time_zone: str) -> Column:
    return time if time_zone == "UTC" else F.to_utc_timestamp(time, time_zone)
