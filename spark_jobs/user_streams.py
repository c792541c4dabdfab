"""Arrow batches that are sorted by user, as streams of whole users: numpy works on many at once.

A partition reaches Python as a stream of batches that may cut a user anywhere. What is held
between two batches is the last user's rows, never the partition.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Batches = Iterator[pa.RecordBatch]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

DAY = 86_400_000_000  # microseconds
TIME = pa.timestamp("us", "UTC")


def whole_users(batches: Batches) -> Batches:
    """Cut the stream anew, so that no user's rows (by the first column) are in two batches."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        if not batch.num_rows:
            continue
        users = batch.column(0)
        cut = pc.index(users, users[-1]).as_py()  # where the last user begins
        if cut:
            yield joined([*held, batch.slice(0, cut)])
            held = [batch.slice(cut)]
        elif held and held[0].column(0)[0] == users[0]:
            held.append(batch)
        else:
            if held:
                yield joined(held)
            held = [batch]
    if held:
        yield joined(held)


def without_bots(batches: Batches, limit: int) -> Batches:
    """Leave out each user's UTC days of more than `limit` views.

    The stream is of (user_id, event_time, ...), sorted by both. At most `limit` + 1 rows of a
    user's day are held, however many come, so a bot's millions pass without filling memory.
    """
    held: list[pa.RecordBatch] = []
    for batch in batches:
        if not batch.num_rows:
            continue
        rows = joined([*held, batch])
        days = micros(rows.column(1)) // DAY
        starts = np.flatnonzero(begins(rows.column(0)) | differs(days))
        few = np.diff(starts) <= limit  # of all but the last, which may go on
        whole = rows.slice(0, starts[-1])
        yield whole.filter(pa.array(np.repeat(few, np.diff(starts))))
        held = [rows.slice(starts[-1], limit + 1)]
    if held and held[0].num_rows <= limit:
        yield held[0]


def joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)  # type: ignore[attr-defined]


def begins(users: pa.Array[Any]) -> Bools:
    """True where another user begins, the first row included."""
    first = np.ones(len(users), bool)
    first[1:] = pc.not_equal(users[1:], users[:-1]).to_numpy(zero_copy_only=False)
    return first


def differs(values: Ints) -> Bools:
    """True where a value is not the one before it, the first included."""
    first = np.ones(len(values), bool)
    first[1:] = values[1:] != values[:-1]
    return first


def micros(times: pa.Array[Any]) -> Ints:
    """Times as microseconds since 1970, UTC."""
    return times.cast(TIME).cast(pa.int64()).to_numpy()


def slices(values: pa.Array[Any], low: Ints, high: Ints) -> pa.Array[Any]:
    """A list array whose i-th list is values[low[i]:high[i]]."""
    lengths = high - low
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    places = np.arange(offsets[-1]) + np.repeat(low - offsets[:-1], lengths)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values.take(places))


def lengths_of(lists: pa.Array[Any]) -> Ints:
    return np.asarray(pc.list_value_length(lists), np.int64)
