"""Who can have a vector as of a day, and who has none: a user with a view in the window before it.

sessions holds no bots and no views without a title, so that whoever is in it can be embedded.
"""

from datetime import date, timedelta
from functools import reduce

from pyspark.sql import DataFrame
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


def coverage_measures(
    lake: Lake, as_of: date, window_days: int, *vectors: DataFrame
) -> dict[str, float]:
    """How many users are usable as of a day, and how many of them are in none of `vectors`.

    Nothing where the lake has no sessions.
    """
    if not lake.exists(SESSIONS):
        return {}
    usable = usable_users(_sessions_that_were_read(lake), as_of, window_days)
    users = (frame.select("user_id") for frame in vectors)
    has_vector = reduce(DataFrame.union, users).distinct().withColumn("has_vector", F.lit(True))
    counted = usable.join(has_vector, "user_id", "left").agg(
        F.count(F.lit(1)), F.count_if(F.col("has_vector").isNull())
    )
    num_usable, num_without = counted.collect()[0]
    return {"usable_users": num_usable, "users_without_vector": num_without}


def _sessions_that_were_read(lake: Lake) -> DataFrame:
    """Sessions as user_sequences read them last: who came since belongs to a later night."""
    version = lake.metadata(USER_SEQUENCES).get("inputs", {}).get(SESSIONS.name)
    log = lake.log(SESSIONS)
    if version is None or version >= log.version() or log.commit(version) is None:
        return lake.read(SESSIONS)
    return lake.read(SESSIONS, version)
