"""The pseudonyms of tables under newer keys: each table in one commit, which also records the keys.

A newer pseudonym is a hash of the older one, so that no raw id is needed. What follows from an id
(log_id of views whose lines have none of their own, session_id) follows from the newer one.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.settings.key_ring import PSEUDONYM_LENGTH, KeyRing
from contracts.tables import BROWSING_LOGS, REJECTED_LOGS, SESSIONS, Table
from spark_jobs.ingest.pseudonymized_lines import keyed_view_id
from spark_jobs.lake.lake import Lake
from spark_jobs.lake.pseudonym_record import PSEUDONYM_PROPERTY, recorded_keys
from spark_jobs.tables.sessions import session_id

_Hash = Callable[[str], str]


@dataclass(frozen=True)
class Rotation:
    """From the keys that a lake was written with to those of a key file."""

    held: str  # the record of the tables until now
    wanted: str  # and from now on
    columns: tuple[str, ...]  # that hold pseudonyms
    newer: KeyRing  # the keys by which an older pseudonym becomes a newer one

    def hash_of(self, column: str) -> _Hash:
        """Of one pseudonym; goes to Spark's workers inside a closure, never in a plan."""
        newer = self.newer
        return lambda text: newer.pseudonym(text, column)


def rotate_table(lake: Lake, table: Table, rotation: Rotation) -> bool:
    """Rewrite the table if it has the older pseudonyms still; whether it had."""
    if recorded_keys(lake, table) == rotation.wanted:
        return False
    log = lake.log(table)
    held = log.metadata()
    properties = {**held.properties, PSEUDONYM_PROPERTY: rotation.wanted}
    log.change_layout(held.columns, properties, lambda rows: _renamed(rows, table, rotation))
    return True


def _renamed(rows: DataFrame, table: Table, rotation: Rotation) -> DataFrame:
    columns = held_columns(table, rotation)
    newer = {name: _hashed(name, rotation.hash_of(name)) for name in columns}
    if table == REJECTED_LOGS:
        newer["raw"] = _renamed_lines(rotation)
    if table == BROWSING_LOGS:  # decided before the columns change
        rows = rows.withColumn("is_keyed", F.col("log_id") == keyed_view_id())
    rows = rows.withColumns(newer)
    if table == BROWSING_LOGS:
        new_id = F.when(F.col("is_keyed"), keyed_view_id()).otherwise(F.col("log_id"))
        rows = rows.withColumn("log_id", new_id)
    if table == SESSIONS:
        rows = rows.withColumn("session_id", session_id())
    rows = rows.select(table.names)
    return rows.hint("rebalance", *table.partition_by) if table.partition_by else rows


def held_columns(table: Table, rotation: Rotation) -> list[str]:
    """The columns of the table that hold pseudonyms."""
    return [name for name in rotation.columns if name in table.names]


def _hashed(name: str, newer: _Hash) -> Column:
    def newer_pseudonyms(values: Any) -> Any:
        coded = values.dictionary_encode()  # each distinct one is hashed once; null stays null
        texts = [newer(text) for text in coded.dictionary.to_pylist()]
        return pa.array(texts, pa.string()).take(coded.indices)

    return _changed_texts(name, newer_pseudonyms)


def _renamed_lines(rotation: Rotation) -> Column:
    """Refused lines, which are JSON of the declared columns, or empty."""
    hashes = {name: rotation.hash_of(name) for name in rotation.columns}

    def renamed_lines(values: Any) -> Any:
        return pa.array([_renamed_line(raw, hashes) for raw in values.to_pylist()], pa.string())

    return _changed_texts("raw", renamed_lines)


def _changed_texts(name: str, change: Callable[[Any], Any]) -> Column:
    """A column by a function of Arrow arrays, whose closure no plan shows."""

    def changed(values: pa.Array) -> pa.Array:  # type: ignore[type-arg]  # Spark reads the hints
        return change(values)  # type: ignore[no-any-return]

    made: Column = F.arrow_udf(changed, "string")(F.col(name))  # type: ignore[attr-defined]
    return made


def _renamed_line(raw: str, hashes: dict[str, _Hash]) -> str:
    if not raw:
        return raw
    values = json.loads(raw)
    for name, newer in hashes.items():
        if is_pseudonym(values.get(name)):
            values[name] = newer(values[name])
    return json.dumps(values, ensure_ascii=False)


def is_pseudonym(value: object) -> bool:
    """Of a refused line the id may be blank, or of nobody."""
    digits = set("0123456789abcdef")
    return isinstance(value, str) and len(value) == PSEUDONYM_LENGTH and set(value) <= digits
