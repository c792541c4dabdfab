"""What the tasks of the memory form ask of a user's vector, and the forecasts that follow."""

import torch
from torch import Tensor, nn

from contracts.forecasts import FORECAST_DAYS
from model.config import ModelConfig

NUM_LOGS = 5  # log views of 28 and of 7 days, log sessions of both, log days until the next view
_NUM_CHANCES = 2  # no view in 28 days, and in 7
_NUM_MEANS = 3  # views and sessions of 28 days, days until the next view


class PeriodHeads(nn.Module):
    """Linear maps of a user's vector; those of activity read the activity block alone.

    Shapes: D width, A activity width, C classes, T title width.
    """

    count_means: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, classes = config.width, config.num_classes
        self.activity = nn.Linear(config.activity_width, NUM_LOGS + _NUM_CHANCES)
        # The means are read off the vector and do not shape it: their input has no gradient.
        self.means = nn.Linear(config.activity_width, _NUM_MEANS)
        self.next_classes = nn.Linear(width, classes)  # of 28 days
        self.soon_classes = nn.Linear(width, classes)  # of 7 days
        self.all_classes = nn.Linear(width, classes)  # log counts of the whole history
        self.recent_classes = nn.Linear(width, classes)  # log counts of its last 28 days
        self.title_query = nn.Linear(width, config.title_width, bias=False)
        self.register_buffer("count_means", torch.ones(2))  # of training users: views, sessions

    def forecasts(self, block: Tensor) -> Tensor:
        """(N, A) to (N, 5), in the order and the units of contracts/forecasts.py."""
        chances = torch.sigmoid(self.activity(block)[:, NUM_LOGS:])  # (N, 2): 28 days, 7 days
        none_later, none_soon = chances.unbind(1)
        means = self.means(block)
        counts = self.count_means * torch.exp(means[:, :2])  # (N, 2)
        days = FORECAST_DAYS * torch.sigmoid(means[:, 2])
        # Who has no view in 28 days has none in 7 either.
        chances = torch.stack([torch.maximum(none_soon, none_later), none_later], 1)
        return torch.cat([chances, counts, days[:, None]], 1)
