"""Vectors that titles of the training have of their own, which other titles do not have."""

import torch
from torch import Tensor, nn

_MIXER = -7046029254386353131  # 64 bits of the golden ratio; products wrap around
_NO_TITLE = -(2**63)


class KnownTitles(nn.Module):
    """A vector for each title that was known before the first step, zero at first.

    A title is known by its words in their order, as a number of 64 bits, so two titles of the same
    words share a vector. A title that the training did not have, or of which a word was dropped,
    gets zeros: it is the sum of its words alone, as each one is before the first step.

    Shapes: T known titles, M titles, R words, D width; words (R,), lengths (M,); returns (M, D).
    """

    keys: Tensor

    def __init__(self, num_titles: int, width: int) -> None:
        super().__init__()
        self.register_buffer("keys", torch.full((num_titles,), _NO_TITLE))
        self.vectors = nn.Parameter(torch.zeros(num_titles, width))

    def know(self, words: Tensor, lengths: Tensor) -> None:
        """Take these titles, at most `num_titles`, as the known ones."""
        found: Tensor = torch.unique(title_keys(words, lengths))  # ascending
        self.keys.fill_(_NO_TITLE)
        self.keys[len(self.keys) - len(found) :] = found.to(self.keys)

    def forward(self, words: Tensor, lengths: Tensor) -> Tensor:
        asked = title_keys(words, lengths)  # (M,)
        rows = torch.searchsorted(self.keys, asked).clamp(max=len(self.keys) - 1)
        is_known = self.keys[rows] == asked
        return self.vectors[rows] * is_known[:, None]


def title_keys(words: Tensor, lengths: Tensor) -> Tensor:
    """(M,) int64, equal for equal words in an equal order; of two titles equal by a rare chance."""
    starts = lengths.cumsum(0) - lengths
    titles = torch.repeat_interleave(lengths)  # (R,)
    places = torch.arange(len(words), device=words.device) - starts[titles]  # in the title
    mixed = (words.long() + 1) * _MIXER
    mixed = (mixed ^ (mixed >> 29)) * (2 * places + 1) * _MIXER
    mixed = mixed ^ (mixed >> 32)
    return lengths.new_zeros(len(lengths)).long().index_add_(0, titles, mixed)
