"""period_matching: find a user's period by another one, among the periods of the step's users.

By cosine of the preference blocks at a low temperature, in both directions. Users are contrasted
within `matching_groups` groups of a step. A share that holds a part of a group encodes the rest of
it, too, so that its losses are the same however a step is shared out.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from contracts.instants import DAY_MICROSECONDS
from model.data.keyed_random import keyed_bits
from model.objective.tasks.periods import EncodedPeriods, PeriodPlan, PeriodTask, Step, Views
from model.objective.tasks.task import Outcome

_PERIOD_DAYS = (21, 89)  # of the second period, from the cut on; both ends may be drawn
_NO_TITLES = np.empty(0, np.int64)
_MIN_VIEWS = 3  # of a period: of fewer views nobody can tell whose they are


class PeriodMatching(PeriodTask):
    """Find the period from the cut on by the history before it, and the reverse."""

    def plan(self, step: Step) -> PeriodPlan:
        rows, ends = _matched(step)
        members = _members(step, rows)
        cuts = step.cuts.take(members)
        late_end = ends[members]
        places = cuts.histories.first_view_at(cuts.users, late_end)
        late = Views.of(cuts.histories, cuts.place, places), late_end
        if _is_within_share(step, members):  # their vectors are those of the other tasks
            own = step.cuts.take(step.share)
            return PeriodPlan({"before": (own.before(), own.at), "late": late}, _NO_TITLES)
        return PeriodPlan({"early": (cuts.before(), cuts.at), "late": late}, _NO_TITLES)

    def outcome(self, step: Step, encoded: EncodedPeriods) -> tuple[Outcome, int]:
        rows, _ = _matched(step)
        members = _members(step, rows)
        early, late = (
            encoded.model.matching_vectors(users)
            for users in (_early_users(step, members, encoded), encoded.users("late"))
        )
        groups = _groups(step, members)
        is_own = torch.from_numpy(np.isin(members, step.share)).to(early.device)
        apart = torch.from_numpy(groups[:, None] != groups).to(early.device)  # (N, N)
        logits = early @ late.T / step.config.matching_temperature
        logits = logits.masked_fill(apart, float("-inf"))
        right = torch.arange(len(members), device=early.device)
        losses = [
            F.cross_entropy(each, right, reduction="none") for each in (logits, logits.T)
        ]  # of rows without a target there are none
        correct = (logits.argmax(1) == right).to(early.dtype)
        weighted = step.config.matching_weight * (losses[0] + losses[1]) / 2
        return Outcome(weighted[is_own], correct[is_own], 0), len(rows)


def _members(step: Step, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those of the matched rows that are in a group of this share."""
    return rows[np.isin(_groups(step, rows), _groups(step, step.share))]


def _is_within_share(step: Step, members: NDArray[np.int64]) -> bool:
    return bool(np.isin(members, step.share).all())


def _early_users(step: Step, members: NDArray[np.int64], encoded: EncodedPeriods) -> Tensor:
    """(N, D) the vectors of the members' histories before their cuts."""
    if not _is_within_share(step, members):
        return encoded.users("early")
    places = np.searchsorted(step.share, members)  # both ascend
    users = encoded.users("before")
    return users[torch.from_numpy(places).to(users.device)]


def _matched(step: Step) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows of the whole step that have two periods to match, and all rows' second ends."""
    cuts = step.cuts
    keys = keyed_bits(step.config.seed, "period", step.number, cuts.users)
    first, last = _PERIOD_DAYS
    days = first + (keys % np.uint64(last - first + 1)).astype(np.int64)
    ends = np.minimum(cuts.at + days * DAY_MICROSECONDS, cuts.histories.end)
    places = cuts.histories.first_view_at(cuts.users, ends)
    has_both = (cuts.place - cuts.first >= _MIN_VIEWS) & (places - cuts.place >= _MIN_VIEWS)
    return np.flatnonzero(has_both), ends


def _groups(step: Step, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The group of each row of the step: processes and micro-batches take every nth row."""
    return rows % step.config.matching_groups


TASK = PeriodMatching()
