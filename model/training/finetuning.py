"""Fine-tune a user model on impressions: which of the shown titles does a user click?

The candidates are encoded by the behavior encoder, the user by the user encoder, and the score of a
click is their dot product. A step takes clicked candidates, each with `negatives` candidates that
were shown in the same impression and not clicked, and minimizes the cross-entropy of the clicked
one among them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contracts.errors import BadInput
from model.data.batches import BatchOrder
from model.data.impressions import Impressions
from model.data.keyed_random import keyed_generator, torch_seeded
from model.data.ragged import Ragged
from model.inference.vectors import (
    encode_titles,
    evaluation_mode,
    title_vectors,
    to_numpy,
    user_vectors,
)
from model.layers.packed_histories import PackedHistories
from model.layers.packed_sequences import rows_at
from model.layers.user_encoder import UserEncoder
from model.objective.tasks.task import contrast_candidates

_Scores = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings:
    """How a model is fine-tuned. The defaults are the paper's for news (Table 4)."""

    negatives: int = 4  # candidates that were not clicked, for each that was
    learning_rate: float = 1e-4  # of Adam
    batch_size: int = 32  # clicked candidates of a step
    steps: int = 10_000  # at most
    validation_interval: int = 200  # steps between evaluations on the validation impressions
    patience: int = 5  # evaluations without improvement that end the training

    def __post_init__(self) -> None:
        wrong = [f"{each.name} is {value}" for each in fields(self)
                 if not 0 < (value := getattr(self, each.name)) < math.inf]  # fmt: skip
        if wrong:
            raise BadInput(f"fine-tuning: {', '.join(wrong)}; each must be above 0")


@dataclass(frozen=True)
class Finetuned:
    """How a fine-tuning went; the model has the weights of the best validation score."""

    steps: int  # that were taken
    best_step: int
    best_score: float  # on the validation impressions


class _Samples:
    """The clicked candidates of some impressions, and what negatives may be drawn for each."""

    def __init__(self, impressions: Impressions, settings: FinetuneSettings, seed: int) -> None:
        shown, clicked = impressions.candidates, impressions.clicked
        self.impressions, self.settings, self.seed = impressions, settings, seed
        self.owners = impressions.owners[clicked]  # (n,) the impression of each clicked candidate
        self.titles = shown.values[clicked].astype(np.int64)  # (n,)
        unclicked = np.bincount(impressions.owners[~clicked], minlength=len(impressions))  # (I,)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(unclicked)])
        self.unclicked = Ragged(shown.values[~clicked].astype(np.int64), offsets)
        if not len(self.titles) or not len(self.unclicked.values):
            raise BadInput(
                f"of {len(impressions)} training impressions {len(self.titles)} candidates are "
                f"clicked and {len(self.unclicked.values)} are not: fine-tuning needs both"
            )
        self.order = BatchOrder(np.arange(len(self.titles)), settings.batch_size, seed)

    def batch(self, step: int) -> tuple[Impressions, NDArray[np.int64]]:
        """The impressions of a step (B) and its candidates (B, 1 + K), the clicked one first."""
        rows = self.order.whole(step)  # (B,)
        draw = keyed_generator(self.seed, "finetuning negatives", step)
        wrong = np.array([self._negatives(int(self.owners[row]), draw) for row in rows])  # (B, K)
        return self.impressions.take(self.owners[rows]), np.column_stack([self.titles[rows], wrong])

    def _negatives(self, impression: int, draw: np.random.Generator) -> NDArray[np.int64]:
        """Candidates of the impression that were not clicked; where it has too few of them, the
        rest are such candidates of other impressions."""
        own, count = self.unclicked[impression], self.settings.negatives
        if len(own) >= count:
            return np.asarray(draw.choice(own, count, replace=False))
        others = draw.choice(self.unclicked.values, count - len(own))
        return np.concatenate([own, others])


def finetune_model(
    model: UserEncoder,
    titles: Ragged,
    training: Impressions,
    validation: Impressions,
    settings: FinetuneSettings,
    seed: int,
    measure: Callable[[_Scores, Impressions], float],
) -> Finetuned:
    """Train `model` until `measure` of the validation impressions no longer rises.

    `titles` is what the behavior encoder reads of each title (T rows). At the end the model has
    the weights of the best evaluation; of equal ones the first is kept. All draws follow from
    `seed` and the step.
    """
    if model.reads_times and (training.times is None or validation.times is None):
        raise BadInput(
            "this model reads the times of views, and nobody knows those of these impressions: "
            "fine-tune a model of the form window, without time_features"
        )
    training, validation = (each.newest_views(model.max_views) for each in (training, validation))
    samples = _Samples(training, settings, seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, fused=True)
    best: dict[str, Tensor] = {}
    best_step, best_score, step = 0, -np.inf, 0
    while step < settings.steps:
        model.train()
        optimizer.zero_grad(set_to_none=True)
        shown, candidates = samples.batch(step)
        with torch_seeded(model.device, seed, "finetuning dropout", step):
            loss = click_loss(model, titles, shown, candidates)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        step += 1
        if step % settings.validation_interval and step < settings.steps:
            continue
        score = measure(click_scores(model, titles, validation), validation)
        if score > best_score or not best:
            best_step, best_score = step, score
            best = {name: value.clone() for name, value in model.state_dict().items()}
        elif step - best_step >= settings.patience * settings.validation_interval:
            break
    model.load_state_dict(best)
    return Finetuned(step, best_step, float(best_score))


def click_loss(
    model: UserEncoder, titles: Ragged, shown: Impressions, candidates: NDArray[np.int64]
) -> Tensor:
    """Mean cross-entropy of the first of each row of candidates, each distinct title encoded once.

    Shapes: B impressions, of which the histories are read; candidates (B, 1 + K) titles.
    """
    histories = shown.histories  # B rows, R views
    joined = np.concatenate([histories.values.astype(np.int64), candidates.ravel()])
    distinct, index = np.unique(joined, return_inverse=True)
    vectors = encode_titles(model, titles.take(distinct))  # (U, E)
    places = torch.from_numpy(index).to(vectors.device)
    rows = rows_at(vectors, places)  # (R + B (1 + K), E)
    num_views = len(histories.values)
    lengths = torch.from_numpy(histories.lengths())
    users = model.encode_histories(
        PackedHistories(rows[:num_views], lengths, *_instants(shown, model.device))
    )
    offered = model.title_candidates(rows[num_views:]).view(*candidates.shape, -1)  # (B, 1 + K, D)
    missing = torch.zeros(
        len(candidates), candidates.shape[1] - 1, dtype=torch.bool, device=users.device
    )
    return contrast_candidates(users, offered, missing).losses.mean()


def _instants(shown: Impressions, device: torch.device) -> list[Tensor]:
    """The times of the views (R,) and of the impressions (B,), where they are known."""
    both = (shown.history_times, shown.instants)
    return [torch.from_numpy(each).to(device) for each in both if each is not None]


def click_scores(model: UserEncoder, titles: Ragged, impressions: Impressions) -> _Scores:
    """(C,) the dot product of each candidate with its impression's user, without gradient."""
    cut = impressions.newest_views(model.max_views)
    views = cut.histories
    used = np.concatenate([views.values, cut.candidates.values]).astype(np.int64)
    distinct, index = np.unique(used, return_inverse=True)
    vectors = title_vectors(model, titles.take(distinct))  # (U, D)
    num_views = len(views.values)
    histories = Ragged(index[:num_views], views.offsets)
    users = to_numpy(
        user_vectors(model, vectors, histories, cut.history_times, cut.instants)
    )  # (I, D)
    with evaluation_mode(model):
        shown = to_numpy(model.title_candidates(vectors))[index[num_views:]]  # (C, D)
    scores: _Scores = np.einsum("cd,cd->c", shown, users[cut.owners], dtype=np.float64)
    return scores
