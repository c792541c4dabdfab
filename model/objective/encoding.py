"""The vectors of a corpus's titles and sequences, as the objective looks them up and ranks them."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.data.corpus import Corpus
from model.data.encoder_input import corpus_input
from model.data.ragged import Ragged
from model.inference.vectors import title_vectors, user_vectors
from model.layers.packed_sequences import rows_at
from model.layers.user_model import UserModel
from model.objective.tasks.task import HIDDEN_TITLE, Titles

# Ranking encodes without gradient, in pieces that bound the memory.
_RANKED_TITLES_PER_BATCH = 8192  # 80,000 words: 0.25 GB of queries, keys and values
_RANKED_SEQUENCES_PER_BATCH = 512


class TitleVectors:
    """The vectors of some titles, and the mask's, to be looked up.

    Shapes: U titles.
        titles   (U,) ascending, distinct
        vectors  (U, D)
    """

    def __init__(self, titles: Titles, vectors: Tensor, mask: Tensor) -> None:
        self.titles = titles
        self._table = torch.cat([vectors, mask[None].to(vectors.dtype)])  # (U + 1, D)

    def at(self, titles: NDArray[np.integer]) -> Tensor:
        """(...,) titles, or HIDDEN_TITLE for the mask, to (..., D)."""
        index = np.searchsorted(self.titles, titles)  # (...,) rows of the table
        index[titles == HIDDEN_TITLE] = len(self.titles)  # its last row is the mask's
        rows = torch.from_numpy(index).to(self._table.device)
        return rows_at(self._table, rows.flatten()).view(*rows.shape, -1)


def ranking_titles(model: UserModel, corpus: Corpus, titles: Titles) -> TitleVectors:
    """The vectors of these titles to rank by."""
    distinct = np.unique(titles).astype(np.int64)  # (U,)
    words = corpus_input(corpus, distinct, reads_words=model.reads_words)
    vectors = title_vectors(model, words, per_batch=_RANKED_TITLES_PER_BATCH, sort_by_length=False)
    return TitleVectors(distinct, vectors, model.mask)


def ranking_users(model: UserModel, corpus: Corpus, sequences: Ragged, times: Ragged) -> Tensor:
    """(N, D) vectors of these sequences of titles to rank by, each as of its last view."""
    # (U,), (R,) rows of `distinct`
    distinct, places = np.unique(sequences.values, return_inverse=True)
    words = corpus_input(corpus, distinct, reads_words=model.reads_words)
    titles = title_vectors(model, words, per_batch=_RANKED_TITLES_PER_BATCH, sort_by_length=False)
    return user_vectors(
        model,
        titles,
        Ragged(places, sequences.offsets),
        times.values,
        times.values[times.offsets[1:] - 1] + 1,  # (N,) a microsecond after the last view
        per_batch=_RANKED_SEQUENCES_PER_BATCH,
        sort_by_length=False,
    )
