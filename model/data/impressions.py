"""What was shown to users and what they clicked, with the views of each user from before."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from contracts.instants import DAY_MICROSECONDS
from contracts.limits import PRETRAINING_DAYS
from model.data.ragged import Ragged, owners_of

_Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ViewTimes:
    """When views and impressions were, in microseconds since 1970, UTC.

    Shapes: V views, I impressions. `views` (V,) does not fall within a history, and the views of a
    history are from before its impression's instant in `impressions` (I,).
    """

    views: _Ints
    impressions: _Ints


@dataclass(frozen=True)
class Impressions:
    """Impressions whose histories are slices of shared views, so that a user's views lie here once.

    Shapes: I impressions, C candidates, V views. A title is a row of the titles that go with them.
        views       (V,) titles, those of a user one after the other, oldest first
        starts      (I,) the first view of each history; ends (I,) the one behind its last view
        candidates  (I rows) titles that were shown
        clicked     (C,) bool, next to candidates.values
        times       None where nobody knows when the views were
    """

    views: _Ints
    starts: _Ints
    ends: _Ints
    candidates: Ragged
    clicked: NDArray[np.bool_]
    times: ViewTimes | None = None

    @classmethod
    def of(
        cls,
        histories: Ragged,
        candidates: Ragged,
        clicked: NDArray[np.bool_],
        times: ViewTimes | None = None,
    ) -> "Impressions":
        """With a history of its own (a row of `histories`) for each impression."""
        starts, ends = histories.offsets[:-1], histories.offsets[1:]
        return cls(histories.values, starts, ends, candidates, clicked, times)

    def __len__(self) -> int:
        return len(self.candidates)

    @property
    def owners(self) -> _Ints:
        """(C,) the impression of each candidate."""
        return owners_of(self.candidates.lengths())

    @property
    def histories(self) -> Ragged:
        """(I rows) the titles of each history, oldest first."""
        return self._slices(self.views)

    @property
    def history_times(self) -> _Ints | None:
        """The time of each view in `histories.values`."""
        return None if self.times is None else self._slices(self.times.views).values

    @property
    def instants(self) -> _Ints | None:
        """(I,) the time of each impression."""
        return None if self.times is None else self.times.impressions

    def take(self, rows: _Ints) -> "Impressions":
        """These impressions, in this order."""
        lengths = self.candidates.lengths()[rows]
        marks = Ragged(self.clicked, self.candidates.offsets).crop(rows, 0, lengths)
        times = self.times
        return replace(
            self,
            starts=self.starts[rows],
            ends=self.ends[rows],
            candidates=self.candidates.take(rows),
            clicked=marks.values,
            times=times and replace(times, impressions=times.impressions[rows]),
        )

    def newest_views(self, limit: int | None) -> "Impressions":
        """The same impressions with the newest `limit` views of each history.

        None: those of the window of pre-training, which ends at the impression, and the newest
        view where that is older.
        """
        if limit is not None:
            return replace(self, starts=np.maximum(self.starts, self.ends - limit))
        if self.times is None:
            return self
        times = self.times
        firsts = times.impressions - PRETRAINING_DAYS * DAY_MICROSECONDS  # (I,)
        starts = [
            start + np.searchsorted(times.views[start:end], first, side="left")
            for start, end, first in zip(
                self.starts.tolist(), self.ends.tolist(), firsts.tolist(), strict=True
            )
        ]
        return replace(self, starts=np.minimum(np.array(starts, np.int64), self.ends - 1))

    def _slices(self, values: _Ints) -> Ragged:
        """(I rows) the values of each history's views."""
        whole = Ragged(values, np.array([0, len(values)]))
        return whole.crop(np.zeros(len(self), np.int64), self.starts, self.ends - self.starts)
