"""Titles to vectors and sequences of titles to user vectors, without gradient and dropout.

This is the one path by which vectors are made for the tables, for analysts, for the evaluation and
for the ranking of negatives. It encodes with the training's own code (`UserEncoder`), so a user has
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
from model.layers.packed_histories import PackedHistories
from model.layers.user_encoder import UserEncoder

_TITLES_PER_BATCH = 2048  # of ten words: about 20,000 words at a time
USERS_PER_BATCH = 128


def encode_titles(model: UserEncoder, titles: Ragged) -> Tensor:
    """(T, E): what the behavior encoder reads of T titles to vectors, in one go."""
    return model.encode_titles(*pack_rows(titles))


def title_vectors(
    model: UserEncoder,
    titles: Ragged,
    *,
    per_batch: int = _TITLES_PER_BATCH,
    sort_by_length: bool = True,
) -> Tensor:
    """(T, E) on the model's device: the titles as the user encoder takes them."""
    return _in_batches(
        titles.lengths(),
        model,
        lambda rows: encode_titles(model, titles.take(rows)),
        model.title_width,
        per_batch,
        sort_by_length,
    )


def user_vectors(
    model: UserEncoder,
    titles: Tensor | NDArray[np.float32],
    sequences: Ragged,
    times: NDArray[np.int64] | None = None,
    as_of: NDArray[np.int64] | None = None,
    *,
    per_batch: int = USERS_PER_BATCH,
    sort_by_length: bool = True,
) -> Tensor:
    """(N, D) on the model's device.

    Shapes: titles (T, E), which may be a memory-mapped array; sequences N rows of places in it;
    times (R,) microseconds UTC beside `sequences.values`, and as_of (N,), the instants as of which
    the sequences are encoded: both are needed where the model reads times.
    """
    require_times(model, times, as_of)

    def encode(rows: NDArray[np.int64]) -> Tensor:
        places, lengths = pack_rows(sequences.take(rows))  # (R,) rows of `titles`, (B,)
        views = titles[places.numpy()]  # (R, E); of a mapped array no more than these are read
        views = torch.from_numpy(views) if isinstance(views, np.ndarray) else views
        when: list[Tensor] = []
        if times is not None and as_of is not None:
            their_times = Ragged(times, sequences.offsets).take(rows).values  # (R,)
            when = [torch.from_numpy(each).to(model.device) for each in (their_times, as_of[rows])]
        histories = PackedHistories(views.to(model.device), lengths, *when)
        return model.encode_histories(histories)  # (R, E) -> (B, D)

    width = model.config.width
    return _in_batches(sequences.lengths(), model, encode, width, per_batch, sort_by_length)


def require_times(
    model: UserEncoder, times: NDArray[np.int64] | None, as_of: NDArray[np.int64] | None
) -> None:
    """Refuse histories without times where the model reads them."""
    if model.reads_times and (times is None or as_of is None):
        raise ValueError(
            "this model reads the time of each view: give the times beside the sequences, and the "
            "instant as of which each sequence is encoded"
        )


def _in_batches(
    lengths: NDArray[np.int64],
    model: UserEncoder,
    encode: Callable[[NDArray[np.int64]], Tensor],
    width: int,
    per_batch: int,
    sort_by_length: bool,
) -> Tensor:
    """Encode `per_batch` rows at a time and put the vectors back in the order of the rows.

    Rows of like length waste little padding, so they go together where `sort_by_length` asks.
    """
    order = np.arange(len(lengths))  # (N,) the rows in the order in which they are encoded
    if sort_by_length:
        # of equal length the first row first, on any machine
        order = np.argsort(lengths, kind="stable")
    with evaluation_mode(model):
        parts = [
            encode(order[start : start + per_batch]) for start in range(0, len(lengths), per_batch)
        ]
    if not parts:
        return torch.empty((0, width), device=model.device)
    vectors = torch.cat(parts)  # (N, width), in the order of `order`
    if sort_by_length:
        unsorted = torch.from_numpy(np.argsort(order))  # (N,) where each row stands in `order`
        vectors = vectors[unsorted.to(vectors.device)]
    return vectors


@contextmanager
def evaluation_mode(model: UserEncoder) -> Iterator[None]:
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
