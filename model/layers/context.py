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
from model.layers.attention import SelfAttention
from model.layers.packed_sequences import Layout, outside_graphs, rows_at, sum_of_rows
from model.layers.transformer import TransformerBlocks


class _Recurrence(nn.Module):
    """A GRU or an LSTM from the oldest behavior to the newest. Shapes as `SelfAttention`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        kind = {"gru": nn.GRU, "lstm": nn.LSTM}[config.context_encoder]
        self.cell = kind(config.width, config.width)

    def forward(self, behaviors: Tensor, layout: Layout) -> Tensor:
        order, back, running = _recurrence_layout(layout)  # (R,), (R,), (longest,)
        states = self.cell(PackedSequence(rows_at(behaviors, order), running))[0].data
        return rows_at(states, back)


class _Convolution(nn.Module):
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
    if config.context_encoder == "transformer":
        return TransformerBlocks(config, config.context_layers, config.dropout)
    return _ENCODERS[config.context_encoder](config)


_ENCODERS: dict[str, type[nn.Module]] = {
    "self_attention": SelfAttention,
    "gru": _Recurrence,
    "lstm": _Recurrence,
    "cnn": _Convolution,
}
