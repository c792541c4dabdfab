"""Titles and sequences of a corpus to vectors, each distinct title once."""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from model.config import ModelConfig
from model.data.corpus import Corpus
from model.data.ragged import Ragged
from model.layers.packed_sequences import rows_at
from model.layers.user_model import UserModel
from model.objective.tasks import HIDDEN, Titles

TITLES_AT_ONCE = 8192  # without gradient: 80,000 words, 0.25 GB of queries, keys and values
SEQUENCES_AT_ONCE = 512  # without gradient


def words_of(corpus: Corpus, titles: ArrayLike, config: ModelConfig) -> Ragged:
    """What the behavior encoder reads of these titles: their words, or the row + 1 for `id`."""
    titles = np.asarray(titles, np.int64)
    if config.behavior_encoder == "id":
        return Ragged(titles + 1, np.arange(len(titles) + 1))
    return corpus.title_words.take(titles)


def identity_of(corpus: Corpus, config: ModelConfig) -> NDArray[np.integer]:
    """(T,) equal for titles that the behavior encoder cannot tell apart."""
    if config.behavior_encoder == "id":
        return np.arange(len(corpus.title_ids))
    return corpus.title_identity


def encode(model: UserModel, corpus: Corpus, titles: Titles) -> Tensor:
    """(n,) titles to (n, D), in one go."""
    words = words_of(corpus, titles, model.config)
    packed = torch.from_numpy(words.values.astype(np.int64))
    return model.encode_titles(packed, torch.from_numpy(words.lengths()))


class TitleVectors:
    """The vectors of some titles, and the mask's, to be looked up.

    Shapes: U titles.
        titles   (U,) ascending, distinct
        vectors  (U, D)
    """

    def __init__(self, titles: Titles, vectors: Tensor, mask: Tensor) -> None:
        self.titles = titles
        self._table = torch.cat([vectors, mask[None].to(vectors.dtype)])

    def at(self, titles: NDArray[np.integer]) -> Tensor:
        """(...,) titles, or HIDDEN for the mask, to (..., D)."""
        index = np.searchsorted(self.titles, titles)
        index[titles == HIDDEN] = len(self.titles)
        rows = torch.from_numpy(index).to(self._table.device)
        return rows_at(self._table, rows.flatten()).view(*rows.shape, -1)


@torch.no_grad()
def title_vectors(model: UserModel, corpus: Corpus, titles: Titles) -> TitleVectors:
    """Vectors to rank by: without gradient, in pieces that bound the memory."""
    distinct = np.unique(titles).astype(np.int64)
    pieces = [
        encode(model, corpus, distinct[start : start + TITLES_AT_ONCE])
        for start in range(0, len(distinct), TITLES_AT_ONCE)
    ]
    return TitleVectors(distinct, torch.cat(pieces), model.mask)


@torch.no_grad()
def user_vectors(model: UserModel, corpus: Corpus, sequences: Ragged) -> Tensor:
    """(N, D) to rank by: without gradient, in pieces that bound the memory."""
    table = title_vectors(model, corpus, sequences.values)
    pieces = []
    for start in range(0, len(sequences), SEQUENCES_AT_ONCE):
        piece = sequences.take(np.arange(start, min(start + SEQUENCES_AT_ONCE, len(sequences))))
        lengths = torch.from_numpy(piece.lengths())
        pieces.append(model.encode_users(table.at(piece.values), lengths)[1])
    return torch.cat(pieces)
