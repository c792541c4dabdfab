"""Which of some words each title has."""

import torch
from torch import Tensor

from model.data.vocabulary import PADDING_ID


def class_membership(words: Tensor, lengths: Tensor, chosen: Tensor, num_words: int) -> Tensor:
    """Whether a title has each chosen word, a word once; a chosen PADDING_ID no title has.

    Shapes: M titles, packed words (R,) with lengths (M,), chosen (C,); returns (M, C) bool.
    """
    place_of = torch.full((num_words,), len(chosen), device=words.device)  # C: not chosen
    place_of[chosen] = torch.arange(len(chosen), device=words.device)
    place_of[PADDING_ID] = len(chosen)
    titles = torch.repeat_interleave(lengths)  # (R,)
    found = torch.zeros(len(lengths), len(chosen) + 1, dtype=torch.bool, device=words.device)
    found[titles, place_of[words]] = True
    return found[:, :-1]
