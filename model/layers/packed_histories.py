"""Histories of title vectors as every form of the user model reads them."""

from typing import NamedTuple

from torch import Tensor


class PackedHistories(NamedTuple):
    """N histories of R views together, oldest view first, one history after the other.

    Shapes:
        behaviors  (R, E) the title vector of each view
        lengths    (N,) int64 views of each history
        times      (R,) int64 microseconds UTC of the views
        as_of      (N,) int64 the instant as of which each history is encoded, later than its views

    `times` and `as_of` may be left out where the model reads no times (`reads_times`).
    """

    behaviors: Tensor
    lengths: Tensor
    times: Tensor | None = None
    as_of: Tensor | None = None
