"""What the tasks of the memory form are asked about: users as of random cuts, and what came next.

A cut is the first instant of a UTC day. The user's vector is of the views before it, and the
targets are of the 28 days after it, all of which lie before the day of the training.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from contracts.forecasts import FORECAST_DAYS, SOON_DAYS
from contracts.instants import DAY_MICROSECONDS, SESSION_GAP_MICROSECONDS
from model.config import PretrainConfig
from model.data.histories import Histories
from model.data.keyed_random import keyed_bits
from model.data.ragged import Ragged, offsets_of, owners_of
from model.forms.memory_model import MemoryModel
from model.objective.tasks.task import Outcome

FORECAST_SPAN = FORECAST_DAYS * DAY_MICROSECONDS
SOON_SPAN = SOON_DAYS * DAY_MICROSECONDS
_MIN_HISTORY_DAYS = 28  # of the window before the first cut, where the logs are long enough


class LeakingTargets(ValueError):
    """A cut whose targets would lie after the day of the training."""


@dataclass(frozen=True)
class Cuts:
    """Users and an instant for each.

    Shapes: B rows.
        users  (B,) rows of `histories`
        at     (B,) microseconds UTC
    """

    histories: Histories
    users: NDArray[np.int64]
    at: NDArray[np.int64]

    def __post_init__(self) -> None:
        if len(self.at) and self.at.max() + FORECAST_SPAN > self.histories.end:
            raise LeakingTargets(
                f"a cut has fewer than {FORECAST_DAYS} days of views after it before the training's"
                " own day: its targets would be of days that the model must not know"
            )

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: NDArray[np.int64]) -> "Cuts":
        return Cuts(self.histories, self.users[rows], self.at[rows])

    @cached_property
    def first(self) -> NDArray[np.int64]:
        """(B,) the position of each user's first view."""
        return self.histories.titles.offsets[self.users]

    @cached_property
    def place(self) -> NDArray[np.int64]:
        """(B,) the position of the first view at or after the cut."""
        return self.histories.first_view_at(self.users, self.at)

    @cached_property
    def end(self) -> NDArray[np.int64]:
        """(B,) the position of the first view that is too late to be a target."""
        return self.histories.first_view_at(self.users, self.at + FORECAST_SPAN)

    def before(self) -> "Views":
        return Views.of(self.histories, self.first, self.place)

    def after(self) -> "Views":
        return Views.of(self.histories, self.place, self.end)


@dataclass(frozen=True)
class Views:
    """Some views of some users, in order.

    Shapes: B rows, R views.
        titles  (B rows) rows of the corpus's titles
        times   (R,) microseconds UTC
    """

    titles: Ragged
    times: NDArray[np.int64]

    @classmethod
    def of(
        cls, histories: Histories, starts: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> "Views":
        """The views at the positions from `starts` to `ends`, (B,) each."""
        offsets = offsets_of(ends - starts)
        places = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], ends - starts)
        titles = histories.titles.values[places].astype(np.int64)
        return cls(Ragged(titles, offsets), np.asarray(histories.times[places]))

    @cached_property
    def owners(self) -> NDArray[np.int64]:
        """(R,)"""
        return owners_of(self.titles.lengths())

    def starts_session(self) -> NDArray[np.bool_]:
        """(R,) the first view of a row, and each view after a longer silence than the gap."""
        starts = np.ones(len(self.times), bool)
        is_silent = np.diff(self.times) > SESSION_GAP_MICROSECONDS
        starts[1:] = is_silent | (np.diff(self.owners) > 0)
        return starts


@dataclass(frozen=True)
class CutRange:
    """Which cuts a user may have.

    Shapes: U users; days since 1970.
    """

    first: NDArray[np.int64]  # (U,) the day after the user's first view, or a later one
    last: int  # the day from which on exactly the forecast's days are left

    @classmethod
    def of(cls, histories: Histories) -> "CutRange":
        last = (histories.end - FORECAST_SPAN) // DAY_MICROSECONDS
        firsts = histories.times[histories.titles.offsets[:-1]]
        oldest = int(firsts.min()) // DAY_MICROSECONDS
        earliest = min(oldest + _MIN_HISTORY_DAYS, int(last))
        return cls(np.maximum(firsts // DAY_MICROSECONDS + 1, earliest), int(last))

    def has_cut(self) -> NDArray[np.bool_]:
        """(U,)"""
        return self.first <= self.last

    def draw(
        self, histories: Histories, users: NDArray[np.int64], keys: NDArray[np.uint64]
    ) -> Cuts:
        """A cut for each of these users, evenly over the days that it may be, by random keys."""
        first = self.first[users]
        days = first + (keys % (self.last - first + 1).astype(np.uint64)).astype(np.int64)
        return Cuts(histories, users, days * DAY_MICROSECONDS)


def draw_cuts(
    cut_range: CutRange, histories: Histories, users: NDArray[np.int64], seed: int, step: int
) -> Cuts:
    """The cuts of a step: a function of seed, step and user alone."""
    return cut_range.draw(histories, users, keyed_bits(seed, "cut", step, users))


class EncodedPeriods(Protocol):
    """The vectors of a step, all with gradient."""

    model: MemoryModel

    def users(self, name: str) -> Tensor: ...  # (N, D) of the views of that name
    def titles(self, titles: NDArray[np.int64]) -> Tensor: ...  # (M, T) title vectors


@dataclass(frozen=True)
class Step:
    """What every task knows of a step.

    Shapes: W users of the whole step, B of this share.
        cuts   (W,) of the whole step
        share  (B,) rows of `cuts` that this share answers for
        title_classes  (rows of the corpus's titles) the classes of each title
    """

    number: int
    cuts: Cuts
    share: NDArray[np.int64]
    title_classes: Ragged
    config: PretrainConfig


@dataclass(frozen=True)
class PeriodPlan:
    """Views by name that a task needs encoded, with the instants, and the titles it compares."""

    views: Mapping[str, tuple[Views, NDArray[np.int64]]]  # name: (views, as_of (N,))
    titles: NDArray[np.int64]


class PeriodTask(ABC):
    """One self-supervision task of the memory form."""

    has_loss_of_each_user = False  # whether each row of a share has one loss, in its order

    @abstractmethod
    def plan(self, step: Step) -> PeriodPlan:
        """What has to be encoded."""

    @abstractmethod
    def outcome(self, step: Step, encoded: EncodedPeriods) -> tuple[Outcome, int]:
        """One loss for each target of the share, and how many targets the whole step has."""


def class_counts(
    views: Views, title_classes: Ragged, num_classes: int, chosen: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """(B, C) how often each row viewed a title of each class; of the `chosen` views (R,) alone."""
    titles, owners = views.titles.values, views.owners
    if chosen is not None:
        titles, owners = titles[chosen], owners[chosen]
    classes = title_classes.take(titles)
    cells = np.repeat(owners, classes.lengths()) * num_classes + classes.values
    counts = np.bincount(cells, minlength=len(views.titles) * num_classes)
    return counts.reshape(-1, num_classes).astype(np.float32)
