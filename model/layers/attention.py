"""Multi-head self-attention over packed rows, several short sequences in one bin."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import ModelConfig
from model.data.ragged import owners_of, positions_of
from model.layers.packed_sequences import Layout, outside_graphs, rows_at


class SelfAttention(nn.Module):
    """Multi-head self-attention (Wu et al. 2019c).

    Shapes: R rows in N sequences, D width.
        behaviors  (R, D) float, packed
        returns    (R, D) float
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.projection = nn.Linear(config.width, 3 * config.width)

    def forward(self, behaviors: Tensor, layout: Layout) -> Tensor:
        index = torch.arange(len(behaviors), device=behaviors.device)
        return attend_within_sequences(self.projection(behaviors), index, layout, self.heads)

    def weights_of_last(self, behaviors: Tensor, layout: Layout) -> Tensor:
        """(R,) how much the last row of each sequence attends to each of its rows."""
        return _attention_of_last(self.projection(behaviors), layout, self.heads)


def _attention_of_last(projected: Tensor, layout: Layout, heads: int) -> Tensor:
    """How much the last row of each sequence attends to each row, the mean over the heads.

    Shapes: projected (R, 3 D) queries, keys, values side by side; returns (R,), summing to one
    over each sequence.
    """
    query, key, _ = projected.view(len(projected), 3, heads, -1).unbind(1)  # (R, H, D / H) each
    lengths = layout.ends - layout.starts + 1  # (N,)
    asked = query[layout.ends].repeat_interleave(lengths, dim=0)  # (R, H, D / H)
    scores = (asked * key).sum(-1) / key.shape[-1] ** 0.5  # (R, H)
    return torch.stack([layout.softmax(each) for each in scores.unbind(1)]).mean(0)


def attend_within_sequences(table: Tensor, index: Tensor, layout: Layout, heads: int) -> Tensor:
    """Each row's average over its sequence's values, by queries and keys.

    Several short sequences lie in one bin, and each sees itself alone: many tiny multiplications
    cost a CPU more than few small ones. On one core a NRMS step took 0.70 s so, and 1.26 s with
    sequences in groups of like length. Bins waste a few rows in a hundred.

    Shapes: table (U, 3 D) queries, keys, values side by side; index (R,) into it; returns (R, D).
    """
    slots, shape, together = _binned(layout)
    padded = index.new_zeros(shape[0] * shape[1]).scatter_(
        0, slots, index
    )  # empty: any row, unseen
    projected = rows_at(table, padded).view(*shape, 3, heads, -1)
    query, key, value = projected.permute(2, 0, 3, 1, 4)  # each (bins, H, size, D / H)
    attended = F.scaled_dot_product_attention(query, key, value, attn_mask=together)
    return rows_at(attended.transpose(1, 2).reshape(len(padded), -1), slots)


@outside_graphs
def _binned(layout: Layout) -> tuple[Tensor, tuple[int, int], Tensor]:
    """The slot of each row (R,), the shape of all bins, and which slots see which (bins, 1, S, S).

    Empty slots see each other, so that no softmax is over nothing.
    """
    size = layout.longest  # S, the slots of a bin
    bins, starts = fill_bins(layout.lengths, size)
    owners = owners_of(layout.lengths)  # (R,)
    slots = (bins * size + starts)[owners] + positions_of(layout.lengths)  # (R,)
    slot_owners = np.full((int(bins.max()) + 1, size), -1)  # (bins, S), -1: empty
    slot_owners.ravel()[slots] = owners
    together = slot_owners[:, None, :, None] == slot_owners[:, None, None, :]
    return layout.here(slots), (len(slot_owners), size), layout.here(together)


def fill_bins(lengths: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each sequence its bin, and its first slot there, so that few bins of `size` hold all.

    The longest that is left, then the longest that still fits, and so on; as often as there are
    sequences of these lengths, so that the work grows with the number of patterns and not of
    sequences.
    """
    order = np.argsort(lengths, kind="stable")
    left = np.bincount(lengths, minlength=size + 1)
    first = np.cumsum(left) - left  # of each length, within order
    bins, starts = np.empty_like(lengths), np.empty_like(lengths)
    filled = 0
    while left.any():
        pattern = _pattern(left, size)
        used = np.bincount(pattern, minlength=size + 1)
        times = int((left[pattern] // used[pattern]).min())
        start = 0
        for length in pattern:
            left[length] -= times  # from the last of this length to the first
            chosen = order[first[length] + left[length] :][:times]
            bins[chosen], starts[chosen] = filled + np.arange(times), start
            start += length
        filled += times
    return bins, starts


def _pattern(left: NDArray[np.int64], size: int) -> list[int]:
    """The lengths that fill a bin: always the longest that fits and is left."""
    left, pattern = left.copy(), []
    while (fitting := np.flatnonzero(left[: size + 1])).size:
        pattern.append(int(fitting[-1]))
        left[pattern[-1]] -= 1
        size -= pattern[-1]
    return pattern
