"""The champion's vectors, as the feature store and analysts read them: one space at any moment.

`models` says who the champion is, and this table follows it. A run for a day replaces that day's
rows. Where the table still holds another model's rows (a promotion was killed before it got
here), the run replaces the whole table in one commit instead, so any run mends it. Two runs side
by side, or one beside a promotion, never mix: see `Lake.replace_alone`.
"""

from collections.abc import Callable
from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from contracts.errors import MissingTable
from contracts.options import AsOf
from contracts.paths import Places
from contracts.tables import PUBLISHED_EMBEDDINGS, USER_EMBEDDINGS
from expectations.gate import Passed, check
from spark_jobs.lake.lake import Commit, Lake
from spark_jobs.registry.champion import champion
from spark_jobs.spark.job_run import job

EVERYTHING = "true"  # the condition that all rows of the table meet


def published(embeddings: DataFrame, model_id: str) -> DataFrame:
    """`user_embeddings`' rows of one model, as published_embeddings has them."""
    ours = embeddings.where(F.col("model_id") == model_id)
    timed = ours.withColumn("as_of_time", F.col("as_of").cast("timestamp"))
    return timed.select(PUBLISHED_EMBEDDINGS.names)


def latest(published_embeddings: DataFrame) -> DataFrame:
    """Each user's newest vector under the champion: the view `user_embeddings_latest`.

    (as_of, user_id) is the table's key, so there are no ties.
    """
    newest_first = Window.partitionBy("user_id").orderBy(F.desc("as_of"))
    ranked = published_embeddings.withColumn("age", F.row_number().over(newest_first))
    return ranked.where("age = 1").drop("age")


def as_of(published_embeddings: DataFrame, day: date) -> DataFrame:
    """Each user's newest vector that was known at the first instant of `day` (UTC)."""
    return latest(published_embeddings.where(F.col("as_of") <= F.lit(day)))


def days_of(embeddings: DataFrame) -> set[date]:
    return {row["as_of"] for row in embeddings.select("as_of").distinct().collect()}


def missing_days(lake: Lake, model_id: str) -> list[date]:
    """The days that readers have now and that `model_id` has no vectors of, oldest first."""
    have = days_of(published(lake.read_or_empty(USER_EMBEDDINGS), model_id))
    return sorted(days_of(lake.read_or_empty(PUBLISHED_EMBEDDINGS)) - have)


def must_be_complete(lake: Lake, model_id: str) -> None:
    """Readers must lose no day by a change of model."""
    if missing := missing_days(lake, model_id):
        days = ", ".join(map(str, missing))
        fill = f"`userbert backfill run --published --model {model_id}`"
        raise MissingTable(
            f"{model_id} has no vectors of {len(missing)} days that are published now: {days}; "
            f"readers stay where they are. Make them by {fill}, and run this again"
        )


def whole(lake: Lake, places: Places, model_id: str, allow_missing_days: bool = False) -> Passed:
    """All days of `model_id`, past the gate."""
    if not allow_missing_days:
        must_be_complete(lake, model_id)
    rows = published(lake.read(USER_EMBEDDINGS), model_id)
    return check(rows, PUBLISHED_EMBEDDINGS, places=places, run=f"all days under {model_id}")


def one_day(lake: Lake, places: Places, model_id: str, day: date) -> Passed:
    rows = published(lake.read(USER_EMBEDDINGS), model_id).where(F.col("as_of") == F.lit(day))
    if rows.isEmpty():
        raise MissingTable(
            f"{model_id} has no vectors as of {day} in {lake.path(USER_EMBEDDINGS)}: run "
            f"`userbert user-embeddings --as-of {day} --model {model_id}` first"
        )
    return check(rows, PUBLISHED_EMBEDDINGS, places=places, run=str(day))


def spaces(lake: Lake) -> set[str]:
    """The models whose rows are published: one, or none before the first."""
    rows = lake.read_or_empty(PUBLISHED_EMBEDDINGS).select("model_id").distinct().collect()
    return {row["model_id"] for row in rows}


def publish(lake: Lake, places: Places, day: date) -> Commit:
    """Replace the rows of `day` by the champion's; the whole table where it is not his yet."""

    def attempt() -> tuple[Passed, str]:
        now = champion(lake)
        if spaces(lake) <= {now}:
            return one_day(lake, places, now, day), f"as_of = '{day}'"
        return whole(lake, places, now), EVERYTHING

    return lake.replace_alone(PUBLISHED_EMBEDDINGS, attempt)


def switch(
    lake: Lake, places: Places, model_id: str, crown: Callable[[], None], allow_missing_days: bool
) -> Commit | None:
    """Crown `model_id` in `models`, and replace all rows by its, in one commit for readers.

    The rows pass their gate before the crown is given, so what can be refused is refused before
    anything changes. Killed in between, readers stay on the old model, whole, until a rerun or
    the next `publish`. None when neither model has vectors yet.
    """
    if not spaces(lake) and published(lake.read_or_empty(USER_EMBEDDINGS), model_id).isEmpty():
        crown()
        return None

    def attempt() -> tuple[Passed, str]:
        passed = whole(lake, places, model_id, allow_missing_days)
        crown()
        return passed, EVERYTHING

    return lake.replace_alone(PUBLISHED_EMBEDDINGS, attempt)


def main(as_of: AsOf) -> None:
    places = Places.from_environment()
    with job("published_embeddings") as (spark, tell):
        tell(publish(Lake(spark, places.lake), places, as_of))
