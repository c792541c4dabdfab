"""next_period: how much a user views in the next weeks, and of what (after PinnerFormer, 2022).

From the vector as of a cut, and densely: all of the 28 days after it, with the first 7 apart.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from contracts.forecasts import FORECAST_DAYS
from contracts.instants import DAY_MICROSECONDS
from model.data.keyed_random import keyed_generator
from model.forms.period_heads import NUM_LOGS
from model.objective.tasks.periods import (
    SOON_SPAN,
    Cuts,
    EncodedPeriods,
    PeriodPlan,
    PeriodTask,
    Step,
    Views,
    class_counts,
)
from model.objective.tasks.task import Outcome

_SOON_WEIGHT = 0.5  # of the classes of the first days next to those of all days
_SESSION_SCALE = 1.5  # of the log of sessions: their spread is smaller than that of views


@dataclass(frozen=True)
class NextActivity:
    """What the period after each cut holds.

    Shapes: B cuts.
    """

    views: NDArray[np.int64]  # (B,)
    soon_views: NDArray[np.int64]  # (B,) of the first days
    sessions: NDArray[np.int64]  # (B,)
    soon_sessions: NDArray[np.int64]  # (B,)
    days: NDArray[np.float64]  # (B,) until the first view; FORECAST_DAYS without one

    @classmethod
    def of(cls, cuts: Cuts, views: Views) -> "NextActivity":
        size, counts = len(cuts), views.titles.lengths()
        is_soon = views.times - np.repeat(cuts.at, counts) < SOON_SPAN  # (R,)
        starts = views.starts_session()
        days = np.full(size, float(FORECAST_DAYS))
        has_view = counts > 0
        firsts = views.times[views.titles.offsets[:-1][has_view]]
        days[has_view] = (firsts - cuts.at[has_view]) / DAY_MICROSECONDS
        return cls(
            counts,
            np.bincount(views.owners[is_soon], minlength=size),
            np.bincount(views.owners[starts], minlength=size),
            np.bincount(views.owners[starts & is_soon], minlength=size),
            days,
        )

    def logs(self) -> NDArray[np.float64]:
        """(B, 5) what the regression heads learn."""
        return np.stack(
            [
                np.log1p(self.views),
                np.log1p(self.soon_views),
                np.log1p(self.sessions) * _SESSION_SCALE,
                np.log1p(self.soon_sessions) * _SESSION_SCALE,
                np.log1p(self.days),
            ],
            axis=1,
        )

    def observed(self) -> NDArray[np.float64]:
        """(B, 5) what came of each forecast, in the order of contracts/forecasts.py."""
        absent = self.is_absent()
        return np.stack([absent[:, 1], absent[:, 0], self.views, self.sessions, self.days], axis=1)

    def is_absent(self) -> NDArray[np.float64]:
        """(B, 2) no view in all days, and none in the first ones."""
        return np.stack([self.views == 0, self.soon_views == 0], axis=1).astype(np.float64)


class NextPeriod(PeriodTask):
    """Activity, frequent words and titles of the period after the cut."""

    has_loss_of_each_user = True

    def plan(self, step: Step) -> PeriodPlan:
        own = step.cuts.take(step.share)
        return PeriodPlan({"before": (own.before(), own.at)}, _candidates(step))

    def outcome(self, step: Step, encoded: EncodedPeriods) -> tuple[Outcome, int]:
        own, users = step.cuts.take(step.share), encoded.users("before")
        views = own.after()
        activity = NextActivity.of(own, views)
        active, correct = _activity_losses(encoded, users, activity)
        losses = active + step.config.class_weight * _class_losses(encoded, users, step, own, views)
        # Those who view nothing have no title to be found; the others' losses are scaled so that
        # the mean over all users of the step is the mean over those who view.
        num_viewing = int((step.cuts.end > step.cuts.place).sum())
        scale = step.config.title_weight * len(step.cuts) / max(1, num_viewing)
        losses = losses + scale * _title_losses(encoded, users, _candidates(step), views)
        return Outcome(losses, correct, 0), len(step.cuts)


def _candidates(step: Step) -> NDArray[np.int64]:
    """Titles to choose from, ascending: all; of many the step's own and random ones."""
    num_titles, most = len(step.title_classes), step.config.next_titles
    if num_titles <= most:
        return np.arange(num_titles)
    viewed = np.unique(step.cuts.after().titles.values)
    draw = keyed_generator(step.config.seed, "next titles", step.number)
    return np.union1d(viewed, draw.integers(num_titles, size=max(0, most - len(viewed))))


def _activity_losses(
    encoded: EncodedPeriods, users: Tensor, activity: NextActivity
) -> tuple[Tensor, Tensor]:
    """(B,) losses of the activity heads, and whether "no view in 28 days" was said rightly."""
    model = encoded.model
    block = users[:, : model.config.activity_width]
    predicted = model.heads.activity(block)  # (B, 7)
    logs, absent = (
        torch.from_numpy(each).to(predicted) for each in (activity.logs(), activity.is_absent())
    )
    squares = F.mse_loss(predicted[:, :NUM_LOGS], logs, reduction="none").mean(1)
    chances = F.binary_cross_entropy_with_logits(
        predicted[:, NUM_LOGS:], absent, reduction="none"
    ).mean(1)
    correct = (predicted[:, NUM_LOGS] > 0) == (absent[:, 0] > 0)  # (B,)
    means = _mean_losses(encoded, block.detach(), activity)
    return squares + chances + means, correct.to(predicted.dtype)


def _mean_losses(encoded: EncodedPeriods, block: Tensor, activity: NextActivity) -> Tensor:
    """(B,) losses whose minimum is the mean: Poisson for counts, cross entropy for the days."""
    heads = encoded.model.heads
    predicted = heads.means(block)  # (B, 3)
    counts = torch.from_numpy(np.stack([activity.views, activity.sessions], axis=1)).to(predicted)
    counts = counts / heads.count_means
    poisson = (torch.exp(predicted[:, :2]) - counts * predicted[:, :2]).mean(1)
    share = torch.from_numpy(activity.days / FORECAST_DAYS).to(predicted)
    days = F.binary_cross_entropy_with_logits(predicted[:, 2], share, reduction="none")
    losses: Tensor = poisson + days
    return losses


def _class_losses(
    encoded: EncodedPeriods, users: Tensor, step: Step, own: Cuts, views: Views
) -> Tensor:
    """(B,) losses of which frequent words are viewed, in all days and in the first ones."""
    heads, size = encoded.model.heads, step.config.model.num_classes
    is_soon = views.times - np.repeat(own.at, views.titles.lengths()) < SOON_SPAN
    total = users.new_zeros(len(users))
    for head, weight, chosen in (
        (heads.next_classes, 1.0, None),
        (heads.soon_classes, _SOON_WEIGHT, is_soon),
    ):
        viewed = class_counts(views, step.title_classes, size, chosen) > 0  # (B, C)
        target = torch.from_numpy(viewed).to(users)
        losses = F.binary_cross_entropy_with_logits(head(users), target, reduction="none")
        total = total + weight * losses.mean(1)
    return total


def _title_losses(
    encoded: EncodedPeriods, users: Tensor, candidates: NDArray[np.int64], views: Views
) -> Tensor:
    """(B,) cross entropy of the viewed titles, a title weighted by the root of its views."""
    queries = encoded.model.heads.title_query(users)  # (B, T)
    logs = F.log_softmax(queries @ encoded.titles(candidates).T, dim=1)  # (B, M)
    column_of = np.empty(candidates[-1] + 1, np.int64)
    column_of[candidates] = np.arange(len(candidates))
    columns = column_of[views.titles.values]
    cells, counts = np.unique(views.owners * len(candidates) + columns, return_counts=True)
    rows = cells // len(candidates)
    weights = np.sqrt(counts)
    weights /= np.bincount(rows, weights, len(users))[rows]
    picked = logs.flatten()[torch.from_numpy(cells).to(users.device)]
    shares = torch.from_numpy(weights).to(users)
    index = torch.from_numpy(rows).to(users.device)
    return users.new_zeros(len(users)).index_add(0, index, -picked * shares)


TASK = NextPeriod()
