"""Vectors of many users: each distinct title is encoded once, then the users' views are looked up.

The code that encodes is the training's own (`UserModel`), so a user has one vector, wherever it
is made. The same rows give the same bytes; other company in a batch moves a vector by 1e-6 at most.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from contracts.errors import BadInput
from model.checkpoint import TrainedModel
from model.data.ragged import Ragged, offsets_of
from model.data.vocabulary import Arrow
from model.layers.user_model import UserModel

TITLES_A_BATCH = 2048
USERS_A_BATCH = 128


def embed_users(
    trained: TrainedModel, sequences: Ragged, title_ids: NDArray[np.int64], words: Arrow
) -> NDArray[np.float32]:
    """One vector a user, from rows as the tables have them. What nightly runs serve.

    Shapes: N users, T titles, D width.
        sequences  (N rows) title ids, oldest first
        title_ids  (T,) ascending; words: the list of each one's words (Arrow)
        returns    (N, D) float32
    A word that the model has not seen is the unknown word; views past `max_views`, the oldest,
    and words past `max_words` are cut off as in training.
    """
    most = trained.model.config.max_views
    lengths = np.minimum(sequences.lengths(), most)
    newest = sequences.crop(np.arange(len(sequences)), sequences.lengths() - lengths, lengths)
    used, places = np.unique(newest.values.astype(np.int64), return_inverse=True)
    rows = np.searchsorted(title_ids, used)
    missing = used[title_ids[np.minimum(rows, len(title_ids) - 1)] != used]
    if len(missing):
        raise BadInput(
            f"titles lacks {len(missing)} of the {len(used)} titles that users viewed, for example "
            f"{missing[:3].tolist()}: run `userbert titles` for the days of these views"
        )
    theirs = words.take(pa.array(rows))
    if isinstance(theirs, pa.ChunkedArray):
        theirs = theirs.combine_chunks()
    titles = encoder_input(trained, used, theirs)
    return embed(trained.model, titles, Ragged(places, newest.offsets))


def encoder_input(trained: TrainedModel, title_ids: NDArray[np.int64], words: Arrow) -> Ragged:
    """What the behavior encoder reads of these titles: word ids, or a row of the title table."""
    config = trained.model.config
    if config.behavior_encoder == "id":
        known = trained.title_ids.numpy()
        rows = np.searchsorted(known, title_ids)
        found = known[np.minimum(rows, len(known) - 1)] == title_ids
        return Ragged(np.where(found, rows + 1, 0), np.arange(len(title_ids) + 1))
    cut: Arrow = pc.list_slice(words, 0, config.max_words)
    lengths = cut.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
    return Ragged(trained.vocabulary.ids(cut.flatten()), offsets_of(lengths))


def embed(model: UserModel, titles: Ragged, sequences: Ragged) -> NDArray[np.float32]:
    """One vector a sequence. `sequences` holds rows of `titles`, which holds word ids.

    Shapes: T titles, N sequences, D width.
        returns (N, D) float32
    """
    return user_vectors(model, title_vectors(model, titles), sequences)


def title_vectors(model: UserModel, titles: Ragged) -> NDArray[np.float32]:
    """(T, D) float32: the titles as the user encoder takes them."""

    def encode(part: Ragged) -> Tensor:
        return model.encode_titles(*packed(part))

    return _in_batches(titles, TITLES_A_BATCH, model, encode)


def user_vectors(
    model: UserModel, vectors: NDArray[np.float32], sequences: Ragged
) -> NDArray[np.float32]:
    """(N, D) float32 from the (T, D) title vectors, which may be memory-mapped."""

    def encode(part: Ragged) -> Tensor:
        rows, lengths = packed(part)
        views = torch.from_numpy(vectors[rows.numpy()]).to(model.device)
        return model.encode_users(views, lengths)[1]

    return _in_batches(sequences, USERS_A_BATCH, model, encode)


def _in_batches(
    rows: Ragged, size: int, model: UserModel, encode: Callable[[Ragged], Tensor]
) -> NDArray[np.float32]:
    """Encode `size` rows at a time, rows of like length together, and put the vectors back."""
    order = np.argsort(rows.lengths(), kind="stable")
    vectors = np.empty((len(rows), model.config.width), np.float32)
    with evaluating(model):
        for start in range(0, len(rows), size):
            chosen = order[start : start + size]
            vectors[chosen] = encode(rows.take(chosen)).float().cpu().numpy()
    return vectors


@contextmanager
def evaluating(model: UserModel) -> Iterator[None]:
    """Without dropout and gradients; the mode is as before afterwards."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def packed(rows: Ragged) -> tuple[Tensor, Tensor]:
    """The values, one row after the other, and the lengths, both int64."""
    return torch.from_numpy(rows.values.astype(np.int64)), torch.from_numpy(rows.lengths())
