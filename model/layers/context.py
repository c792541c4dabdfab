"""Behavior context encoders: each behavior's state in the light of the others (section 3.1).

All take and give (R, D) packed rows; a sequence never sees another sequence.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from model.config import ModelConfig
from model.data.ragged import owners_of, positions_of
from model.layers.dropout import Dropout
from model.layers.packed_sequences import Layout, outside_graphs, rows_at, sum_of_rows


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


class TransformerBlock(nn.Module):
    """Self-attention and a feed-forward layer, each with a residual and a layer norm after it.

    One block of BERT4Rec (Sun et al. 2019, section 3.3): bidirectional, GELU, four times as wide
    inside, dropout before each sum. Shapes as `SelfAttention`.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.width
        self.attention = SelfAttention(config)
        self.output = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.feed_forward_norm = nn.LayerNorm(width)
        self.dropout = Dropout(config.dropout)

    def forward(self, behaviors: Tensor, layout: Layout) -> Tensor:
        attended = self.output(self.attention(behaviors, layout))  # (R, D)
        behaviors = self.attention_norm(behaviors + self.dropout(attended))
        widened = self.feed_forward(behaviors)  # (R, D) -> (R, 4 D) -> (R, D)
        states: Tensor = self.feed_forward_norm(behaviors + self.dropout(widened))
        return states


class TransformerBlocks(nn.Module):
    """`context_layers` blocks, one after the other. Shapes as `SelfAttention`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        blocks = [TransformerBlock(config) for _ in range(config.context_layers)]
        # A normalized state is sqrt(width) long, and a dot product of two of them `width`: the
        # last gain starts where a state is one long, as other encoders' vectors about are. Without
        # this the first loss of both tasks on the demo was 8.3 and not 3.2, twice chance's.
        nn.init.constant_(blocks[-1].feed_forward_norm.weight, config.width**-0.5)
        self.blocks = nn.ModuleList(blocks)

    def forward(self, behaviors: Tensor, layout: Layout) -> Tensor:
        for block in self.blocks:
            behaviors = block(behaviors, layout)
        return behaviors


class Recurrence(nn.Module):
    """A GRU or an LSTM from the oldest behavior to the newest. Shapes as `SelfAttention`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        kind = {"gru": nn.GRU, "lstm": nn.LSTM}[config.context_encoder]
        self.cell = kind(config.width, config.width)

    def forward(self, behaviors: Tensor, layout: Layout) -> Tensor:
        order, back, running = _recurrence_layout(layout)  # (R,), (R,), (longest,)
        states = self.cell(PackedSequence(rows_at(behaviors, order), running))[0].data
        return rows_at(states, back)


class Convolution(nn.Module):
    """A window of behaviors, then ReLU (Wu et al. 2019d). Shapes as `SelfAttention`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.window = Window(config.width, config.width, config.window)

    def forward(self, behaviors: Tensor, layout: Layout) -> Tensor:
        table = F.pad(behaviors, (0, 0, 1, 0))  # a row of zeros first
        index = torch.arange(1, len(table), device=table.device)
        return torch.relu_(self.window(table, index, layout))


class Window(nn.Module):
    """A convolution over packed rows that are looked up in a table: its products once a table row.

    Tap k of a row goes to the state w // 2 - k rows after it.

    Shapes: U table rows, C width, R packed rows, w window, D width of the states.
        table    (U, C) float; row 0 is zero and stands beyond the ends of a sequence
        index    (R,) rows of the table
        returns  (R, D) float
    """

    def __init__(self, width_in: int, width: int, window: int) -> None:
        super().__init__()
        self.window, self.width = window, width
        self.taps = nn.Linear(width_in, window * width, bias=False)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, table: Tensor, index: Tensor, layout: Layout) -> Tensor:
        # The bias rides on the middle tap, which no row beyond an end ever gives.
        before = self.window // 2 * self.width
        bias = F.pad(self.bias, (before, before))
        taps = F.linear(table, self.taps.weight, bias).view(len(table) * self.window, self.width)
        around = layout.neighbors(index, self.window, nothing=0)  # (R, w)
        tap = torch.arange(self.window, device=index.device)
        return sum_of_rows(taps, around * self.window + tap)


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


@outside_graphs
def _recurrence_layout(layout: Layout) -> tuple[Tensor, Tensor, Tensor]:
    """The order of a recurrence, the way back, and how many sequences run at each time."""
    order, running = recurrence_order(layout.lengths)
    return layout.here(order), layout.here(np.argsort(order)), torch.from_numpy(running)


def recurrence_order(lengths: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows in the order that a recurrence takes them, and how many sequences run at each time.

    All first behaviors come first, of the longest sequence before that of shorter ones.
    """
    order = np.argsort(-lengths, kind="stable")  # (N,)
    starts = (np.cumsum(lengths) - lengths)[order]  # (N,)
    running = (lengths[:, None] > np.arange(lengths.max())).sum(0)  # (longest,)
    places = np.repeat(np.arange(len(running)), running)  # (R,)
    nth = np.arange(len(places)) - np.repeat(np.cumsum(running) - running, running)
    return starts[nth] + places, running


def build_context_encoder(config: ModelConfig) -> nn.Module:
    return _ENCODERS[config.context_encoder](config)


_ENCODERS: dict[str, type[nn.Module]] = {
    "self_attention": SelfAttention,
    "transformer": TransformerBlocks,
    "gru": Recurrence,
    "lstm": Recurrence,
    "cnn": Convolution,
}
