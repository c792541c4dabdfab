"""Taking the measures of a frame in Spark, and naming the rows that break an expectation."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.tables import Table
from expectations.suites import DUPLICATE_KEYS, Expected

_MAX_SAMPLE_ROWS = 20  # rows that are named
_MAX_SHOWN_CHARACTERS = 60  # characters of a value that are shown
_MANY_ROWS = 500_000  # rows; of fewer, starting Python costs more than it saves
_NO_HASHES = np.zeros(0, np.int64)


@contextmanager
def _without_ansi_errors(spark: SparkSession) -> Iterator[None]:
    """Without ANSI errors: a check that cannot be computed of a row is null, which breaks it.

    With them, `event_times[num_views - 1]` of a row whose counts differ would end the job with
    a stack trace instead of the row's name.
    """
    setting = "spark.sql.ansi.enabled"
    before = spark.conf.get(setting) or "true"
    spark.conf.set(setting, "false")
    try:
        yield
    finally:
        spark.conf.set(setting, before)


def take_measures(frame: DataFrame, table: Table, wanted: Sequence[Expected]) -> dict[str, float]:
    """Every measure that rows tell, by name: one aggregate, and one shuffle of the key's hash.

    A measure that has no value (a mean of no rows) is NaN.
    """
    queries = {e.measure: e.aggregate for e in wanted if e.aggregate}
    with _without_ansi_errors(frame.sparkSession):
        row = frame.agg(*(F.expr(sql).alias(name) for name, sql in queries.items())).first()
    assert row is not None
    taken = {name: float("nan") if row[name] is None else row[name] for name in queries}
    return {**taken, DUPLICATE_KEYS: _num_duplicate_keys(frame, table, taken["rows"])}


def _num_duplicate_keys(frame: DataFrame, table: Table, rows: float) -> int:
    """Rows too many: exact, for hashes that collide are counted again by the key itself."""
    hashes = frame.select(F.xxhash64(*table.key).alias("hash"))
    keys = _num_distinct_hashes(hashes) if rows > _MANY_ROWS else hashes.distinct().count()
    return 0 if keys == rows else int(rows) - frame.select(*table.key).distinct().count()


def _num_distinct_hashes(hashes: DataFrame) -> int:
    """How many distinct ones. numpy sorts numbers in a third of the time that Spark hashes rows."""

    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        some = np.concatenate([_NO_HASHES, *(batch.column(0).to_numpy() for batch in batches)])
        some.sort()
        keys = np.count_nonzero(np.diff(some)) + min(len(some), 1)
        yield pa.RecordBatch.from_arrays([pa.array([keys], pa.int64())], ["keys"])

    found = hashes.repartition("hash").mapInArrow(count, "keys bigint")
    return int(found.agg(F.sum("keys")).collect()[0][0])


def breaking_rows(frame: DataFrame, table: Table, broken: Expected) -> list[dict[str, str]]:
    """Up to 20 rows that break it, the lowest keys first: the key, and what the condition reads.

    Empty for an expectation that is of the whole frame.
    """
    if broken.measure == DUPLICATE_KEYS:
        counted = frame.groupBy(*table.key).agg(F.count(F.lit(1)).alias("rows"))
        return _shown(counted.where("rows > 1"), table, [*table.key, "rows"])
    if not broken.breaks:
        return []
    words = re.findall(r"\w+", broken.breaks)
    read = [name for name in table.names if name in words and name not in table.key]
    with _without_ansi_errors(frame.sparkSession):
        return _shown(frame.where(broken.breaks), table, [*table.key, *read])


def _shown(rows: DataFrame, table: Table, columns: list[str]) -> list[dict[str, str]]:
    lowest = rows.orderBy(*table.key).limit(_MAX_SAMPLE_ROWS)
    text = lowest.select(*(_text(name).alias(name) for name in columns))
    return [row.asDict() for row in text.collect()]


def _text(name: str) -> Column:
    whole = F.coalesce(F.col(name).cast("string"), F.lit("null"))
    cut = F.concat(F.substring(whole, 1, _MAX_SHOWN_CHARACTERS), F.lit("..."))
    return F.when(F.length(whole) > _MAX_SHOWN_CHARACTERS, cut).otherwise(whole)
