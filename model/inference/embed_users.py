"""Rows of the tables to user vectors and forecasts, each distinct title encoded once.

What nightly runs serve.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from contracts.errors import BadInput
from model.data.encoder_input import title_rows
from model.data.ragged import Ragged, offsets_of
from model.data.vocabulary import Arrow
from model.inference.vectors import (
    evaluation_mode,
    require_times,
    title_vectors,
    to_numpy,
    user_vectors,
)
from model.layers.user_encoder import UserEncoder
from model.storage.checkpoint import TrainedModel


@dataclass(frozen=True)
class EmbeddedUsers:
    """Shapes: N users, D width.

    vectors    (N, D) float32
    forecasts  (N, 5) float32 in the order of contracts/forecasts.py; None: the model makes none
    """

    vectors: NDArray[np.float32]
    forecasts: NDArray[np.float32] | None


def embed_users(
    trained: TrainedModel,
    sequences: Ragged,
    title_ids: NDArray[np.int64],
    words: Arrow,
    times: NDArray[np.int64] | None = None,
    as_of: NDArray[np.int64] | None = None,
) -> EmbeddedUsers:
    """One vector a user, and its forecasts, from rows as the tables have them.

    Shapes: N users with R views, T titles, D width.
        sequences  (N rows) title ids, oldest first
        title_ids  (T,) ascending; words: the list of each one's words (Arrow)
        times      (R,) microseconds UTC beside sequences.values, where the model reads times
        as_of      (N,) the instant as of which each user is embedded, later than all the views
    A word that the model has not seen is the unknown word. As in training, views that the model
    does not read, the oldest, and words past `max_words` are cut off.
    """
    model = trained.model
    require_times(model, times, as_of)
    newest = newest_views(sequences, model.max_views)  # N rows, R' of the R views
    if times is not None:
        times = newest_views(Ragged(times, sequences.offsets), model.max_views).values
    # (T',), (R',) rows of `used`
    used, places = np.unique(newest.values.astype(np.int64), return_inverse=True)
    # (T',) rows of `title_ids`; behind its end for an id above all
    rows = np.searchsorted(title_ids, used)
    missing = used[title_ids[np.minimum(rows, len(title_ids) - 1)] != used]
    if len(missing):
        raise BadInput(
            f"titles lacks {len(missing)} of the {len(used)} titles that users viewed, for example "
            f"{missing[:3].tolist()}: run `userbert titles` for the days of these views"
        )
    their_words = words.take(pa.array(rows))  # T' lists
    if isinstance(their_words, pa.ChunkedArray):
        their_words = their_words.combine_chunks()
    titles = title_vectors(model, encoder_input(trained, used, their_words))  # (T', E)
    users = user_vectors(model, titles, Ragged(places, newest.offsets), times, as_of)  # (N, D)
    forecasts = None
    if "next_period" in trained.manifest.config.tasks:
        with evaluation_mode(model):
            forecasts = model.forecasts(users)
    return EmbeddedUsers(to_numpy(users), None if forecasts is None else to_numpy(forecasts))


def newest_views(rows: Ragged, limit: int | None) -> Ragged:
    """The newest `limit` values of each row; None: all."""
    if limit is None:
        return rows
    lengths = np.minimum(rows.lengths(), limit)  # (N,)
    return rows.crop(np.arange(len(rows)), rows.lengths() - lengths, lengths)


def encoder_input(trained: TrainedModel, title_ids: NDArray[np.int64], words: Arrow) -> Ragged:
    """What the behavior encoder reads of these titles: word ids, or a row of the title table."""
    if not trained.model.reads_words:
        known = trained.title_ids.numpy()  # (T,) ascending
        rows = np.searchsorted(known, title_ids)  # (T,) rows of the title table, if the id is there
        is_known = known[np.minimum(rows, len(known) - 1)] == title_ids
        return title_rows(np.where(is_known, rows, -1))  # -1: no row of its own
    cut: Arrow = pc.list_slice(words, 0, trained.model.config.max_words)
    lengths = cut.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
    return Ragged(trained.vocabulary.ids(cut.flatten()), offsets_of(lengths))


def embed_sequences(
    model: UserEncoder,
    titles: Ragged,
    sequences: Ragged,
    times: NDArray[np.int64] | None = None,
    as_of: NDArray[np.int64] | None = None,
) -> NDArray[np.float32]:
    """(N, D) float32: one vector a sequence, which holds rows of `titles`.

    Shapes: T titles, each what the behavior encoder reads of it; N sequences; times and as_of as
    `user_vectors` takes them.
    """
    return to_numpy(user_vectors(model, title_vectors(model, titles), sequences, times, as_of))
