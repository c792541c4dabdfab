"""Rows of different lengths, one after the other: how the whole model keeps what it reads.

Nothing here pads. Arrays may be memory-mapped; what is taken from them is in memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Ragged:
    """N rows: row i is `values[offsets[i]:offsets[i + 1]]`.

    Shapes:
        values   (sum of lengths,) of any type
        offsets  (N + 1,) int64, from 0, never falling
    """

    values: NDArray[Any]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Sequence[ArrayLike], dtype: type[np.generic] = np.int64) -> "Ragged":
        """From rows as Python has them: tests and small inputs."""
        arrays = [np.asarray(row, dtype) for row in rows]
        lengths = np.array([len(array) for array in arrays], np.int64)
        values = np.concatenate(arrays) if arrays else np.empty(0, dtype)
        return cls(values, offsets_of(lengths))

    @classmethod
    def join(cls, parts: Sequence["Ragged"]) -> "Ragged":
        """The rows of every part, in order."""
        values = np.concatenate([part.values for part in parts])
        lengths = np.concatenate([part.lengths() for part in parts])
        return cls(values, offsets_of(lengths))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> NDArray[Any]:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def lengths(self) -> NDArray[np.int64]:
        """(N,) int64."""
        return np.diff(self.offsets)

    def take(self, rows: ArrayLike) -> "Ragged":
        """These rows, in this order; a row may come more than once."""
        rows = np.asarray(rows, np.int64)  # (M,)
        return self.crop(rows, 0, self.offsets[rows + 1] - self.offsets[rows])

    def crop(self, rows: ArrayLike, starts: ArrayLike, lengths: NDArray[np.int64]) -> "Ragged":
        """Of each of these rows `lengths` values from the row's place `starts` on."""
        # (M,) each row's first value
        first = self.offsets[np.asarray(rows, np.int64)] + np.asarray(starts, np.int64)
        offsets = offsets_of(lengths)  # (M + 1,) of the rows that are made
        # (sum of lengths,) one gather for all rows: no loop over them
        places = np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], lengths)
        return Ragged(self.values[places], offsets)


def offsets_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) lengths to (N + 1,) offsets."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def positions_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each value its place in its row: lengths 2, 3 give 0 1 0 1 2."""
    starts = offsets_of(lengths)[:-1]  # (N,)
    return np.arange(int(lengths.sum())) - np.repeat(starts, lengths)


def owners_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each value the row that it is in: lengths 2, 3 give 0 0 1 1 1."""
    return np.repeat(np.arange(len(lengths)), lengths)
