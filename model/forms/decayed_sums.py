"""Sums over a user's views in which a view counts less the older it is."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class _DecayedSums(torch.autograd.Function):
    """Both ways by `embedding_bag`; torch's own backward pass over its weights is far slower."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(index, starts, weights)
        ctx.num_titles = len(table)
        sums = [
            F.embedding_bag(index, table, starts, mode="sum", per_sample_weights=each)
            for each in weights
        ]
        return torch.stack(sums, dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        index, starts, weights = ctx.saved_tensors
        views = torch.arange(len(index), device=index.device)
        owners = torch.searchsorted(starts, views, right=True) - 1  # (R,)
        titles, order = torch.sort(index, stable=True)  # (R,)
        firsts = torch.searchsorted(titles, torch.arange(ctx.num_titles, device=index.device))
        by_title = owners[order]
        total = sum(
            F.embedding_bag(
                by_title, part.contiguous(), firsts, mode="sum", per_sample_weights=each[order]
            )
            for part, each in zip(gradient.unbind(1), weights, strict=True)
        )
        return total, None, None, None  # type: ignore[return-value]


def decayed_sums(table: Tensor, index: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
    """Sums of rows of `table`, each view's row times its weight, for each history and half-life.

    Shapes: U titles with K numbers, N histories with R views, H half-lives.
        table    (U, K)
        index    (R,) int64 rows of the table
        starts   (N,) int64 the first view of each history; an empty history's sums are 0
        weights  (H, R)
        returns  (N, H, K)
    """
    sums: Tensor = _DecayedSums.apply(table, index, starts, weights)
    return sums


def decay_weights(ages: Tensor, half_lives: tuple[int, ...]) -> Tensor:
    """(R,) ages in days to (H, R) weights: 1 at age 0, and a half at the half-life."""
    lives = torch.tensor(half_lives, dtype=ages.dtype, device=ages.device)  # (H,)
    return torch.exp2(-ages / lives[:, None])
