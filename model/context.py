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
from model.packed import Layout, rows_at, sum_of_rows

# Sequences attend together whose lengths differ by less than this share: under a tenth of padding,
# about fifteen groups up to 100 behaviors.
SLACK = 0.15


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
        return attend(self.projection(behaviors), layout, self.heads)


class Recurrence(nn.Module):
    """A GRU or an LSTM from the oldest behavior to the newest. Shapes as `SelfAttention`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        kind = {"gru": nn.GRU, "lstm": nn.LSTM}[config.context_encoder]
        self.cell = kind(config.width, config.width)

    def forward(self, behaviors: Tensor, layout: Layout) -> Tensor:
        order, running = by_time(layout.lengths)
        packed = PackedSequence(rows_at(behaviors, layout.here(order)), torch.from_numpy(running))
        states = self.cell(packed)[0].data
        return rows_at(states, layout.here(np.argsort(order)))


class Convolution(nn.Module):
    """A window of behaviors, then ReLU (Wu et al. 2019d). Shapes as `SelfAttention`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.window = config.window
        self.taps = nn.Linear(config.width, config.window * config.width, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.width))

    def forward(self, behaviors: Tensor, layout: Layout) -> Tensor:
        taps = self.taps(F.pad(behaviors, (0, 0, 1, 0)))  # a row of zeros first
        index = torch.arange(1, len(taps), device=taps.device)
        return F.relu(convolve(taps, index, layout, self.window) + self.bias)


def convolve(taps: Tensor, index: Tensor, layout: Layout, window: int) -> Tensor:
    """Add up what each row's neighbors, and the row itself, say of it.

    taps (U, w D): for each row of a table what it adds to the state `w // 2` after it, and so on to
    the state `w // 2` before it; row 0 is zero, for beyond the ends. index (R,) into the table.
    """
    around = layout.neighbors(index, window, nothing=0)  # (R, w)
    offsets = torch.arange(window, device=index.device)
    return sum_of_rows(taps.view(len(taps) * window, -1), around * window + offsets)


def attend(projected: Tensor, layout: Layout, heads: int) -> Tensor:
    """Each row's average over its sequence's values, by queries and keys.

    Shapes: projected (R, 3 D) queries, keys and values side by side; returns (R, D).
    """
    groups = of_like_length(layout.lengths)
    padded = F.pad(projected, (0, 0, 0, 1))  # a row of zeros last
    attended = [_attend_group(padded, layout, group, heads) for group in groups]
    rows = np.concatenate([_rows_of(layout, group) for group in groups])
    return rows_at(torch.cat(attended), layout.here(np.argsort(rows)))


def _rows_of(layout: Layout, group: NDArray[np.int64]) -> NDArray[np.int64]:
    rows = layout.pad(group, int(layout.lengths[group].max()))
    return rows[rows < layout.num_rows]


def _attend_group(padded: Tensor, layout: Layout, group: NDArray[np.int64], heads: int) -> Tensor:
    """The attended rows of sequences of like length, packed: (their rows, D)."""
    rows = layout.pad(group, int(layout.lengths[group].max()))  # (n, L)
    real = layout.here(rows < layout.num_rows)
    projected = rows_at(padded, layout.here(rows.ravel())).view(*rows.shape, 3, heads, -1)
    query, key, value = projected.permute(2, 0, 3, 1, 4)  # each (n, H, L, D / H)
    ended = None if bool((rows < layout.num_rows).all()) else real[:, None, None, :]
    attended = F.scaled_dot_product_attention(query, key, value, attn_mask=ended)
    return attended.transpose(1, 2).flatten(2)[real]


def of_like_length(lengths: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Sequences in groups of about the same length, the longest first."""
    order = np.argsort(-lengths, kind="stable")
    groups: list[NDArray[np.int64]] = []
    while len(order):
        fits = lengths[order] > lengths[order[0]] * (1 - SLACK)
        groups.append(order[fits])
        order = order[~fits]
    return groups


def by_time(lengths: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows in the order that a recurrence takes them, and how many sequences run at each time.

    All first behaviors come first, of the longest sequence before that of shorter ones.
    """
    order = np.argsort(-lengths, kind="stable")
    starts = (np.cumsum(lengths) - lengths)[order]
    running = (lengths[:, None] > np.arange(lengths.max())).sum(0)
    places = np.repeat(np.arange(len(running)), running)
    nth = np.arange(len(places)) - np.repeat(np.cumsum(running) - running, running)
    return starts[nth] + places, running


def context_encoder(config: ModelConfig) -> nn.Module:
    if config.context_encoder == "self_attention":
        return SelfAttention(config)
    return Convolution(config) if config.context_encoder == "cnn" else Recurrence(config)
