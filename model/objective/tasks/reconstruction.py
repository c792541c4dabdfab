"""reconstruction: the log counts of frequent words in a user's history, from the user's vector."""

import numpy as np
import torch
from numpy.typing import NDArray

from model.data.ragged import Ragged
from model.objective.tasks.periods import (
    FORECAST_SPAN,
    Cuts,
    EncodedPeriods,
    PeriodPlan,
    PeriodTask,
    Step,
    class_counts,
)
from model.objective.tasks.task import Outcome

_RECENT_WEIGHT = 0.5  # of the last 28 days next to the whole history


class Reconstruction(PeriodTask):
    """Squared errors in units of the deviation of each word's log count over training users."""

    has_loss_of_each_user = True

    def plan(self, step: Step) -> PeriodPlan:
        own = step.cuts.take(step.share)
        return PeriodPlan({"before": (own.before(), own.at)}, np.empty(0, np.int64))

    def outcome(self, step: Step, encoded: EncodedPeriods) -> tuple[Outcome, int]:
        users, model = encoded.users("before"), encoded.model
        whole, recent = log_class_counts(
            step.cuts.take(step.share), step.title_classes, step.config.model.num_classes
        )
        losses = users.new_zeros(len(users))
        correct = users.new_ones(len(users))
        for nth, (head, counts, weight) in enumerate(
            (
                (model.heads.all_classes, whole, 1.0),
                (model.heads.recent_classes, recent, _RECENT_WEIGHT),
            )
        ):
            target = torch.from_numpy(counts).to(users)
            deviations = model.class_deviations[nth]
            errors = (((head(users) - target) / deviations) ** 2).mean(1)  # (B,)
            nothing = ((target / deviations) ** 2).mean(1)
            losses = losses + weight * errors
            if nth == 0:
                correct = (errors.detach() < nothing).to(users.dtype)
        weight = step.config.reconstruction_weight
        return Outcome(weight * losses, correct, 0), len(step.cuts)


def log_class_counts(
    cuts: Cuts, title_classes: Ragged, num_classes: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(B, C) log counts of the classes before each cut, of all days and of the last 28."""
    views = cuts.before()
    is_recent = np.repeat(cuts.at, views.titles.lengths()) - views.times < FORECAST_SPAN
    whole, recent = (
        np.log1p(class_counts(views, title_classes, num_classes, chosen))
        for chosen in (None, is_recent)
    )
    return whole, recent


TASK = Reconstruction()
