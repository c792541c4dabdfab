"""Vectors of many users: each distinct title is encoded once, then the users' views are looked up.

The code that encodes is the training's own (`UserModel`), so a user has one vector, wherever it
is made. The same rows give the same bytes; other company in a batch moves a vector by 1e-6 at most.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.ragged import Ragged
from model.user_model import UserModel

TITLES_A_BATCH = 2048
USERS_A_BATCH = 128


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
