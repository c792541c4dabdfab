"""Stable 64-bit fingerprints of many rows at once, without a Python object a row."""

import numpy as np
from numpy.typing import NDArray

from model.data.ragged import Ragged, positions_of
from model.data.vocabulary import Arrow


def mix_bits(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64: a bijection of 64-bit numbers whose every bit looks random."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def row_fingerprints(rows: Ragged) -> NDArray[np.uint64]:
    """One number a row, equal for equal rows; unequal rows agree with a chance of 2^-64.

    `values` are integers of any width. An empty row has a fingerprint too.
    """
    lengths = rows.lengths()  # (N,)
    place = positions_of(lengths).astype(np.uint64)  # (V,)
    placed = mix_bits(rows.values.astype(np.uint64) ^ mix_bits(place))  # (V,)
    total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(placed, dtype=np.uint64)])
    sums = total[rows.offsets[1:]] - total[rows.offsets[:-1]]  # (N,)
    return mix_bits(sums ^ mix_bits(lengths.astype(np.uint64)))


def string_bytes(strings: Arrow) -> Ragged:
    """The UTF-8 bytes of each string."""
    import pyarrow as pa

    strings = strings.cast(pa.large_binary())
    _, offsets_buffer, data = strings.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64)[strings.offset :][: len(strings) + 1]
    values = np.frombuffer(data or b"", np.uint8)[offsets[0] : offsets[-1]]
    return Ragged(values, offsets - offsets[0])


def list_values(lists: Arrow) -> Ragged:
    """The numbers of each list; times become microseconds since 1970 UTC."""
    import pyarrow as pa

    offsets = lists.offsets.to_numpy().astype(np.int64)
    values = lists.values.slice(int(offsets[0]), int(offsets[-1] - offsets[0]))
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    return Ragged(values.to_numpy(zero_copy_only=False), offsets - offsets[0])
