"""cp: two views of a user's sequence against those of the batch's other users (Xie et al. 2020).

A view is made by cropping, masking or reordering.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.config import PretrainConfig
from model.data.keyed_random import keyed_generator
from model.data.ragged import Ragged
from model.objective.tasks.task import (
    HIDDEN_TITLE,
    Batch,
    Encoded,
    Outcome,
    Plan,
    Task,
    Titles,
    contrast_in_batch,
)

_KEPT_SHARE = 0.6  # of a sequence, by a crop
_MASKED_SHARE = 0.3  # of a sequence, hidden by a mask
_REORDERED_SHARE = 0.6  # of a sequence, shuffled in one piece


class ContrastedViews(Task):
    """Tell the other view of the same user from all other views of the batch."""

    def plan(self, batch: Batch, config: PretrainConfig) -> Plan:
        views = two_views(batch.early, batch.pairs, batch.step, config.seed)

        def outcome(encoded: Encoded, wrong: Titles) -> Outcome:
            users = encoded.users("views")  # (2 B, D)
            identical: Tensor | None = None
            if config.set_aside_own:
                owners = torch.from_numpy(batch.users).to(users.device).repeat_interleave(2)
                identical = owners[:, None] == owners  # (2 B, 2 B)
            return contrast_in_batch(users, config.score_of_sequences, identical)

        return Plan.without_titles({"views": views}, {}, outcome)

    def num_targets(
        self, early: NDArray[np.int64], late: NDArray[np.int64], config: PretrainConfig
    ) -> int:
        return 2 * len(early)


def two_views(sequences: Ragged, pairs: NDArray[np.int64], step: int, seed: int) -> Ragged:
    """Two views of each sequence, side by side, by two different ones of the three operations.

    Shapes: sequences of B rows, pairs (B,) what the draw depends on; returns 2 B rows, with
    HIDDEN_TITLE where a behavior is masked.
    """
    views = []
    for row, pair in enumerate(pairs):
        draw = keyed_generator(seed, "views", step, int(pair))
        for operation in draw.choice(3, 2, replace=False):
            views.append(_OPERATIONS[operation](sequences[row].astype(np.int64), draw))
    return Ragged.of(views)


def _piece(length: int, share: float, draw: np.random.Generator) -> slice:
    """A random piece of this share, rounded down, at least one."""
    size = max(1, int(length * share + 1e-9))  # 1e-9: 0.3 * 10 is a hair below 3
    start = int(draw.integers(length - size + 1))
    return slice(start, start + size)


def crop_view(titles: NDArray[np.int64], draw: np.random.Generator) -> NDArray[np.int64]:
    return titles[_piece(len(titles), _KEPT_SHARE, draw)]


def mask_view(titles: NDArray[np.int64], draw: np.random.Generator) -> NDArray[np.int64]:
    count = max(1, int(len(titles) * _MASKED_SHARE + 1e-9))
    titles[draw.choice(len(titles), count, replace=False)] = HIDDEN_TITLE
    return titles


def reorder_view(titles: NDArray[np.int64], draw: np.random.Generator) -> NDArray[np.int64]:
    piece = _piece(len(titles), _REORDERED_SHARE, draw)
    titles[piece] = draw.permutation(titles[piece])
    return titles


_OPERATIONS = (crop_view, mask_view, reorder_view)

TASK = ContrastedViews()
