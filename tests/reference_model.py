"""The paper's model and losses as its authors' readers would write them: padded, plain and slow.

No computation is shared with `model/`: titles are padded to 30 words and users to 100 behaviors,
with masks, every occurrence of a title is encoded, and each loss is the softmax of the equations.
Tests hold the quick implementation against it; `benchmarks/pretrain_step.py` times it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.data.corpus import Corpus
from model.layers.encoders import reads_words
from model.layers.user_model import UserModel

Titles = Sequence[Any]  # a list of titles for each sequence


class PlainAttention(nn.Module):
    """Attentive pooling of padded rows."""

    def __init__(self, width: int, query_width: int) -> None:
        super().__init__()
        self.key = nn.Linear(width, query_width)
        self.query = nn.Linear(query_width, 1, bias=False)

    def forward(self, states: Tensor, real: Tensor) -> Tensor:  # (n, L, D), (n, L)
        scores = self.query(torch.tanh(self.key(states))).squeeze(-1)
        weights = torch.softmax(scores.masked_fill(~real, -1e30), dim=-1)
        return (weights.unsqueeze(-1) * states).sum(1)


class PlainSelfAttention(nn.Module):
    def __init__(self, width_in: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.width = heads, width
        self.projection = nn.Linear(width_in, 3 * width)

    def forward(self, rows: Tensor, real: Tensor) -> Tensor:  # (n, L, C), (n, L)
        n, length, _ = rows.shape
        query, key, value = (
            part.view(n, length, self.heads, -1).transpose(1, 2)
            for part in self.projection(rows).split(self.width, dim=-1)
        )
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        weights = torch.softmax(scores.masked_fill(~real[:, None, None, :], -1e30), dim=-1)
        attended: Tensor = weights @ value
        return attended.transpose(1, 2).reshape(n, length, self.width)


class PlainTransformer(nn.Module):
    """Blocks of self-attention and a feed-forward layer, each followed by residual and norm."""

    def __init__(self, width: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(PlainBlock(width, heads, dropout) for _ in range(layers))

    def forward(self, rows: Tensor, real: Tensor) -> Tensor:
        for block in self.blocks:
            rows = block(rows, real)
        return rows


class PlainBlock(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = PlainSelfAttention(width, width, heads)
        self.output = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width)
        self.feed_forward = nn.ModuleList(
            [nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)]
        )
        self.feed_forward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, rows: Tensor, real: Tensor) -> Tensor:
        rows = self.attention_norm(rows + self.dropout(self.output(self.attention(rows, real))))
        wide = self.feed_forward[1](self.feed_forward[0](rows))
        states: Tensor = self.feed_forward_norm(rows + self.dropout(self.feed_forward[2](wide)))
        return states


class PlainConvolution(nn.Module):
    def __init__(self, width_in: int, width: int, window: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width_in, width, window, padding=window // 2)

    def forward(self, rows: Tensor, real: Tensor) -> Tensor:
        rows = rows * real.unsqueeze(-1)  # padding is zero, as at the ends
        return torch.relu(self.conv(rows.transpose(1, 2)).transpose(1, 2))


class PlainRecurrence(nn.Module):
    """Padding comes after the real behaviors, so it cannot reach back to them."""

    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        self.cell = {"gru": nn.GRU, "lstm": nn.LSTM}[kind](width, width, batch_first=True)

    def forward(self, rows: Tensor, real: Tensor) -> Tensor:
        states: Tensor = self.cell(rows)[0]
        return states


class PlainUserModel(nn.Module):
    """Padded words or ids to titles, padded titles to users."""

    def __init__(self, config: ModelConfig, num_words: int, num_titles: int = 0) -> None:
        super().__init__()
        self.config = config
        width = config.width
        if not reads_words(config):
            self.titles = nn.Embedding(num_titles + 1, width)
        else:
            self.words = nn.Embedding(num_words, config.word_width, padding_idx=0)
            self.title_pooling = PlainAttention(width, config.query_width)
            self.title_states = (
                PlainConvolution(config.word_width, width, config.window)
                if config.behavior_encoder == "cnn"
                else PlainSelfAttention(config.word_width, width, config.heads)
            )
        if config.word_positions:
            self.title_position = nn.Parameter(torch.empty(config.max_words, config.word_width))
        self.mask = nn.Parameter(torch.empty(width))
        places = config.max_views + (config.aggregator == "mask")
        self.position = nn.Parameter(torch.empty(places, width))
        self.context: nn.Module
        if config.context_encoder == "self_attention":
            self.context = PlainSelfAttention(width, width, config.heads)
        elif config.context_encoder == "transformer":
            layers = config.context_layers
            self.context = PlainTransformer(width, config.heads, layers, config.dropout)
        elif config.context_encoder == "cnn":
            self.context = PlainConvolution(width, width, config.window)
        else:
            self.context = PlainRecurrence(config.context_encoder, width)
        self.pooling = PlainAttention(width, config.query_width)
        self.dropout = nn.Dropout(config.dropout)
        if config.prediction_head:
            self.head = nn.Sequential(nn.Linear(width, width), nn.GELU())

    def encode_titles(self, words: Tensor) -> Tensor:
        """(n, 30) word ids, 0 after the end, to (n, D); for `id` (n, 1) rows + 1."""
        vectors: Tensor
        if not reads_words(self.config):
            vectors = self.titles(words[:, 0])
        else:
            real, embedded = words > 0, self.words(words)
            if self.config.word_positions:
                embedded = embedded + self.title_position[: words.shape[1]]
            vectors = self.title_pooling(self.title_states(embedded, real), real)
        return vectors

    def encode_users(self, behaviors: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """(n, L, D) title vectors, (n, L) bool, to states (n, L, D) and users (n, D)."""
        places = behaviors.shape[1]
        if self.config.aggregator == "mask":  # behind the newest behavior
            rows, ends = torch.arange(len(real)), real.sum(1)
            behaviors = torch.nn.functional.pad(behaviors, (0, 0, 0, 1)).clone()
            behaviors[rows, ends] = self.mask.to(behaviors.dtype)
            real = torch.arange(places + 1) <= ends[:, None]
        behaviors = self.dropout(behaviors + self.position[: behaviors.shape[1]])
        states = self.context(behaviors, real)
        if self.config.prediction_head:
            states = self.head(states)
        states = self.dropout(states)
        return states[:, :places], self._aggregate(states, real)

    def _aggregate(self, states: Tensor, real: Tensor) -> Tensor:
        kind = self.config.aggregator
        if kind == "attentive":
            users: Tensor = self.pooling(states, real)
            return users
        if kind == "max":
            return states.masked_fill(~real.unsqueeze(-1), float("-inf")).max(1).values
        if kind == "average":
            return (states * real.unsqueeze(-1)).sum(1) / real.sum(1, keepdim=True)
        return states[torch.arange(len(states)), real.sum(1) - 1]

    @torch.no_grad()
    def copy(self, model: UserModel) -> "PlainUserModel":
        """Take the weights of a `UserModel`."""
        for name, values in plain_names(model.config, dict(model.named_parameters())).items():
            self.get_parameter(name).copy_(values)
        return self


def plain_names(config: ModelConfig, tensors: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    """The tensors of a `UserModel`, weights or gradients, by the names they have here."""
    named = {}
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        name = name.replace("behavior.words", "words").replace("behavior.titles", "titles")
        name = name.replace("behavior.position", "title_position")
        name = name.replace("behavior.pooling", "title_pooling").replace(
            "behavior.", "title_states."
        )
        name = name.replace("aggregator.", "pooling.")
        name = name.replace("window.taps", "conv").replace("window.bias", "conv.bias")
        if name.endswith("conv.weight"):  # from (w D, C): one linear map a place of the window
            tensor = tensor.view(config.window, config.width, -1).permute(1, 2, 0)
        named[name] = tensor
    return named


def pad_words(corpus: Corpus, titles: Any, config: ModelConfig) -> Tensor:
    """(...,) titles to (..., 30) word ids; of no title (-1) all padding."""
    titles = torch.as_tensor(titles)
    width = config.max_words if reads_words(config) else 1
    words = torch.zeros(titles.numel(), width, dtype=torch.int64)
    for row, title in enumerate(titles.flatten().tolist()):
        if title >= 0 and not reads_words(config):
            words[row, 0] = title + 1
        elif title >= 0:
            own = torch.as_tensor(corpus.title_words[title].astype("int64"))
            words[row, : len(own)] = own
    return words.view(*titles.shape, width)


def pad_sequences(sequences: Titles, length: int) -> Tensor:
    """A list of title lists to (n, length) titles, -1 after the end."""
    padded = torch.full((len(sequences), length), -1)
    for row, titles in enumerate(sequences):
        padded[row, : len(titles)] = torch.as_tensor(list(titles))
    return padded


def cross_entropies(queries: Tensor, candidates: Tensor, missing: Tensor) -> Tensor:
    """(n, D), (n, 1 + K, D), (n, K) bool to (n,): equations 1 and 2, a target each."""
    scores = torch.bmm(candidates, queries.unsqueeze(-1)).squeeze(-1)
    exponentials = torch.exp(scores - scores.max(1, keepdim=True).values.detach())
    present = torch.cat([torch.ones_like(missing[:, :1]), ~missing], dim=1)
    return -torch.log(exponentials[:, 0] / (exponentials * present).sum(1))


def view_cross_entropies(users: Tensor) -> Tensor:
    """(2 B, D), two views of a user side by side, to (2 B,)."""
    losses = []
    for i in range(len(users)):
        others = [j for j in range(len(users)) if j != i]
        scores = torch.stack([users[i] @ users[j] for j in others])
        losses.append(-torch.log_softmax(scores, dim=0)[others.index(i ^ 1)])
    return torch.stack(losses)


class PlainEncoder:
    """Encodes what a step names, padded, every occurrence of a title for itself."""

    def __init__(self, model: PlainUserModel, corpus: Corpus) -> None:
        self.model, self.corpus, self.config = model, corpus, model.config

    def titles(self, titles: Any) -> Tensor:
        words = pad_words(self.corpus, titles, self.config)
        return self.model.encode_titles(words.flatten(0, -2)).view(*words.shape[:-1], -1)

    def sequences(
        self, sequences: Titles, hidden: Sequence[list[int]] = ()
    ) -> tuple[Tensor, Tensor]:
        """Title lists, and the places hidden in each, to states (n, L, D) and users (n, D)."""
        padded = pad_sequences(sequences, self.config.max_views)
        behaviors = self.titles(padded).clone()
        for row, places in enumerate(hidden):
            behaviors[row, places] = self.model.mask
        return self.model.encode_users(behaviors, padded >= 0)


def masked_losses(
    encoder: PlainEncoder,
    sequences: Titles,
    hidden: Sequence[list[int]],
    wrong: Any,
    from_user: bool = False,
) -> Tensor:
    """Equation 1. hidden: places of each sequence; wrong: K titles or -1 for each of them."""
    states, users = encoder.sequences(sequences, hidden)
    rows = [(row, place) for row, places in enumerate(hidden) for place in places]
    queries = torch.stack([users[row] if from_user else states[row, place] for row, place in rows])
    targets = [[sequences[row][place]] for row, place in rows]
    return _behavior_losses(encoder, queries, targets, wrong)


def next_losses(
    encoder: PlainEncoder, sequences: Titles, coming: Sequence[list[int]], wrong: Any
) -> Tensor:
    """PTUM's next behaviors. coming: the titles to be found of each sequence."""
    users = encoder.sequences(sequences)[1]
    queries = torch.stack([users[row] for row, titles in enumerate(coming) for _ in titles])
    return _behavior_losses(encoder, queries, [[title] for row in coming for title in row], wrong)


def _behavior_losses(
    encoder: PlainEncoder, queries: Tensor, targets: list[list[int]], wrong: Any
) -> Tensor:
    wrong = torch.as_tensor(wrong)
    candidates = encoder.titles(torch.cat([torch.as_tensor(targets), wrong], dim=1))
    return cross_entropies(queries, candidates, wrong < 0)


def matching_losses(
    encoder: PlainEncoder, early: Titles, late: Titles, wrong: Sequence[Sequence[Any]]
) -> Tensor:
    """Equation 2. wrong: P title lists, or None, for each pair."""
    users, right = encoder.sequences(early)[1], encoder.sequences(late)[1]
    missing = torch.tensor([[each is None for each in row] for row in wrong])
    stand_in = [early[0] if each is None else each for row in wrong for each in row]
    others = encoder.sequences(stand_in)[1].view(*missing.shape, -1)
    return cross_entropies(users, torch.cat([right[:, None], others], dim=1), missing)
