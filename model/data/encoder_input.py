"""What a behavior encoder reads of a corpus's titles: their words, or rows of a title table.

`reads_words` is what the encoder says of itself (`model/layers/encoders.py`).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.data.corpus import Corpus
from model.data.ragged import Ragged


UNKNOWN_TITLE = 0  # the row of a title table for a title that it does not have


def corpus_input(corpus: Corpus, titles: ArrayLike, *, reads_words: bool) -> Ragged:
    """One row for each of these titles."""
    titles = np.asarray(titles, np.int64)
    return corpus.title_words.take(titles) if reads_words else title_rows(titles)


def title_rows(titles: NDArray[np.int64]) -> Ragged:
    """(T,) places in the title table, -1 for a title that it does not have, as T rows of one."""
    return Ragged(titles + 1, np.arange(len(titles) + 1))


def title_identity(corpus: Corpus, *, reads_words: bool) -> NDArray[np.integer]:
    """(T,) equal for titles that the behavior encoder cannot tell apart."""
    return corpus.title_identity if reads_words else np.arange(len(corpus.title_ids))
