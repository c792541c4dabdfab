"""CP's two views of a sequence: crop, mask or reorder (Xie et al. 2020)."""

import numpy as np
from numpy.typing import NDArray

from model.data.keyed_random import generator
from model.data.ragged import Ragged

KEPT = 0.6  # share of a sequence that a crop keeps
MASKED = 0.3  # share of a sequence that a mask hides
REORDERED = 0.6  # share of a sequence that is shuffled, in one piece


def two_views(
    sequences: Ragged, pairs: NDArray[np.int64], step: int, seed: int, hidden: int
) -> Ragged:
    """Two views of each sequence, side by side, by two different ones of the three operations.

    Shapes: sequences of B rows, pairs (B,) what the draw depends on; returns 2 B rows, of which
    `hidden` stands where a behavior is masked.
    """
    views = []
    for row, pair in enumerate(pairs):
        draw = generator(seed, "views", step, int(pair))
        for operation in draw.choice(3, 2, replace=False):
            views.append(_OPERATIONS[operation](sequences[row].astype(np.int64), draw, hidden))
    return Ragged.of(views)


def _piece(length: int, share: float, draw: np.random.Generator) -> slice:
    """A random piece of this share, rounded down, at least one."""
    size = max(1, int(length * share + 1e-9))
    start = int(draw.integers(length - size + 1))
    return slice(start, start + size)


def crop(titles: NDArray[np.int64], draw: np.random.Generator, hidden: int) -> NDArray[np.int64]:
    return titles[_piece(len(titles), KEPT, draw)]


def mask(titles: NDArray[np.int64], draw: np.random.Generator, hidden: int) -> NDArray[np.int64]:
    count = max(1, int(len(titles) * MASKED + 1e-9))
    titles[draw.choice(len(titles), count, replace=False)] = hidden
    return titles


def reorder(titles: NDArray[np.int64], draw: np.random.Generator, hidden: int) -> NDArray[np.int64]:
    piece = _piece(len(titles), REORDERED, draw)
    titles[piece] = draw.permutation(titles[piece])
    return titles


_OPERATIONS = (crop, mask, reorder)
