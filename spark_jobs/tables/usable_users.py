"""Who can have a vector as of a day, and who has none: a user with a view in the window before it.

sessions holds no bots and no views without a title, so that whoever is in it can be embedded.
"""

from datetime import date, timedelta
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.tables import SESSIONS, USER_SEQUENCES
from spark_jobs.lake.lake import Lake
from spark_jobs.transforms.session_views import sessions_between


def users_between(sessions: DataFrame, since: date, before: date) -> DataFrame:
    """The user_id of each user with a view from `since` on and before `before`."""
    return sessions_between(sessions, since, before).select("user_id").distinct()


def usable_users(sessions: DataFrame, as_of: date, window_days: int) -> DataFrame:
    return users_between(sessions, as_of - timedelta(days=window_days), as_of)


def beyond_active(sequences: DataFrame) -> DataFrame:
    """The rows of user_sequences whose user had no view on the day before `as_of`."""
    day_before = F.col("as_of").cast("timestamp") - F.expr("interval 1 day")
    return sequences.where(F.col("last_view_time") < day_before)


def newest_views(*vectors: DataFrame) -> DataFrame:
    """(user_id, newest_view) of each user who is in one of `vectors`."""
    views = reduce(DataFrame.union, (each.select("user_id", "last_view_time") for each in vectors))
    return views.groupBy("user_id").agg(F.max("last_view_time").alias("newest_view"))


def is_stale(as_of: date, window_days: int) -> Column:
    """Whether the `newest_view` lies before the window of a day."""
    return F.col("newest_view") < F.lit(as_of - timedelta(days=window_days)).cast("timestamp")


def coverage_measures(
    lake: Lake, as_of: date, window_days: int, *vectors: DataFrame
) -> dict[str, float]:
    """How many users are usable as of a day, how many of them are in none of `vectors`, and how
    many there are stale: their newest view lies before the window.

    Nothing where the lake has no sessions.
    """
    if not lake.exists(SESSIONS):
        return {}
    usable = usable_users(_sessions_that_were_read(lake), as_of, window_days)
    joined = usable.withColumn("is_usable", F.lit(True)).join(
        newest_views(*vectors), "user_id", "full_outer"
    )
    counted = joined.agg(
        F.count("is_usable"),
        F.count_if(F.col("newest_view").isNull()),
        F.count_if(is_stale(as_of, window_days)),
    )
    num_usable, num_without, num_stale = counted.collect()[0]
    return {
        "usable_users": num_usable,
        "users_without_vector": num_without,
        "stale_users": num_stale,
    }


def _sessions_that_were_read(lake: Lake) -> DataFrame:
    """Sessions as user_sequences read them last: who came since belongs to a later night."""
    version = lake.metadata(USER_SEQUENCES).get("inputs", {}).get(SESSIONS.name)
    log = lake.log(SESSIONS)
    if version is None or version >= log.version() or log.commit(version) is None:
        return lake.read(SESSIONS)
    return lake.read(SESSIONS, version)
