"""browsing_logs to titles: each distinct title once, normalized and cut into NLTK's words.

Only what changed in browsing_logs since the last run is looked at, and only titles that the table
does not have yet are tokenized. Titles are never changed and never removed: an id means the same
words for good.
"""

from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.limits import MAX_TITLE_WORDS
from contracts.paths import Places
from contracts.tables import BROWSING_LOGS, TITLES
from expectations.gate import Passed, check
from spark_jobs.lake.lake import Commit, Lake
from spark_jobs.spark.job_run import job
from spark_jobs.transforms.title_text import normalized


def new_titles(views: DataFrame, known: DataFrame) -> DataFrame:
    """(title_id, title) of the titles in `views` that `known` lacks, normalized, each once.

    Titles are made distinct as they were logged before they are normalized: 12 views share one.
    Without the repartitioning Spark would see that a least title needs no distinct ones, and
    normalize that of every view.
    """
    return (
        views.select("title_id", "title")
        .distinct()
        .join(known.select("title_id"), "title_id", "left_anti")
        .repartition("title_id")
        .groupBy("title_id")
        .agg(F.min(normalized(F.col("title"))).alias("title"))
    )


def with_words(titles: DataFrame) -> DataFrame:
    """Add the first words, as NLTK's `word_tokenize(title, preserve_line=True)` cuts them."""
    return titles.mapInArrow(_tokenized, "title_id bigint, title string, words array<string>")


def _tokenized(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    from spark_jobs.transforms.tokenizer import Tokenizer

    words_of = Tokenizer()
    for batch in batches:
        titles: list[str] = batch.column("title").to_pylist()  # type: ignore[assignment]
        words = [words_of(title)[:MAX_TITLE_WORDS] for title in titles]
        yield batch.append_column("words", pa.array(words, pa.list_(pa.string())))


def update(lake: Lake, places: Places) -> Commit | None:
    """Add the titles of the views that came since the last run, in one commit with how far it got.

    None where nothing came. Safe to repeat, and beside another run.
    """

    def attempt() -> tuple[Passed, dict[str, object]] | None:
        logs = lake.unprocessed(TITLES, BROWSING_LOGS)
        if logs is None:
            return None
        views = logs.rows if logs.changes is None else logs.changes.where("added")
        titles = with_words(new_titles(views, lake.read(TITLES)))
        passed = check(titles, TITLES, places=places, run=f"browsing_logs-{logs.version}")
        return passed, {"watermark": {BROWSING_LOGS.name: logs.version}}

    lake.read(BROWSING_LOGS)  # without it, no empty table of titles is made
    return lake.append_alone(TITLES, attempt)


def main() -> None:
    places = Places.from_environment()
    with job("titles") as (spark, tell):
        lake = Lake(spark, places.lake)
        tell(update(lake, places))
