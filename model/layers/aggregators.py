"""Behavior aggregators: the states of a sequence to one vector (section 3.1)."""

import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.layers.packed_sequences import Layout, rows_at


class Aggregator(nn.Module):
    """What every aggregator can tell besides a vector."""

    def weights(self, states: Tensor, layout: Layout) -> Tensor:
        """(R,) how much of its sequence's vector each state makes up; each sequence's sum is 1."""
        raise NotImplementedError


class AttentivePooling(Aggregator):
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
        return layout.sum(states, self.weights(states, layout))

    def weights(self, states: Tensor, layout: Layout) -> Tensor:
        scores = self.query(torch.tanh_(self.key(states))).squeeze(-1)  # (R, D) -> (R,)
        return layout.softmax(scores)  # (R,)


class SeveralQueries(Aggregator):
    """Weigh the states by several learned queries; `pooling_join` says how they make one vector.

    Shapes as `AttentivePooling`; Q queries.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_queries = config.pooling_queries
        self.key = nn.Linear(config.width, config.query_width)
        self.query = nn.Linear(config.query_width, self.num_queries, bias=False)
        self.join: nn.Linear | None = None
        if config.pooling_join == "projected":
            self.join = nn.Linear(self.num_queries * config.width, config.width)

    def forward(self, states: Tensor, layout: Layout) -> Tensor:
        by_query = self._weights(states, layout)  # (R, Q)
        parts = states.chunk(self.num_queries, dim=1) if self.join is None else None
        pooled = [
            layout.sum(parts[query].contiguous() if parts else states, by_query[:, query])
            for query in range(self.num_queries)
        ]
        together = torch.cat(pooled, dim=1)  # (N, D), or (N, Q D) to be projected
        return together if self.join is None else self.join(together)

    def weights(self, states: Tensor, layout: Layout) -> Tensor:
        """The mean over the queries, each of which makes up an equal share of the vector."""
        return self._weights(states, layout).mean(dim=1)  # (R, Q) -> (R,)

    def _weights(self, states: Tensor, layout: Layout) -> Tensor:
        scores = self.query(torch.tanh_(self.key(states)))  # (R, D) -> (R, Q)
        return torch.stack([layout.softmax(each) for each in scores.unbind(1)], dim=1)


class MaxPooling(Aggregator):
    """The largest value of each dimension. Shapes as `AttentivePooling`."""

    def forward(self, states: Tensor, layout: Layout) -> Tensor:
        ended = states.new_full((1, states.shape[1]), float("-inf"))  # never the largest
        padded = rows_at(torch.cat([states, ended]), layout.padded.flatten())  # (N L, D)
        largest: Tensor = padded.view(*layout.padded.shape, -1).max(dim=1).values
        return largest

    def weights(self, states: Tensor, layout: Layout) -> Tensor:
        """The share of the dimensions that are the state's; states that tie share them."""
        lengths = layout.ends - layout.starts + 1
        largest = self(states, layout).repeat_interleave(lengths, dim=0)
        is_largest = (states == largest).to(states.dtype)  # (R, D)
        ties = layout.sum(is_largest, torch.ones_like(is_largest[:, 0]))
        shares: Tensor = is_largest / ties.repeat_interleave(lengths, dim=0)
        return shares.mean(dim=1)  # (R, D) -> (R,)


class AveragePooling(Aggregator):
    """The mean over the sequence. Shapes as `AttentivePooling`."""

    def forward(self, states: Tensor, layout: Layout) -> Tensor:
        return layout.sum(states, self.weights(states, layout))

    def weights(self, states: Tensor, layout: Layout) -> Tensor:
        lengths = layout.ends - layout.starts + 1
        return (1 / lengths.to(states.dtype)).repeat_interleave(lengths)


class LastPooling(Aggregator):
    """The newest state (Hidasi et al. 2016). Shapes as `AttentivePooling`."""

    def forward(self, states: Tensor, layout: Layout) -> Tensor:
        return rows_at(states, layout.ends)  # (R, D) -> (N, D)

    def weights(self, states: Tensor, layout: Layout) -> Tensor:
        return torch.zeros_like(states[:, 0]).index_fill(0, layout.ends, 1.0)


def build_aggregator(config: ModelConfig) -> Aggregator:
    if config.aggregator == "attentive":
        return AttentivePooling(config) if config.pooling_queries == 1 else SeveralQueries(config)
    others: dict[str, type[Aggregator]] = {
        "max": MaxPooling,
        "average": AveragePooling,
        "last": LastPooling,
        "mask": LastPooling,  # the user model puts the mask behind the newest behavior
    }
    return others[config.aggregator]()
