"""Sequences one after the other, without padding, and the sums over them that a model needs.

R rows in N sequences. Every sum here is taken in a fixed order, so a CPU gives the same bits on
each run: sums over rows that share an index go by a stable sort, never by concurrent adding.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from model.data.ragged import offsets_of, owners_of, positions_of

_P = ParamSpec("_P")
_T = TypeVar("_T")


def outside_graphs(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Runs as it is, in numpy; `torch.compile` takes what lies around it."""
    disabled: Callable[_P, _T] = torch.compiler.disable(function)  # type: ignore[no-untyped-call]
    return disabled


class Layout:
    """Where each of N sequences lies in R packed rows; reckoned on the CPU, used on `device`.

    Shapes:
        lengths  (N,) int64, each 1 or more
        places   (R,) the place of each row in its sequence
        starts   (N,), ends (N,): the first row of each sequence, and its last
        padded   (N, longest) the row at each place, R where the sequence has ended
    """

    @outside_graphs
    def __init__(self, lengths: Tensor, device: torch.device) -> None:
        self.lengths: NDArray[np.int64] = lengths.cpu().numpy()
        if len(self.lengths) and self.lengths.min() < 1:
            raise ValueError("a sequence without rows has no vector: leave it out")
        self.device = device
        self.offsets = offsets_of(self.lengths)
        self.num_rows = int(self.offsets[-1])
        self.longest = int(self.lengths.max(initial=0))

    @outside_graphs
    def here(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device, non_blocking=True)

    @cached_property
    def places(self) -> Tensor:
        return self.here(positions_of(self.lengths))

    @cached_property
    def starts(self) -> Tensor:
        return self.here(self.offsets[:-1])

    @cached_property
    def ends(self) -> Tensor:
        return self.here(self.offsets[1:] - 1)

    @cached_property
    def padded(self) -> Tensor:
        return self.here(self.pad(np.arange(len(self.lengths)), self.longest))

    def pad(self, sequences: NDArray[np.int64], longest: int) -> NDArray[np.int64]:
        """The rows of these sequences, (n, longest); R where a sequence has ended."""
        places = np.arange(longest)  # (longest,)
        rows = self.offsets[sequences][:, None] + places  # (n, longest)
        return np.where(places < self.lengths[sequences][:, None], rows, self.num_rows)

    @cached_property
    def _unpadded(self) -> Tensor:
        """(R,) where each row is in the flattened `padded`."""
        owners = owners_of(self.lengths)
        return self.here(owners * self.longest + positions_of(self.lengths))

    @outside_graphs
    def neighbors(self, index: Tensor, window: int, nothing: int) -> Tensor:
        """`index` (R,) of the `window` rows around each row, (R, window).

        `nothing` where that is beyond the ends of the row's sequence.
        """
        lengths = np.repeat(self.lengths, self.lengths)  # (R,)
        places = positions_of(self.lengths)
        around = np.arange(window) - window // 2  # (window,)
        beside = places[:, None] + around  # (R, window)
        inside = self.here((beside >= 0) & (beside < lengths[:, None]))  # (R, window)
        rows = self.here((np.arange(self.num_rows)[:, None] + around).clip(0, self.num_rows - 1))
        return torch.where(inside, index[rows], nothing)

    @outside_graphs
    def softmax(self, scores: Tensor) -> Tensor:
        """(R,) weights that sum to one over each sequence."""
        ended = scores.new_full((1,), float("-inf"))
        padded = torch.cat([scores, ended])[self.padded]  # (N, longest)
        weights: Tensor = padded.softmax(-1).flatten()[self._unpadded]
        return weights

    def sum(self, rows: Tensor, weights: Tensor) -> Tensor:
        """(R, D) rows times (R,) weights, summed over each sequence: (N, D)."""
        index = torch.arange(self.num_rows, device=self.device)
        return F.embedding_bag(
            index, rows, self.starts, mode="sum", per_sample_weights=weights.to(rows.dtype)
        )


class _SumOfRows(torch.autograd.Function):
    """Both ways by `embedding_bag`; its own backward pass takes twice as long here."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.num_rows = len(table)
        return F.embedding_bag(index, table, mode="sum")

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        row, order = torch.sort(index.flatten(), stable=True)  # (R w,)
        starts = torch.searchsorted(row, torch.arange(ctx.num_rows, device=row.device))
        users = order // index.shape[1]  # (R w,) the row that each came from
        return F.embedding_bag(users, gradient.contiguous(), starts, mode="sum"), None


def sum_of_rows(table: Tensor, index: Tensor) -> Tensor:
    """table (U, D) at index (R, w), summed over w: (R, D)."""
    summed: Tensor = _SumOfRows.apply(table, index)
    return summed


def rows_at(table: Tensor, index: Tensor) -> Tensor:
    """table (U, D) at index (R,): (R, D)."""
    return sum_of_rows(table, index[:, None])
