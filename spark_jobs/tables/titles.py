"""browsing_logs to titles: each distinct title once, normalized and cut into NLTK's words.

Only what changed in browsing_logs since the last run is looked at, and only titles that the table
does not have yet are tokenized. Titles are never changed and never removed: an id means the same
words for good.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.landing_settings import read_settings
from contracts.limits import MAX_TITLE_WORDS
from contracts.paths import Places
from contracts.tables import BROWSING_LOGS, TITLES
from expectations.gate import Passed, run_gate
from spark_jobs.lake.lake import Commit, Lake
from spark_jobs.spark.job_run import spark_job
from spark_jobs.transforms.segmenters import (
    LONGEST_WORD,
    UNSEGMENTED_SCRIPTS,
    segment_words,
    segmenter_of,
)
from spark_jobs.transforms.title_text import normalized_title

_TOLERATED_SHARE = 0.05  # of titles that blanks do not separate; from there on a warning


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
        .agg(F.min(normalized_title(F.col("title"))).alias("title"))
    )


def with_words(titles: DataFrame, tokenizer: str = "nltk") -> DataFrame:
    """Add the first words, as NLTK's `word_tokenize(title, preserve_line=True)` cuts them, and what
    is written without blanks as the segmenter cuts it that landing/settings.toml names."""
    segmenter_of(tokenizer)  # says here, in one line, when it is not installed

    def tokenized(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from spark_jobs.transforms.tokenizer import Tokenizer

        words_of, segment = Tokenizer(), segmenter_of(tokenizer)
        for batch in batches:
            titles: list[str] = batch.column("title").to_pylist()  # type: ignore[assignment]
            words = [words_of(title) for title in titles]
            if segment is not None:
                words = [segment_words(some, segment) for some in words]
            first_words = [some[:MAX_TITLE_WORDS] for some in words]
            yield batch.append_column("words", pa.array(first_words, pa.list_(pa.string())))

    return titles.mapInArrow(tokenized, "title_id bigint, title string, words array<string>")


def count_unsegmented(titles: DataFrame) -> int:
    """Titles with a word that is several ones of a script without blanks."""
    several_words = f"{UNSEGMENTED_SCRIPTS}{{{LONGEST_WORD + 1},}}"
    return titles.where(F.exists("words", lambda word: word.rlike(several_words))).count()


def update_titles(lake: Lake, places: Places, tokenizer: str = "nltk") -> Commit | None:
    """Add the titles of the views that came since the last run, in one commit with how far it got.

    None where nothing came. Safe to repeat, and beside another run.
    """

    def attempt() -> tuple[Passed, dict[str, object]] | None:
        logs = lake.unprocessed(TITLES, BROWSING_LOGS)
        if logs is None:
            return None
        views = logs.rows if logs.changes is None else logs.changes.where("added")
        titles = with_words(new_titles(views, lake.read(TITLES)), tokenizer)
        passed = run_gate(titles, TITLES, places=places, run=f"browsing_logs-{logs.version}")
        counts = {"unsegmented_titles": count_unsegmented(passed.frame)}
        passed = replace(passed, measures={**passed.measures, **counts})
        return passed, {"watermark": {BROWSING_LOGS.name: logs.version}}

    lake.read(BROWSING_LOGS)  # without it, no empty table of titles is made
    return lake.append_alone(TITLES, attempt)


def main() -> None:
    places = Places.from_environment()
    with spark_job("titles") as (spark, tell):
        lake = Lake(spark, places.lake)
        commit = update_titles(lake, places, _tokenizer_of(places))
        measures = lake.measures(TITLES) if commit and commit.rows else {}
        tell(commit, **measures)
        _warn_of_unsegmented(measures)


def _warn_of_unsegmented(measures: Mapping[str, float]) -> None:
    if measures.get("unsegmented_titles", 0) > _TOLERATED_SHARE * measures.get("rows", 0):
        sys.stderr.write(
            "warning: many titles are in a script that writes no blanks between words, and are "
            "one word each: let landing/settings.toml say a tokenizer (docs/landing-files.md)\n"
        )


def _tokenizer_of(places: Places) -> str:
    """What landing/settings.toml says; NLTK for a lake without landing files."""
    path = places.landing / "settings.toml"
    return read_settings(path).tokenizer if path.exists() else "nltk"
