"""Whether a device computes what the CPU computes: losses and gradients of the same step."""

import copy
from typing import Any

import torch
from torch import Tensor

from benchmarks.pretrain_step import MEASURED_STEP, paper_objective
from model.config import BASE_MODELS
from model.data.corpus import Corpus
from model.objective.objective import Objective

FLOAT32_TOLERANCE = 1e-4  # relative; products of 256 floats summed in another order differ so
BFLOAT16_TOLERANCE = 0.05  # of the loss; eight bits of mantissa


def compare_with_cpu(base_model: str, corpus: Corpus, device: torch.device) -> dict[str, Any]:
    """Relative differences of the loss and of the whole gradient, dropout off.

    The negatives are drawn at random, so that both devices have the same ones: medium-hard ones are
    ranked by products, and near ties may fall either way.
    """
    here = _loss_and_gradient(base_model, corpus, torch.device("cpu"), "float32")
    there = _loss_and_gradient(base_model, corpus, device, "float32")
    half = _loss_and_gradient(base_model, corpus, device, "bfloat16")
    found = {
        "loss": here[0],
        "float32_loss_difference": abs(there[0] - here[0]) / abs(here[0]),
        "float32_gradient_difference": _difference(there[1], here[1]),
        "bfloat16_loss_difference": abs(half[0] - here[0]) / abs(here[0]),
        "bfloat16_gradient_difference": _difference(half[1], here[1]),
    }
    agree = (
        found["float32_loss_difference"] <= FLOAT32_TOLERANCE
        and found["float32_gradient_difference"] <= FLOAT32_TOLERANCE
        and found["bfloat16_loss_difference"] <= BFLOAT16_TOLERANCE
    )
    return found | {"agree": agree}


def compare_all_models(corpus: Corpus, device: torch.device, names: list[str]) -> dict[str, Any]:
    """`compare_with_cpu` of each base model; they agree where all do."""
    found = {name: compare_with_cpu(name, corpus, device) for name in names}
    return {**found, "agree": all(each["agree"] for each in found.values())}


def same_negatives(base_model: str, corpus: Corpus, device: torch.device) -> dict[str, Any]:
    """The share of medium-hard negatives that device and CPU both choose."""
    chosen = [_chosen_sequences(base_model, corpus, each) for each in (torch.device("cpu"), device)]
    share = float((chosen[0] == chosen[1]).float().mean())
    return {"same_sequence_negatives": round(share, 4), "agree": share > 0.98}


def _chosen_sequences(base_model: str, corpus: Corpus, device: torch.device) -> Tensor:
    objective = paper_objective(
        BASE_MODELS[base_model], corpus, str(device), ranking_dtype="float32"
    )
    objective.model.eval()
    objective.sequences.refresh(0)
    return objective.sequences.state_dict()["chosen"].cpu()


def _loss_and_gradient(
    base_model: str, corpus: Corpus, device: torch.device, dtype: str
) -> tuple[float, Tensor]:
    """The loss and its gradient, all weights' end to end, in double precision on the CPU."""
    objective = _objective_on(base_model, corpus, device)
    with torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
        result = objective.loss(MEASURED_STEP, objective.batches.share(MEASURED_STEP))
    result.loss.backward()  # type: ignore[no-untyped-call]
    parts = [
        (torch.zeros_like(weight) if weight.grad is None else weight.grad).double().cpu().flatten()
        for weight in objective.model.parameters()
    ]
    return float(result.loss.detach()), torch.cat(parts)


def _objective_on(base_model: str, corpus: Corpus, device: torch.device) -> Objective:
    """The same first weights on any device: they are drawn on the CPU."""
    objective = paper_objective(
        BASE_MODELS[base_model], corpus, "cpu", negatives="random", ranking_dtype="float32"
    )
    moved = copy.deepcopy(objective.model).to(device).eval()
    for owner in (objective, objective.behaviors, objective.sequences):
        owner.model = moved
    objective.sequences.refresh(0)
    return objective


def _difference(found: Tensor, expected: Tensor) -> float:
    """The norm of the difference, beside the norm of what is expected."""
    return float((found - expected).norm() / expected.norm())
