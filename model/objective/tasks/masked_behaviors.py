"""mbp: predict hidden behaviors of a sequence from the others (section 3.2.1, equation 1).

With `masked_from=user` the user's vector predicts them, as in PTUM (Wu et al. 2020a). With
`masked_sequences=both` behaviors of B are hidden too: a user's last B is never the A of a pair.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model.config import PretrainConfig
from model.data.corpus import Corpus
from model.data.keyed_random import keyed_bits
from model.data.ragged import Ragged, owners_of, positions_of
from model.inference.vectors import USERS_PER_BATCH, evaluation_mode, pack_rows
from model.layers.packed_histories import PackedHistories
from model.objective.tasks.task import (
    HIDDEN_TITLE,
    NUM_WRONG_ANSWERS,
    Batch,
    Encoded,
    EvaluationVectors,
    HeldOutPairs,
    Outcome,
    Plan,
    Task,
    Titles,
    contrast_titles,
    question_scores,
)

_QUESTION_MASK_RATE = 0.1  # of held-out users, whatever the rate that a model was trained with
_MAX_REDRAWS = 50  # of wrong answers that look like the right one; fewer unless all titles do


class MaskedBehaviors(Task):
    """Find each hidden behavior by the state at its position, or by the user's vector.

    Candidates carry no position, so the position never tells which one is right.
    """

    def plan(self, batch: Batch, config: PretrainConfig) -> Plan:
        parts = [_hide(batch.early, batch, config, "mask")]
        if config.masked_sequences == "both":
            parts.append(_hide(batch.late, batch, config, "mask late"))
        masked = Ragged.join([part.sequences for part in parts])
        # The hidden positions and their sequences, counted over A and then B.
        before = np.cumsum([0, *(len(part.sequences.values) for part in parts)])
        hidden = np.concatenate([p.hidden + n for p, n in zip(parts, before, strict=False)])  # (n,)
        targets = np.concatenate([part.targets for part in parts])  # (n,)
        owners = owners_of(masked.lengths())[hidden]  # (n,)

        def outcome(encoded: Encoded, wrong: Titles) -> Outcome:
            if config.masked_from == "user":
                queries, rows = encoded.users("masked"), owners
            else:
                queries, rows = encoded.states("masked"), hidden
            return contrast_titles(
                encoded, queries, rows, targets, wrong, config.score_of_behaviors
            )

        keys = np.concatenate([part.keys for part in parts])
        # A and B of a pair are rows `n` and `B + n` of `masked`.
        owner_rows = owners % len(batch.pairs)
        times = Ragged.join([batch.early_times, batch.late_times][: len(parts)])
        return Plan({"masked": masked}, targets, keys, owner_rows, {"masked": times}, outcome)

    def num_targets(
        self, early: NDArray[np.int64], late: NDArray[np.int64], config: PretrainConfig
    ) -> int:
        count = num_masked(early, config.mask_rate).sum()
        if config.masked_sequences == "both":
            count += num_masked(late, config.mask_rate).sum()
        return int(count)

    def question(self, held_out: HeldOutPairs, draw: np.random.Generator) -> "MaskedQuestion":
        sequences = held_out.sequences.take(held_out.a)
        hidden, targets = _draw_hidden(sequences, draw)
        values = sequences.values.astype(np.int64)
        values[hidden] = HIDDEN_TITLE
        wrong = draw_wrong_titles(held_out.corpus, targets, draw)
        return MaskedQuestion(
            Ragged(values, sequences.offsets),
            held_out.times.take(held_out.a),
            held_out.as_of[held_out.a],
            targets,
            wrong,
        )


@dataclass(frozen=True)
class _Hidden:
    """Shapes: B sequences, R behaviors, n of them hidden."""

    sequences: Ragged  # (B rows) with HIDDEN_TITLE
    hidden: NDArray[np.int64]  # (n,) positions in sequences.values
    targets: Titles  # (n,)
    keys: NDArray[np.uint64]  # (n,)


def _hide(sequences: Ragged, batch: Batch, config: PretrainConfig, purpose: str) -> _Hidden:
    lengths = sequences.lengths()
    pairs = np.repeat(batch.pairs, lengths)  # (B,) -> (R,)
    keys = keyed_bits(config.seed, purpose, batch.step, pairs, positions_of(lengths))  # (R,)
    hidden = masked_positions(sequences, num_masked(lengths, config.mask_rate), keys)
    values = sequences.values.astype(np.int64)
    targets = values[hidden]
    values[hidden] = HIDDEN_TITLE
    return _Hidden(Ragged(values, sequences.offsets), hidden, targets, keys[hidden])


def num_masked(lengths: NDArray[np.int64], rate: float) -> NDArray[np.int64]:
    """The number of behaviors that are hidden in sequences of these lengths.

    That is `rate` of them, rounded down, and at least one. At 10 %: of 1, 2, 9, 10 and 11 one, of
    100 ten.
    """
    # 1e-9: 0.29 * 100 is a hair below 29.
    counts: NDArray[np.int64] = np.floor(lengths * rate + 1e-9).astype(np.int64)
    return counts.clip(min=1)


def masked_positions(
    sequences: Ragged, counts: NDArray[np.int64], keys: NDArray[np.uint64]
) -> Titles:
    """The `counts` positions of lowest `keys` of each sequence, ascending, as places in `values`.

    Shapes: N sequences of R values; counts (N,), keys (R,); returns (counts.sum(),).
    """
    lengths = sequences.lengths()
    order = np.lexsort((keys, owners_of(lengths)))  # (R,) a shuffle within each sequence
    return np.sort(order[positions_of(lengths) < np.repeat(counts, lengths)])


def _draw_hidden(
    sequences: Ragged, draw: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A tenth of each sequence's positions, at least one; and the titles there."""
    lengths = sequences.lengths()
    counts = np.maximum(1, (lengths * _QUESTION_MASK_RATE).astype(np.int64))
    owners = owners_of(lengths)
    order = np.lexsort((draw.random(len(owners)), owners))  # a shuffle within each sequence
    hidden = np.sort(order[positions_of(lengths) < counts[owners]])
    return hidden, sequences.values[hidden].astype(np.int64)


def draw_wrong_titles(
    corpus: Corpus, targets: NDArray[np.int64], draw: np.random.Generator
) -> NDArray[np.int64]:
    """(n, NUM_WRONG_ANSWERS) random behaviors of training users.

    One that looks like its target is drawn again.
    """
    identity = corpus.title_identity
    wrong = np.zeros((len(targets), NUM_WRONG_ANSWERS), np.int64)
    is_alike = np.ones(wrong.shape, bool)
    for _ in range(_MAX_REDRAWS):
        drawn = draw.integers(len(corpus.behaviors), size=int(is_alike.sum()))
        wrong[is_alike] = corpus.behaviors[drawn]
        is_alike = identity[wrong] == identity[targets][:, None]  # (n, NUM_WRONG_ANSWERS)
        if not is_alike.any():
            break
    return wrong


@dataclass(frozen=True)
class MaskedQuestion:
    """Which title is hidden here? Asked of the state at the hidden position.

    Shapes: N sequences A, n hidden behaviors.
    """

    sequences: Ragged  # (N rows) titles, HIDDEN_TITLE where one is hidden
    times: Ragged  # (N rows) microseconds UTC, beside them
    as_of: NDArray[np.int64]  # (N,) the instant after A's last view
    targets: Titles  # (n,)
    wrong: Titles  # (n, NUM_WRONG_ANSWERS)

    @property
    def titles(self) -> Titles:
        return self.wrong.ravel()

    def scores(self, vectors: EvaluationVectors) -> NDArray[np.float64]:
        candidates = vectors.candidates(np.column_stack([self.targets, self.wrong]))  # (n, 5, D)
        score = vectors.settings.score_of_behaviors
        return question_scores(self._states(vectors), candidates, score)

    def _states(self, vectors: EvaluationVectors) -> NDArray[np.float32]:
        """(n, D): what predicts the hidden positions, by the rest of their sequence."""
        model = vectors.model
        found = []
        with evaluation_mode(model):
            for start in range(0, len(self.sequences), USERS_PER_BATCH):
                stop = min(start + USERS_PER_BATCH, len(self.sequences))
                rows = np.arange(start, stop)
                titles, lengths = pack_rows(self.sequences.take(rows))
                times, _ = pack_rows(self.times.take(rows))
                as_of = torch.from_numpy(self.as_of[rows])
                is_hidden = titles == HIDDEN_TITLE  # (R,)
                behaviors = torch.from_numpy(vectors.titles(titles.numpy()))  # (R, E)
                histories = PackedHistories(
                    behaviors.to(model.device),
                    lengths,
                    times.to(model.device),
                    as_of.to(model.device),
                )
                states = model.hidden_states(histories, is_hidden.to(model.device))
                found.append(states.float().cpu().numpy())
        return np.concatenate(found)


TASK = MaskedBehaviors()
