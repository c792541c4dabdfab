"""What a pre-training task is, and the losses that tasks share.

A task plans, in numpy, which behaviors it predicts and which sequences it needs encoded. Then it
turns the vectors into one loss a target. It may also bring a question for held-out users, from
which the evaluation takes its accuracy. `model/task_registry.py` names the tasks.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from model.config import PretrainConfig
from model.data.corpus import Corpus
from model.data.ragged import Ragged
from model.layers.packed_sequences import rows_at
from model.layers.user_encoder import UserEncoder
from model.settings.scores import DOT_PRODUCT, ScoreSettings, VectorScore
from model.task_registry import TASKS

HIDDEN_TITLE = -1  # stands for a title where the model sees its mask embedding
NO_NEGATIVE = -1  # stands for a negative where too few candidates were allowed

NUM_WRONG_ANSWERS = 4  # next to each right answer of a question, so chance is one in five

Titles = NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """The pairs that one call of `Objective.loss` is about.

    Shapes: B pairs.
        pairs  (B,) rows of corpus.pairs
        users  (B,) rows of the users
        early  the titles of each A, late of each B
        early_times, late_times  microseconds UTC of their views
        wrong  (B, P) for each pair its negatives among `others`, or NO_NEGATIVE
        others  the titles of each negative sequence, once
        other_times  microseconds UTC of their views
    """

    step: int
    pairs: NDArray[np.int64]
    users: NDArray[np.int64]
    early: Ragged
    late: Ragged
    early_times: Ragged
    late_times: Ragged
    wrong: NDArray[np.int64]
    others: Ragged
    other_times: Ragged


class Encoded(Protocol):
    """The vectors of a step, all with gradient."""

    def titles(self, titles: Titles) -> Tensor: ...  # (..., D); of NO_NEGATIVE any vector
    def states(self, name: str) -> Tensor: ...  # (R, D) of the sequences of that name
    def users(self, name: str) -> Tensor: ...  # (N, D)


@dataclass(frozen=True)
class Outcome:
    """The losses and answers of a task's targets.

    Shapes: n targets.
        losses   (n,) nats
        correct  (n,) in [0, 1]: 1 where the right candidate scores highest, shared among ties
        missing  the number of logits without a candidate
    """

    losses: Tensor
    correct: Tensor
    missing: int


@dataclass(frozen=True)
class Plan:
    """What a task needs of a batch, and how it turns the vectors into losses.

    Shapes: n behaviors to predict.
        sequences  by name, titles or HIDDEN_TITLE; two tasks that name "early" share its vectors
        targets    (n,) the titles to be found
        keys       (n,) random bits of each target, however the step is shared out
        owners     (n,) the row of the batch that each target is of
        times      by name, microseconds UTC beside the sequences, where they have times
        outcome    takes the vectors and the targets' negatives (n, K), titles or NO_NEGATIVE
    """

    sequences: dict[str, Ragged]
    targets: Titles
    keys: NDArray[np.uint64]
    owners: NDArray[np.int64]
    times: dict[str, Ragged]
    outcome: Callable[[Encoded, Titles], Outcome]

    @classmethod
    def without_titles(
        cls,
        sequences: dict[str, Ragged],
        times: dict[str, Ragged],
        outcome: Callable[[Encoded, Titles], Outcome],
    ) -> "Plan":
        """The plan of a task that predicts no single behavior."""
        nothing = np.empty(0, np.int64)
        return cls(sequences, nothing, nothing.astype(np.uint64), nothing, times, outcome)


@dataclass(frozen=True)
class HeldOutPairs:
    """The pairs of held-out users that questions are about.

    Shapes: S sequences, N pairs.
        rows       (S,) rows of corpus.sequences, ascending
        sequences  (S rows) their titles
        times      (S rows) microseconds UTC of their views
        a, b       (N,) places in `rows`
    """

    corpus: Corpus
    rows: NDArray[np.int64]
    sequences: Ragged
    times: Ragged
    a: NDArray[np.int64]
    b: NDArray[np.int64]

    @property
    def as_of(self) -> NDArray[np.int64]:
        """(S,) the instant after each sequence's last view, as of which it is encoded."""
        return self.times.values[self.times.offsets[1:] - 1].astype(np.int64) + 1


class EvaluationVectors(Protocol):
    """The vectors of one model under evaluation, without dropout and without gradient."""

    model: UserEncoder
    settings: ScoreSettings  # with the scores that the model was trained by
    users: NDArray[np.float32]  # (S, D) of HeldOutPairs.sequences
    matching_users: NDArray[np.float32]  # (S, D') the same, in the space of matching

    def titles(self, titles: NDArray[np.integer]) -> NDArray[np.float32]: ...  # (..., E)
    def candidates(self, titles: NDArray[np.integer]) -> NDArray[np.float32]: ...  # (..., D)


class Question(Protocol):
    """A choice between a right answer and wrong ones, drawn once and asked of every model."""

    @property
    def titles(self) -> Titles: ...  # (m,) titles that it needs besides those of the sequences

    def scores(self, vectors: EvaluationVectors) -> NDArray[np.float64]:
        """(n, 1 + NUM_WRONG_ANSWERS) scores, those of the right answers first."""


class Task(ABC):
    """One self-supervision task."""

    uses_negative_sequences = False  # whether Batch.wrong and Batch.others must be filled

    @abstractmethod
    def plan(self, batch: Batch, config: PretrainConfig) -> Plan:
        """What the task predicts of this batch."""

    @abstractmethod
    def num_targets(
        self, early: NDArray[np.int64], late: NDArray[np.int64], config: PretrainConfig
    ) -> int:
        """The number of losses for pairs of these lengths: what the task's mean is over."""

    def question(self, held_out: HeldOutPairs, draw: np.random.Generator) -> Question:
        """What is asked of held-out users; only a task that registers a metric has a question."""
        raise NotImplementedError


_Kind = TypeVar("_Kind")


def implementation_of(name: str, kind: type[_Kind]) -> _Kind:
    """The task of this name in a setting, which is of this kind."""
    task = import_module(f"model.objective.tasks.{TASKS[name].module}").TASK
    assert isinstance(task, kind), f"{name} is no {kind.__name__}"
    return task


def task_named(name: str) -> Task:
    """The task of this name, which trains the window form."""
    return implementation_of(name, Task)  # type: ignore[type-abstract]


def contrast_candidates(
    queries: Tensor, candidates: Tensor, missing: Tensor, score: VectorScore = DOT_PRODUCT
) -> Outcome:
    """Cross entropy of picking candidate 0 by its score (equations 1 and 2, a target each).

    Shapes: queries (n, D); candidates (n, 1 + K, D); missing (n, K) bool, whose logits are left
    out of the softmax. A target with no negative left costs nothing.
    """
    with torch.autocast(queries.device.type, enabled=False):
        wide = torch.promote_types(queries.dtype, torch.float32)
        queries, candidates = (_scored(each.to(wide), score) for each in (queries, candidates))
        # One row at a time, so that equal candidates score the same to the bit.
        logits = (candidates * queries[:, None]).sum(-1)  # (n, 1 + K)
        absent = F.pad(missing, (1, 0))  # (n, K) -> (n, 1 + K): the right one is always there
        right = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)  # (n,)
        return _outcome(logits.masked_fill(absent, float("-inf")), right, int(missing.sum()))


def contrast_in_batch(
    users: Tensor, score: VectorScore = DOT_PRODUCT, identical: Tensor | None = None
) -> Outcome:
    """Cross entropy of picking view 2i + 1 for view 2i and the reverse among all other views.

    Shapes: users (2 B, D), the two views of a user side by side; identical (2 B, 2 B) bool, where
    two views are of one user: those besides the right one are left out.
    """
    with torch.autocast(users.device.type, enabled=False):
        wide = _scored(users.to(torch.promote_types(users.dtype, torch.float32)), score)
        logits = (wide @ wide.T).fill_diagonal_(float("-inf"))  # (2 B, 2 B)
        # i ^ 1 turns an even number into the next odd one, and back.
        right = torch.arange(len(users), device=users.device) ^ 1  # (2 B,)
        if identical is None:
            return _outcome(logits, right, 0)
        missing = identical.scatter(1, right[:, None], False).fill_diagonal_(False)
        return _outcome(logits.masked_fill(missing, float("-inf")), right, int(missing.sum()))


def _scored(vectors: Tensor, score: VectorScore) -> Tensor:
    """(..., D) vectors whose dot products are the scores."""
    if score.name == "dot":
        return vectors
    # Each side brings the square root of the temperature's inverse.
    return F.normalize(vectors, dim=-1) / math.sqrt(score.temperature)


def _outcome(logits: Tensor, right: Tensor, missing: int) -> Outcome:
    """Shapes: logits (n, C), right (n,) the column of the right candidate."""
    losses = F.cross_entropy(logits, right, reduction="none")  # (n,)
    with torch.no_grad():
        is_best = logits == logits.max(1, keepdim=True).values  # (n, C)
        correct = is_best.gather(1, right[:, None]).squeeze(1) / is_best.sum(1)  # (n,)
    return Outcome(losses, correct, missing)


def contrast_titles(
    encoded: Encoded,
    queries: Tensor,
    rows: Titles,
    targets: Titles,
    wrong: Titles,
    score: VectorScore,
) -> Outcome:
    """Find each target among its negatives by the query in `rows`.

    Shapes: queries (m, D), rows (n,) into them, targets (n,), wrong (n, K) titles or NO_NEGATIVE.
    """
    candidates = encoded.titles(np.column_stack([targets, wrong]))  # (n, 1 + K, D)
    index = torch.from_numpy(rows).to(queries.device)
    missing = torch.from_numpy(wrong == NO_NEGATIVE).to(queries.device)  # (n, K)
    return contrast_candidates(rows_at(queries, index), candidates, missing, score)


def question_scores(
    queries: NDArray[np.float32],
    candidates: NDArray[np.float32],
    score: VectorScore = DOT_PRODUCT,
) -> NDArray[np.float64]:
    """(n, D) queries and (n, C, D) candidates to (n, C) scores of a question."""
    scores: NDArray[np.float64] = np.einsum("nd,ncd->nc", queries, candidates, dtype=np.float64)
    if score.name == "dot":
        return scores
    lengths = np.linalg.norm(queries, axis=-1)[:, None] * np.linalg.norm(candidates, axis=-1)
    scores /= np.maximum(lengths.astype(np.float64), 1e-12) * score.temperature
    return scores
