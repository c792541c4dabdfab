"""Impressions before they are cut into parts: who was shown which titles when, and what was clicked."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.data.ragged import Ragged
from model.data.vocabulary import Arrow


@dataclass(frozen=True)
class TitleList:
    """The titles that views and impressions name.

    Shapes: T titles.
        title_ids  (T,) int64, ascending; below 0 where the lake has no such title
        words      (T,) Arrow lists of words
    """

    title_ids: NDArray[np.int64]
    words: Arrow


@dataclass(frozen=True)
class Shown:
    """Impressions of users whose views are known, in the order of their times.

    Shapes: I impressions, C candidates.
        users       (I,) rows of the users
        times       (I,) int64 microseconds since 1970, UTC
        candidates  (I rows) rows of the titles
        clicked     (C,) bool, next to candidates.values
    """

    users: NDArray[np.int64]
    times: NDArray[np.int64]
    candidates: Ragged
    clicked: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.times)

    def take(self, rows: NDArray[np.int64]) -> "Shown":
        candidates = self.candidates.take(rows)
        marks = Ragged(self.clicked, self.candidates.offsets).take(rows)
        return Shown(self.users[rows], self.times[rows], candidates, marks.values)


def in_time_order(shown: Shown) -> Shown:
    """Those of one instant in the order that they have."""
    return shown.take(np.argsort(shown.times, kind="stable"))
