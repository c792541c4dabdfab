"""The processes of one training: one, or as many as torchrun started, on one machine or many."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from contracts.errors import BadInput


@dataclass(frozen=True)
class Processes:
    """This process's rank among those that train one model together."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0  # among the processes of this machine
    local_world: int = 1  # the number of processes of this machine
    device: torch.device = torch.device("cpu")  # noqa: RUF009  a constant

    @property
    def is_first(self) -> bool:
        """Whether this one writes the checkpoints, the log and the output."""
        return self.rank == 0

    @property
    def is_first_here(self) -> bool:
        """Whether this is the first process of its machine."""
        return self.local_rank == 0

    def broadcast(self, numbers: Mapping[str, int]) -> dict[str, int]:
        """The first process's numbers, in every process."""
        shared = [dict(numbers)]
        if self.world > 1:
            dist.broadcast_object_list(shared)
        return shared[0]

    def gather(self, state: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
        """Every process's tensors, in the order of ranks, in every process."""
        parts: list[Any] = [dict(state)] * self.world
        if self.world > 1:
            dist.all_gather_object(parts, dict(state))
        return parts

    def sum_over_processes(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """The sum of each number over all processes, which must all name the same."""
        if self.world == 1:
            return dict(numbers)
        names = sorted(numbers)
        total = torch.tensor([numbers[name] for name in names], dtype=torch.float64)
        total = total.to(self.device)
        dist.all_reduce(total)
        return dict(zip(names, total.tolist(), strict=True))

    def sum_gradients(self, model: nn.Module) -> None:
        """Give each weight the sum of its gradients over all processes, in one exchange."""
        if self.world == 1:
            return
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        for weight in weights:
            weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def wait(self) -> None:
        if self.world > 1:
            dist.barrier()


@contextmanager
def join_processes(device: str) -> Iterator[Processes]:
    """Join the processes that torchrun started (gloo on CPUs, NCCL on GPUs), or be the only one.

    `device` is cpu, cuda, or auto: a GPU where there is one.
    """
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if kind == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device is cuda, but torch finds no GPU here: use cpu, or auto")
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    where = torch.device(kind, local) if kind == "cuda" else torch.device("cpu")
    if kind == "cuda":
        torch.cuda.set_device(where)
    if world > 1:
        dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    try:
        yield Processes(
            rank=int(os.environ.get("RANK", "0")),
            world=world,
            local_rank=local,
            local_world=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
            device=where,
        )
    finally:
        if world > 1:
            dist.destroy_process_group()
