"""Behavior aggregators: the states of a sequence to one vector (section 3.1)."""

import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.packed import Layout, rows_at


class AttentivePooling(nn.Module):
    """Weigh the states by how they answer a learned query (Yang et al. 2016).

    Shapes: R rows in N sequences, D width.
        states   (R, D) float, packed
        returns  (N, D) float
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.key = nn.Linear(config.width, config.query_width)
        self.query = nn.Linear(config.query_width, 1, bias=False)

    def forward(self, states: Tensor, layout: Layout) -> Tensor:
        scores = self.query(torch.tanh(self.key(states))).squeeze(-1)
        return layout.sum(states, layout.softmax(scores))


class MaxPooling(nn.Module):
    """The largest value of each dimension. Shapes as `AttentivePooling`."""

    def forward(self, states: Tensor, layout: Layout) -> Tensor:
        ended = states.new_full((1, states.shape[1]), float("-inf"))
        padded = rows_at(torch.cat([states, ended]), layout.padded.flatten())
        largest: Tensor = padded.view(*layout.padded.shape, -1).max(dim=1).values
        return largest


class AveragePooling(nn.Module):
    """The mean over the sequence. Shapes as `AttentivePooling`."""

    def forward(self, states: Tensor, layout: Layout) -> Tensor:
        lengths = layout.ends - layout.starts + 1
        return layout.sum(states, (1 / lengths.to(states.dtype)).repeat_interleave(lengths))


class LastPooling(nn.Module):
    """The newest state (Hidasi et al. 2016). Shapes as `AttentivePooling`."""

    def forward(self, states: Tensor, layout: Layout) -> Tensor:
        return rows_at(states, layout.ends)


def aggregator(config: ModelConfig) -> nn.Module:
    if config.aggregator == "attentive":
        return AttentivePooling(config)
    return {"max": MaxPooling, "average": AveragePooling, "last": LastPooling}[config.aggregator]()
