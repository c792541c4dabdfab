"""What the times of a user's views add to each behavior: five numbers, and their vectors."""

import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.layers.packed_sequences import Layout, rows_at

_MICROSECONDS_PER_MINUTE = 60_000_000
_HOURS_PER_DAY, _DAYS_PER_WEEK = 24, 7
_WEEKDAY_OF_1970 = 3  # 1 January 1970 was a Thursday; Monday is 0
# Odd factors, so that the bits of a vector's numbers add up to another number for another vector.
_FACTOR = 0x9E3779B97F4A7C15 - 2**64


class TimeFeatures(nn.Module):
    """A vector for each view, to be added to its behavior: a linear map of three logarithms, and a
    row each of the 24 hours and the 7 weekdays, UTC.

    All weights are zero at first, so a training starts at the model that knows no times.

    Shapes: R views in N histories, D width.
        times    (R,) int64 microseconds UTC, packed, never falling within a history
        as_of    (N,) int64, the instant as of which each history is encoded
        repeats  (R,) int64 how often the view's title came before in its history
        returns  (R, D) float
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.amounts = nn.Linear(3, config.width)
        self.hours = nn.Embedding(_HOURS_PER_DAY, config.width)
        self.weekdays = nn.Embedding(_DAYS_PER_WEEK, config.width)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, times: Tensor, as_of: Tensor, repeats: Tensor, layout: Layout) -> Tensor:
        amounts = time_amounts(times, as_of, repeats, layout)  # (R, 3)
        hour, weekday = hours_and_weekdays(times)  # (R,) each
        of_amounts: Tensor = self.amounts(amounts.to(self.amounts.weight.dtype))  # (R, D)
        return (
            of_amounts + rows_at(self.hours.weight, hour) + rows_at(self.weekdays.weight, weekday)
        )


def time_amounts(times: Tensor, as_of: Tensor, repeats: Tensor, layout: Layout) -> Tensor:
    """(R, 3): log(1 + x) of the minutes since the view before, of the minutes until `as_of`, and of
    the views of the same title before. The first view of a history has no gap: 0."""
    gaps = times.diff(prepend=times[:1])  # (R,)
    gaps = gaps.index_fill(0, layout.starts, 0)
    lengths = layout.ends - layout.starts + 1  # (N,)
    until = as_of.repeat_interleave(lengths) - times  # (R,)
    minutes = torch.stack([gaps, until], dim=1).double() / _MICROSECONDS_PER_MINUTE  # (R, 2)
    return torch.log1p(torch.cat([minutes, repeats[:, None].double()], dim=1).clamp(min=0))


def hours_and_weekdays(times: Tensor) -> tuple[Tensor, Tensor]:
    """The UTC hour, 0 to 23, and the weekday, Monday 0, of each time: (R,) int64 each."""
    hours = times.div(60 * _MICROSECONDS_PER_MINUTE, rounding_mode="floor")
    days = hours.div(_HOURS_PER_DAY, rounding_mode="floor")
    return hours % _HOURS_PER_DAY, (days + _WEEKDAY_OF_1970) % _DAYS_PER_WEEK


def repeats_before(behaviors: Tensor, mask: Tensor, layout: Layout) -> Tensor:
    """How often the same title vector stands before each row in its sequence; 0 for the mask.

    Titles that the encoder cannot tell apart count as one. What is hidden counts for nobody.

    Shapes: behaviors (R, D), mask (D,), returns (R,) int64.
    """
    names = _names_of(behaviors)  # (R,)
    _, title = torch.unique(names, return_inverse=True)  # (R,)
    lengths = layout.ends - layout.starts + 1  # (N,)
    owner = torch.arange(len(lengths), device=title.device).repeat_interleave(lengths)  # (R,)
    group, order = torch.sort(owner * len(title) + title, stable=True)  # (R,) each
    place = torch.arange(len(group), device=group.device)
    is_first = group.diff(prepend=group[:1] - 1) != 0  # (R,)
    first = torch.where(is_first, place, 0).cummax(0).values  # (R,) where each group begins
    repeats = torch.empty_like(place).scatter_(0, order, place - first)
    return repeats.masked_fill(names == _names_of(mask[None].to(behaviors.dtype)), 0)


def _names_of(vectors: Tensor) -> Tensor:
    """(R,) int64: equal for vectors of equal bits, and else as good as never."""
    # Integers wrap around and are exact, so the same vector has the same sum on every device.
    bits = vectors.detach().float().contiguous().view(torch.int32).long()  # (R, D)
    factors = torch.arange(1, 2 * bits.shape[1], 2, device=bits.device) * _FACTOR  # (D,) odd
    mixed = (bits + 1) * factors
    return (mixed ^ (mixed >> 29)).mul(_FACTOR).sum(1)
