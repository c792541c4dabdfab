"""Behavior encoders: a title to its vector (section 3.1). Position is added by the user model.

All take N titles as packed words and give (N, D). A title's words never see another title's.
The first linear map of `cnn` and `transformer` has no more than a word as its input, so it is
computed once a distinct word of the call: titles of a step repeat their words about four times.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import ModelConfig
from model.data.vocabulary import PADDING_ID
from model.layers.aggregators import AttentivePooling
from model.layers.attention import attend_within_sequences
from model.layers.context import Window
from model.layers.packed_sequences import Layout, rows_at
from model.layers.transformer import TransformerBlocks


class BehaviorEncoder(nn.Module):
    """Titles to vectors. A new encoder is a subclass here, its entry below and its name in
    `BehaviorEncoderName`."""

    reads_words: ClassVar[bool] = True  # else a title is one row of a table of known titles

    def __init__(self, config: ModelConfig, num_words: int, num_titles: int) -> None:
        super().__init__()


class _TitleTable(BehaviorEncoder):
    """A vector a title (Sun et al. 2019); the "words" of a title are its row + 1, alone.

    0 is any title that the table does not have.
    """

    reads_words = False

    def __init__(self, config: ModelConfig, num_words: int, num_titles: int) -> None:
        super().__init__(config, num_words, num_titles)
        self.titles = nn.Embedding(num_titles + 1, config.width)
        nn.init.normal_(self.titles.weight, std=config.width**-0.5)

    def forward(self, words: Tensor, layout: Layout) -> Tensor:
        return rows_at(self.titles.weight, words)


class GivenVectors(BehaviorEncoder):
    """A linear map of a vector that any text encoder made before; the vectors stay as they are.

    A title is a row of a table, as in `_TitleTable`. Row 0, for a title that the file does not
    have, is the mean of the file's vectors.
    """

    reads_words = False
    vectors: Tensor  # (T + 1, E)

    def __init__(self, config: ModelConfig, num_words: int, num_titles: int) -> None:
        super().__init__(config, num_words, num_titles)
        self.register_buffer("vectors", torch.zeros(num_titles + 1, config.given_width))
        self.linear = nn.Linear(config.given_width, config.width)

    def forward(self, words: Tensor, layout: Layout) -> Tensor:
        mapped: Tensor = self.linear(rows_at(self.vectors, words))  # (N, E) -> (N, D)
        return mapped


class _TitleCNN(BehaviorEncoder):
    """Convolution over words, ReLU, attentive pooling (Kim 2014; Wu et al. 2019a).

    Shapes: N titles, R words in all, U distinct words, E word width, w window, D width.
        words    (R,) int64 word ids, packed; row PADDING of their table is zero
        returns  (N, D) float
    """

    def __init__(self, config: ModelConfig, num_words: int, num_titles: int) -> None:
        super().__init__(config, num_words, num_titles)
        self.words = _word_table(config, num_words)
        self.window = Window(config.word_width, config.width, config.window)
        self.pooling = AttentivePooling(config)

    def forward(self, words: Tensor, layout: Layout) -> Tensor:
        distinct, index = _with_padding(words)
        states = torch.relu_(self.window(self.words(distinct), index, layout))  # (R, D)
        pooled: Tensor = self.pooling(states, layout)
        return pooled


class TitleTransformer(BehaviorEncoder):
    """Multi-head self-attention over words, attentive pooling (Wu et al. 2019c).

    With `title_layers` whole Transformer layers stand in place of the one self-attention.

    Without `word_positions` a title is a multiset of words: their order changes nothing. With
    them a learned position is added to each word, as the authors' published code of PTUM does.
    Shapes as `_TitleCNN`.
    """

    def __init__(self, config: ModelConfig, num_words: int, num_titles: int) -> None:
        super().__init__(config, num_words, num_titles)
        self.words = _word_table(config, num_words)
        self.heads = config.heads
        # With layers of its own, each brings its queries, keys and values.
        parts = 1 if config.title_layers else 3
        self.projection = nn.Linear(config.word_width, parts * config.width)
        self.pooling = AttentivePooling(config)
        self.position: nn.Parameter | None = None
        if config.word_positions:
            self.position = nn.Parameter(torch.empty(config.max_words, config.word_width))
            nn.init.normal_(self.position, std=config.word_width**-0.5)
        self.layers: TransformerBlocks | None = None
        if config.title_layers:
            # Without dropout: a title is the same vector in a sequence and as a candidate.
            self.layers = TransformerBlocks(config, config.title_layers, dropout=0.0)

    def forward(self, words: Tensor, layout: Layout) -> Tensor:
        distinct, index = torch.unique(words, return_inverse=True)
        projected = self.projection(self.words(distinct))  # (U, 3 D); with layers (U, D)
        if self.position is not None:
            # The map is linear, so a word and its position are projected apart and then added.
            positions = F.linear(self.position[: layout.longest], self.projection.weight)
            projected = rows_at(projected, index) + rows_at(positions, layout.places)  # (R, 3 D)
            index = torch.arange(len(words), device=words.device)
        if self.layers is not None:
            states = self.layers(rows_at(projected, index), layout)  # (R, D)
        else:
            states = attend_within_sequences(projected, index, layout, self.heads)  # (R, D)
        pooled: Tensor = self.pooling(states, layout)
        return pooled


def _word_table(config: ModelConfig, num_words: int) -> nn.Embedding:
    table = nn.Embedding(num_words, config.word_width, padding_idx=PADDING_ID)
    nn.init.normal_(table.weight, std=config.word_width**-0.5)
    with torch.no_grad():
        table.weight[PADDING_ID].zero_()
    return table


def _with_padding(words: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct words, padding first, and where each word is among them."""
    padding = words.new_full((1,), PADDING_ID)
    distinct, index = torch.unique(torch.cat([padding, words]), return_inverse=True)
    return distinct, index[1:]


_ENCODERS: dict[str, type[BehaviorEncoder]] = {
    "id": _TitleTable,
    "cnn": _TitleCNN,
    "transformer": TitleTransformer,
    "given": GivenVectors,
}


def build_behavior_encoder(config: ModelConfig, num_words: int, num_titles: int) -> BehaviorEncoder:
    return _ENCODERS[config.behavior_encoder](config, num_words, num_titles)


def reads_words(config: ModelConfig) -> bool:
    """Whether the encoder that these settings name reads words."""
    return _ENCODERS[config.behavior_encoder].reads_words
