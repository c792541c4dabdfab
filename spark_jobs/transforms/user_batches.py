"""A frame's rows as streams of whole users, so that numpy works on many users at once.

A partition reaches Python as a stream of batches that may cut a user anywhere. What is held
between two batches is the last user's rows, never the partition. Spark sorts by one number, the
hash of the user, which it does by radix; the order of a user's rows is left to numpy. (Sorting
20 M views by user, time and id in Spark took a third of all the CPU time from views to pairs.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

_Batches = Iterator[pa.RecordBatch]
Ints = NDArray[np.int64]
_Bools = NDArray[np.bool_]
_Trim = Callable[[pa.RecordBatch], pa.RecordBatch]

_USER_HASH = "user_hash"
MAX_HELD_ROWS = 200_000  # of one user; from here on, rows that make no difference are dropped

TIME_TYPE = pa.timestamp("us", "UTC")


def by_user(frame: DataFrame, *columns: str) -> DataFrame:
    """`columns` of `frame` behind USER_HASH and user_id, a user's rows one after the other: what
    `whole_users` takes. One shuffle."""
    hashed = F.xxhash64("user_id").alias(_USER_HASH)
    rows = frame.select(hashed, "user_id", *columns).repartition(_USER_HASH)
    return rows.sortWithinPartitions(_USER_HASH)


def whole_users(batches: _Batches, most: _Trim | None = None) -> _Batches:
    """Cut the stream of `by_user` anew, so that no user's rows are in two batches.

    `most` leaves out rows that make no difference; it is called when a user has very many.
    """
    held: list[pa.RecordBatch] = []  # of one user
    for batch in batches:
        if not batch.num_rows:
            continue
        hashes = batch.column(0).to_numpy()
        cut = int(np.searchsorted(hashes, hashes[-1]))  # where the last user begins
        if cut:
            held.append(batch.slice(0, cut))
        if cut or (held and held[0].column(0)[0].as_py() != hashes[-1]):
            yield _joined(held)
            held = []
        held.append(batch.slice(cut))
        if most and sum(each.num_rows for each in held) > 2 * held[0].num_rows + MAX_HELD_ROWS:
            held = [most(_joined(held))]
    if held:
        yield _joined(held)


def numbered_users(rows: pa.RecordBatch) -> tuple[pa.Array[Any], Ints]:
    """The distinct users, and for each row the place of its user among them.

    By the names, not by the hashes, so that two users of one hash stay two.
    """
    users: Any = pc.dictionary_encode(rows.column(1))
    return users.dictionary, users.indices.to_numpy().astype(np.int64)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)  # type: ignore[attr-defined]


def differs_from_previous(values: Ints) -> _Bools:
    """True where a value is not the one before it, the first included."""
    first = np.ones(len(values), bool)
    first[1:] = values[1:] != values[:-1]
    return first


def to_micros(times: pa.Array[Any]) -> Ints:
    """Times as microseconds since 1970, UTC."""
    return times.cast(TIME_TYPE).cast(pa.int64()).to_numpy()


def list_slices(values: pa.Array[Any], low: Ints, high: Ints) -> pa.Array[Any]:
    """A list array whose i-th list is values[low[i]:high[i]]."""
    lengths = high - low
    # (N + 1,) where each list begins in the flat values, (T,) which value stands at each place
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    places = np.arange(offsets[-1]) + np.repeat(low - offsets[:-1], lengths)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values.take(places))


def lengths_of(lists: pa.Array[Any]) -> Ints:
    return np.asarray(pc.list_value_length(lists), np.int64)
