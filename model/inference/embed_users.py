"""Rows of the tables to user vectors, each distinct title encoded once. What nightly runs serve."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from contracts.errors import BadInput
from model.data.encoder_input import title_rows
from model.data.ragged import Ragged, offsets_of
from model.data.vocabulary import Arrow
from model.inference.vectors import title_vectors, to_numpy, user_vectors
from model.layers.user_model import UserModel
from model.storage.checkpoint import TrainedModel


def embed_users(
    trained: TrainedModel, sequences: Ragged, title_ids: NDArray[np.int64], words: Arrow
) -> NDArray[np.float32]:
    """One vector a user, from rows as the tables have them.

    Shapes: N users, T titles, D width.
        sequences  (N rows) title ids, oldest first
        title_ids  (T,) ascending; words: the list of each one's words (Arrow)
        returns    (N, D) float32
    A word that the model has not seen is the unknown word. As in training, views past `max_views`,
    the oldest, and words past `max_words` are cut off.
    """
    longest = trained.model.config.max_views
    lengths = np.minimum(sequences.lengths(), longest)
    newest = sequences.crop(np.arange(len(sequences)), sequences.lengths() - lengths, lengths)
    used, places = np.unique(newest.values.astype(np.int64), return_inverse=True)
    rows = np.searchsorted(title_ids, used)
    missing = used[title_ids[np.minimum(rows, len(title_ids) - 1)] != used]
    if len(missing):
        raise BadInput(
            f"titles lacks {len(missing)} of the {len(used)} titles that users viewed, for example "
            f"{missing[:3].tolist()}: run `userbert titles` for the days of these views"
        )
    their_words = words.take(pa.array(rows))
    if isinstance(their_words, pa.ChunkedArray):
        their_words = their_words.combine_chunks()
    titles = encoder_input(trained, used, their_words)
    return embed_sequences(trained.model, titles, Ragged(places, newest.offsets))


def encoder_input(trained: TrainedModel, title_ids: NDArray[np.int64], words: Arrow) -> Ragged:
    """What the behavior encoder reads of these titles: word ids, or a row of the title table."""
    if not trained.model.reads_words:
        known = trained.title_ids.numpy()  # (T,) ascending
        rows = np.searchsorted(known, title_ids)
        is_known = known[np.minimum(rows, len(known) - 1)] == title_ids
        return title_rows(np.where(is_known, rows, -1))
    cut: Arrow = pc.list_slice(words, 0, trained.model.config.max_words)
    lengths = cut.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
    return Ragged(trained.vocabulary.ids(cut.flatten()), offsets_of(lengths))


def embed_sequences(model: UserModel, titles: Ragged, sequences: Ragged) -> NDArray[np.float32]:
    """(N, D) float32: one vector a sequence, which holds rows of `titles`.

    Shapes: T titles, each what the behavior encoder reads of it; N sequences.
    """
    return to_numpy(user_vectors(model, title_vectors(model, titles), sequences))
