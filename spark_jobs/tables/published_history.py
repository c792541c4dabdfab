"""What published_embeddings held at any time, so that a backfill rewrites no past training set.

A row is added when it is published, and never changed. Feast asks for the newest day, and of that
day for the newest row that was written by the time asked. So a row that a commit takes out leaves
one that says `is_gone` and holds what a reader finds instead: the content of the user's newest
earlier day. A model keeps its rows when another one is published.

The table follows published_embeddings as that follows `models`: each publication first adds what a
killed one left out.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from contracts.paths import Places
from contracts.tables import (
    PUBLISHED_CONTENT,
    PUBLISHED_EMBEDDINGS,
    PUBLISHED_HISTORY,
    WRITTEN_AT,
)
from expectations.gate import Passed, run_gate
from spark_jobs.lake.lake import Commit, Lake
from spark_jobs.spark.session import damaged_files_left_out

_CONTENT = [column.name for column in PUBLISHED_CONTENT]
_ROW_KEY = ["model_id", "as_of", "user_id"]


@dataclass(frozen=True)
class Publication:
    """One commit to published_embeddings: which rows it replaced, and when."""

    model_id: str
    where: str  # SQL that holds of the replaced rows
    first_day: date | None  # the earliest of their days; None for all days
    written_at: datetime


def publication_time(lake: Lake, now: datetime | None = None) -> datetime:
    """`written_at` of a commit that is about to be made: now, and later than the commit before it,
    so that a clock that was set back hides no row."""
    now = now or datetime.now(UTC)
    last = lake.metadata(PUBLISHED_EMBEDDINGS).get(WRITTEN_AT)
    return max(now, datetime.fromisoformat(last) + timedelta(microseconds=1)) if last else now


def newest_entries(history: DataFrame) -> DataFrame:
    """The newest row of each (model_id, as_of, user_id)."""
    newest_first = Window.partitionBy(*_ROW_KEY).orderBy(F.desc(WRITTEN_AT))
    return history.withColumn("age", F.row_number().over(newest_first)).where("age = 1").drop("age")


def with_written_at(rows: DataFrame, history: DataFrame, written_at: datetime) -> DataFrame:
    """`rows` with the time since when each has been known as it is; `written_at` for new ones.

    Equal content was known before, also where another model was published in between. So the same
    rows published again are the same to the last column.
    """
    if history.isEmpty():
        return rows.withColumn(WRITTEN_AT, F.lit(written_at))
    known = newest_entries(history).where("not is_gone")
    known = known.select(*_ROW_KEY, F.col(WRITTEN_AT).alias("known_at"), _content().alias("known"))
    is_known = _content().eqNullSafe(F.col("known"))
    since = F.when(is_known, F.col("known_at")).otherwise(F.lit(written_at))
    timed = rows.join(known, _ROW_KEY, "left").withColumn(WRITTEN_AT, since)
    return timed.drop("known_at", "known")


def record_publication(lake: Lake, places: Places, commit: Commit, done: Publication) -> None:
    """Add to the history what `commit` changed in published_embeddings."""

    def attempt() -> tuple[Passed, dict[str, object]]:
        published = lake.read(PUBLISHED_EMBEDDINGS, commit.version)
        entries = _entries(published, lake.read_or_empty(PUBLISHED_HISTORY), done)
        run = f"{done.first_day or 'all days'} under {done.model_id}"
        passed = run_gate(entries, PUBLISHED_HISTORY, places=places, run=run)
        return passed, _watermark(commit.version)

    lake.append_alone(PUBLISHED_HISTORY, attempt)


def catch_up(lake: Lake, places: Places) -> None:
    """Add the rows that are published and not in the history yet.

    There are some where a publication was killed before it recorded itself, and in a lake that
    older code published. Data files that are damaged are left out: publishing mends them.
    """

    def attempt() -> tuple[Passed, dict[str, object]] | None:
        version = lake.version(PUBLISHED_EMBEDDINGS)
        if lake.watermark(PUBLISHED_HISTORY, PUBLISHED_EMBEDDINGS) == version:
            return None
        published = lake.read(PUBLISHED_EMBEDDINGS, version)
        entries = _new_entries(published, lake.read_or_empty(PUBLISHED_HISTORY))
        passed = run_gate(entries, PUBLISHED_HISTORY, places=places, run="catching up")
        return passed, _watermark(version)

    if lake.version(PUBLISHED_EMBEDDINGS) > 0:  # version 0 is the creation
        with damaged_files_left_out(lake.spark):
            lake.append_alone(PUBLISHED_HISTORY, attempt)


def _watermark(version: int) -> dict[str, object]:
    return {"watermark": {PUBLISHED_EMBEDDINGS.name: version}}


def _content() -> Column:
    return F.struct(*_CONTENT)


def _new_entries(published: DataFrame, history: DataFrame) -> DataFrame:
    """A row of the history for each published row that it lacks."""
    return _as_entries(published.join(history, [*_ROW_KEY, WRITTEN_AT], "left_anti"))


def _as_entries(published: DataFrame) -> DataFrame:
    return published.withColumn("is_gone", F.lit(False)).select(PUBLISHED_HISTORY.names)


def _entries(published: DataFrame, history: DataFrame, done: Publication) -> DataFrame:
    """The rows that the history gains by `done`, after which the table is `published`."""
    written = published.where(done.where)
    ours = history.where(F.col("model_id") == done.model_id)
    if done.first_day:
        ours = ours.where(F.col("as_of") >= F.lit(done.first_day))
    if ours.isEmpty():  # a night, or a model that is new: nothing to compare with
        return _as_entries(written)
    replaced = ours.where(done.where)
    # A day that a user has no row of shows an earlier one, which this commit may have changed.
    empty_days = newest_entries(ours).where("is_gone")
    went = newest_entries(replaced).where("not is_gone")
    hollow = [
        entries.withColumn("is_new", F.lit(is_new)).join(published, _ROW_KEY, "left_anti")
        for entries, is_new in ((went, True), (empty_days, False))
    ]
    filled = _filled(hollow[0].unionByName(hollow[1]), published, done.written_at)
    return _new_entries(written, replaced).unionByName(filled)


def _filled(hollow: DataFrame, published: DataFrame, written_at: datetime) -> DataFrame:
    """`hollow` entries, of days that users have no row of, with what readers find instead now.

    Those that show it already are left out, unless `is_new`: their row went with this commit.
    """
    keys = hollow.select(*_ROW_KEY, "as_of_time", "is_new", _content().alias("held"))
    earlier = published.select(
        "user_id", F.col("as_of").alias("earlier"), _content().alias("found")
    )
    found = (
        earlier.join(F.broadcast(keys.select("user_id", "as_of")), "user_id")
        .where("earlier < as_of")
        .groupBy("as_of", "user_id")
        .agg(F.max_by("found", "earlier").alias("found"))
    )
    shown = F.struct(*(F.col("found")[name].alias(name) for name in _CONTENT))
    filled = keys.join(found, ["as_of", "user_id"], "left").withColumn("shown", shown)
    return (
        filled.where(F.col("is_new") | ~F.col("shown").eqNullSafe(F.col("held")))
        .select(*_ROW_KEY, "as_of_time", "shown.*")
        .withColumns({WRITTEN_AT: F.lit(written_at), "is_gone": F.lit(True)})
        .select(PUBLISHED_HISTORY.names)
    )
