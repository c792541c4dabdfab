"""Titles to vectors and sequences of titles to user vectors, without gradient and dropout.

This is the one path by which vectors are made for the tables, for analysts, for the evaluation and
for the ranking of negatives. It encodes with the training's own code (`UserModel`), so a user has
one vector, wherever it is made. The same rows give the same bytes; other rows in the same batch
move a vector by 1e-6 at most.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.data.ragged import Ragged
from model.layers.user_model import UserModel

TITLES_PER_BATCH = 2048
USERS_PER_BATCH = 128


def encode_titles(model: UserModel, titles: Ragged) -> Tensor:
    """(T, D): what the behavior encoder reads of T titles to vectors, in one go."""
    return model.encode_titles(*pack_rows(titles))


def title_vectors(
    model: UserModel,
    titles: Ragged,
    *,
    per_batch: int = TITLES_PER_BATCH,
    sort_by_length: bool = True,
) -> Tensor:
    """(T, D) on the model's device: the titles as the user encoder takes them."""
    return _in_batches(
        titles, model, lambda part: encode_titles(model, part), per_batch, sort_by_length
    )


def user_vectors(
    model: UserModel,
    titles: Tensor | NDArray[np.float32],
    sequences: Ragged,
    *,
    per_batch: int = USERS_PER_BATCH,
    sort_by_length: bool = True,
) -> Tensor:
    """(N, D) on the model's device.

    Shapes: titles (T, D), which may be a memory-mapped array; sequences N rows of places in it.
    """

    def encode(part: Ragged) -> Tensor:
        rows, lengths = pack_rows(part)
        views = titles[rows.numpy()]  # (R, D); of a mapped array no more than these are read
        views = torch.from_numpy(views) if isinstance(views, np.ndarray) else views
        return model.encode_users(views.to(model.device), lengths)[1]

    return _in_batches(sequences, model, encode, per_batch, sort_by_length)


def _in_batches(
    rows: Ragged,
    model: UserModel,
    encode: Callable[[Ragged], Tensor],
    per_batch: int,
    sort_by_length: bool,
) -> Tensor:
    """Encode `per_batch` rows at a time and put the vectors back in the order of `rows`.

    Rows of like length waste little padding, so they go together where `sort_by_length` asks.
    """
    order = np.arange(len(rows))
    if sort_by_length:
        order = np.argsort(rows.lengths(), kind="stable")
    with evaluation_mode(model):
        parts = [
            encode(rows.take(order[start : start + per_batch]))
            for start in range(0, len(rows), per_batch)
        ]
    if not parts:
        return torch.empty((0, model.config.width), device=model.device)
    vectors = torch.cat(parts)
    if sort_by_length:
        unsorted = torch.from_numpy(np.argsort(order))
        vectors = vectors[unsorted.to(vectors.device)]
    return vectors


@contextmanager
def evaluation_mode(model: UserModel) -> Iterator[None]:
    """Without dropout and gradients; the model's mode is as before afterwards."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def pack_rows(rows: Ragged) -> tuple[Tensor, Tensor]:
    """The values, one row after the other, and the lengths, both int64."""
    return torch.from_numpy(rows.values.astype(np.int64)), torch.from_numpy(rows.lengths())


def to_numpy(vectors: Tensor) -> NDArray[np.float32]:
    """The vectors as single-precision numpy on the CPU."""
    array: NDArray[np.float32] = vectors.float().cpu().numpy()
    return array
