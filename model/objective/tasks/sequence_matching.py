"""bsm: tell a user's next sequence from those of other users (section 3.2.2, equation 2)."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.config import PretrainConfig
from model.layers.packed_sequences import rows_at
from model.objective.tasks.task import (
    NO_NEGATIVE,
    NUM_WRONG_ANSWERS,
    Batch,
    Encoded,
    EvaluationVectors,
    HeldOutPairs,
    Outcome,
    Plan,
    Task,
    Titles,
    contrast_candidates,
    question_scores,
)


class SequenceMatching(Task):
    """Find B among the negative sequences by the user's vector from A; nothing is hidden."""

    uses_negative_sequences = True

    def plan(self, batch: Batch, config: PretrainConfig) -> Plan:
        sequences = {"early": batch.early, "late": batch.late, "others": batch.others}

        def outcome(encoded: Encoded, wrong: Titles) -> Outcome:
            early, late = encoded.users("early"), encoded.users("late")  # (B, D) each
            negatives = _negatives(encoded.users("others"), batch.wrong, early)  # (B, P, D)
            missing = torch.from_numpy(batch.wrong == NO_NEGATIVE).to(early.device)  # (B, P)
            candidates = torch.cat([late[:, None], negatives], dim=1)  # (B, 1 + P, D)
            return contrast_candidates(early, candidates, missing, config.score_of_sequences)

        times = {
            "early": batch.early_times,
            "late": batch.late_times,
            "others": batch.other_times,
        }
        return Plan.without_titles(sequences, times, outcome)

    def num_targets(
        self, early: NDArray[np.int64], late: NDArray[np.int64], config: PretrainConfig
    ) -> int:
        return len(early)

    def question(self, held_out: HeldOutPairs, draw: np.random.Generator) -> "MatchingQuestion":
        asked, candidates = draw_strangers(held_out, draw)
        return MatchingQuestion(held_out.a[asked], candidates)


def _negatives(others: Tensor, wrong: NDArray[np.int64], like: Tensor) -> Tensor:
    """others (U, D) at wrong (B, P): (B, P, D); where NO_NEGATIVE is, any vector."""
    if not len(others):  # no pair of this share has an allowed sequence: every logit is missing
        return like.new_zeros((*wrong.shape, like.shape[1]))
    index = torch.from_numpy(wrong.clip(min=0)).to(others.device)
    return rows_at(others, index.flatten()).view(*index.shape, -1)


def draw_strangers(
    held_out: HeldOutPairs, draw: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each A its B and the B of other users that do not overlap A in time.

    All candidates are a B, so that neither length nor position in a history tells the right one.
    Sequences that share an instant overlap. An A without enough strangers is left out.

    Shapes: returns the asked A (Q,), rows of `held_out.a`, and their candidates
    (Q, 1 + NUM_WRONG_ANSWERS), rows of `held_out.sequences`, B first.
    """
    corpus, rows = held_out.corpus, held_out.rows
    users = corpus.sequence_users[rows]  # (S,)
    starts = corpus.times[corpus.sequences.offsets[rows]]  # (S,)
    ends = corpus.times[corpus.sequences.offsets[rows + 1] - 1]  # (S,)
    is_late = np.isin(np.arange(len(rows)), held_out.b)  # (S,)
    matched, candidates = [], []
    for i, (first, second) in enumerate(zip(held_out.a, held_out.b, strict=True)):
        is_apart = (starts > ends[first]) | (ends < starts[first])  # (S,)
        strangers = np.flatnonzero(is_apart & is_late & (users != users[first]))
        if len(strangers) >= NUM_WRONG_ANSWERS:
            matched.append(i)
            chosen = draw.choice(strangers, NUM_WRONG_ANSWERS, replace=False)
            candidates.append([second, *chosen])
    return (
        np.array(matched, np.int64),
        np.array(candidates, np.int64).reshape(-1, 1 + NUM_WRONG_ANSWERS),
    )


@dataclass(frozen=True)
class MatchingQuestion:
    """Which sequence is of the same user as this one?

    Shapes: Q asked pairs.
    """

    early: NDArray[np.int64]  # (Q,) rows of HeldOutPairs.sequences
    candidates: NDArray[np.int64]  # (Q, 1 + NUM_WRONG_ANSWERS) rows of its sequences, B first

    @property
    def titles(self) -> Titles:
        return np.empty(0, np.int64)

    def scores(self, vectors: EvaluationVectors) -> NDArray[np.float64]:
        users = vectors.matching_users
        score = vectors.settings.score_of_sequences
        return question_scores(users[self.early], users[self.candidates], score)


TASK = SequenceMatching()
