"""The pre-training loss of a step: the tasks of section 3.2 with the negatives of 3.3, summed.

Each distinct title of a step is encoded once, for A, B, the negatives and the candidates, and all
sequences go through the user encoder in one call.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.config import PretrainConfig
from model.data.batches import BatchOrder
from model.data.corpus import Corpus
from model.data.encoder_input import UNKNOWN_TITLE, corpus_input
from model.data.keyed_random import keyed_bits, torch_seeded
from model.data.ragged import Ragged, offsets_of, positions_of
from model.data.vocabulary import UNKNOWN_ID
from model.inference.vectors import encode_titles
from model.layers.user_model import UserModel
from model.objective.encoding import TitleVectors
from model.objective.negatives import BehaviorNegatives, Chosen, SequenceNegatives
from model.objective.tasks.task import NO_NEGATIVE, Batch, Outcome, Plan, Titles, task_named

_LATEST_AS_OF_MICROSECONDS = 28 * 24 * 3600 * 1_000_000  # after a sequence's last view

Trace = Callable[[dict[str, Any]], None]

# Part of a model's id. Raise it when the same settings give other losses than before, so that
# `pretrain` trains anew what the former objective had finished.
OBJECTIVE_VERSION = 1


@dataclass(frozen=True)
class StepResult:
    """What a call of `Objective.loss` found.

    loss    to be differentiated; the losses of all shares of a step, over micro-batches and
            processes, add up to the step's
    parts   what each task adds to that loss; these add up over shares too
    correct the share of a task's targets whose right candidate scores highest
    counts  of the share: targets of each task, logits without a candidate, titles, words
    sampling_seconds  spent on choosing negatives
    """

    loss: Tensor
    parts: dict[str, float]
    correct: dict[str, float]
    counts: dict[str, int]
    sampling_seconds: float


class Objective:
    """The loss of any step of a run, from its step number and pairs alone.

        objective = Objective(model, corpus, config, BatchOrder(training_pairs, 32, seed=0))
        for step in range(config.steps):
            result = objective.loss(step, objective.batches.share(step))
            result.loss.backward()

    All that is random comes from (seed, purpose, step, pair), so the state to be saved is no more
    than which sequences were chosen at the last refresh.
    """

    def __init__(
        self,
        model: UserModel,
        corpus: Corpus,
        config: PretrainConfig,
        batches: BatchOrder,
        trace: Trace | None = None,
    ) -> None:
        self.model, self.corpus, self.config, self.batches = model, corpus, config, batches
        self.trace = trace
        self.tasks = {name: task_named(name) for name in config.tasks}
        self.behaviors = BehaviorNegatives(model, corpus, config)
        self.sequences = SequenceNegatives(model, corpus, config, batches)

    def state_dict(self) -> dict[str, Tensor]:
        return self.sequences.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.sequences.load_state_dict(state)

    def loss(self, step: int, pairs: NDArray[np.integer]) -> StepResult:
        """The loss of these pairs, which are all of a step's or a share of them."""
        started = time.perf_counter()
        batch = self._batch(step, np.asarray(pairs, np.int64))
        plans = {name: task.plan(batch, self.config) for name, task in self.tasks.items()}
        wrong = self._wrong_behaviors(batch, plans)
        sampled = time.perf_counter()
        with torch_seeded(self.model.device, self.config.seed, "dropout", step, int(pairs[0])):
            encoded = _Encoded(self.model, self.corpus, self.config, step, plans, wrong)
        outcomes = {task: plan.outcome(encoded, wrong[task]) for task, plan in plans.items()}
        return self._result(step, outcomes, encoded, sampled - started)

    def _batch(self, step: int, pairs: NDArray[np.int64]) -> Batch:
        """The pairs with their negative sequences, those of a refresh if one is due."""
        early, late = self.corpus.pairs[pairs].T  # (B,), (B,) the rows of A and B
        wrong, others = np.empty((len(pairs), 0), np.int64), Ragged.of([])
        other_times = Ragged.of([])
        if any(task.uses_negative_sequences for task in self.tasks.values()):
            refreshed = self.sequences.refresh_if_due(step)
            chosen = self.sequences.of(pairs)
            self._trace_sequences(step, refreshed, pairs, chosen)
            used = np.unique(chosen.index[chosen.index != NO_NEGATIVE])  # (S,) places in the pool
            others = self.sequences.pool.take(used).titles(self.corpus)  # S rows of titles
            other_times = self.sequences.pool.take(used).times(self.corpus)
            # Places in the pool become rows of `others`: (B, P).
            wrong = np.where(
                chosen.index == NO_NEGATIVE, NO_NEGATIVE, np.searchsorted(used, chosen.index)
            )
        titles, times = self.corpus.sequences, self.corpus.sequence_times
        return Batch(
            step=step,
            pairs=pairs,
            users=self.corpus.sequence_users[early].astype(np.int64),
            early=titles.take(early),
            late=titles.take(late),
            early_times=times.take(early),
            late_times=times.take(late),
            wrong=wrong,
            others=others,
            other_times=other_times,
        )

    def _wrong_behaviors(self, batch: Batch, plans: dict[str, Plan]) -> dict[str, Titles]:
        """The negative titles of each task's targets, (n, K) or NO_NEGATIVE, all from one pool."""
        targets = np.concatenate([plan.targets for plan in plans.values()])  # (n,) over all tasks
        # (n,) random bits
        order = np.concatenate([plan.keys for plan in plans.values()])
        if not len(targets):
            return {task: np.empty((0, self.config.K), np.int64) for task in plans}
        own, pairs = None, None
        if self.config.set_aside_own:
            owners = np.concatenate([plan.owners for plan in plans.values()])  # (n,)
            own, pairs = own_titles(batch).take(owners), batch.pairs[owners]
        pool, chosen = self.behaviors.choose(batch.step, targets, order, own)
        self._trace_behaviors(batch.step, pool, targets, chosen, pairs)
        titles = np.where(chosen.index == NO_NEGATIVE, NO_NEGATIVE, pool[chosen.index])
        # back to the tasks, in their order
        ends = np.cumsum([len(plan.targets) for plan in plans.values()])[:-1]
        return dict(zip(plans, np.split(titles, ends), strict=True))

    def _result(
        self, step: int, outcomes: dict[str, Outcome], encoded: "_Encoded", seconds: float
    ) -> StepResult:
        whole = self._num_targets(step)
        losses = {
            task: self.config.weight_of(task) * (each.losses.sum() / whole[task])
            for task, each in outcomes.items()
        }
        counts = {task: len(each.losses) for task, each in outcomes.items()}
        counts |= {f"{task}_missing": each.missing for task, each in outcomes.items()}
        return StepResult(
            loss=torch.stack(list(losses.values())).sum(),
            parts={task: loss.item() for task, loss in losses.items()},
            correct={task: each.correct.mean().item() for task, each in outcomes.items()},
            counts=counts | {"titles": encoded.num_titles, "behaviors": encoded.num_behaviors},
            sampling_seconds=seconds,
        )

    def _num_targets(self, step: int) -> dict[str, int]:
        """What each task's mean is over: its targets in the whole step, not in this share."""
        if self.config.reduction == "sum":
            return dict.fromkeys(self.config.tasks, 1)
        lengths = self.corpus.sequences.offsets
        early, late = self.corpus.pairs[self.batches.whole(step)].T.astype(np.int64)
        early, late = (lengths[rows + 1] - lengths[rows] for rows in (early, late))
        return {
            name: task.num_targets(early, late, self.config) for name, task in self.tasks.items()
        }

    def _trace_sequences(
        self, step: int, refreshed: bool, pairs: NDArray[np.int64], chosen: Chosen
    ) -> None:
        if self.trace is None:
            return
        pool = self.sequences.pool
        if refreshed:
            crops = np.column_stack([pool.rows, pool.starts, pool.lengths]).tolist()
            self.trace({"event": "sequence pool", "step": step, "crops": crops})
        self.trace(
            {
                "event": "sequences",
                "step": step,
                "model_step": self.sequences.step,
                "pairs": pairs.tolist(),
                "chosen": chosen.index.tolist(),
                "score": _finite(chosen.score),
            }
        )

    def _trace_behaviors(
        self,
        step: int,
        pool: Titles,
        targets: Titles,
        chosen: Chosen,
        pairs: NDArray[np.int64] | None,
    ) -> None:
        if self.trace is None:
            return
        self.trace(
            {
                "event": "behaviors",
                "step": step,
                "model_step": step,
                "pool": pool.tolist(),
                "targets": targets.tolist(),
                "chosen": chosen.index.tolist(),
                "score": _finite(chosen.score),
            }
            | ({} if pairs is None else {"pairs": pairs.tolist()})
        )


class _Encoded:
    """Every title of the plans once, and every sequence, with gradient."""

    def __init__(
        self,
        model: UserModel,
        corpus: Corpus,
        config: PretrainConfig,
        step: int,
        plans: dict[str, Plan],
        wrong: dict[str, Titles],
    ) -> None:
        named = {name: rows for plan in plans.values() for name, rows in plan.sequences.items()}
        wanted = [rows.values for rows in named.values()]
        wanted += [plan.targets for plan in plans.values()]
        wanted += [titles.ravel() for titles in wrong.values()]
        titles = np.unique(np.concatenate(wanted).astype(np.int64))
        titles = titles[titles >= 0]  # without NO_NEGATIVE and HIDDEN_TITLE
        words = corpus_input(corpus, titles, reads_words=model.reads_words)
        if config.word_dropout:
            unknown = UNKNOWN_ID if model.reads_words else UNKNOWN_TITLE
            words = drop_words(words, titles, config, step, unknown)
        self._titles = TitleVectors(titles, encode_titles(model, words), model.mask)  # (U, E)
        # one call of the encoder for all tasks' sequences
        joined = Ragged.join(list(named.values()))
        self.num_titles, self.num_behaviors = len(titles), len(joined.values)
        when: list[Tensor] = []
        if model.reads_times:
            by_name = {name: rows for plan in plans.values() for name, rows in plan.times.items()}
            times = Ragged.join([by_name[name] for name in named])
            as_of = training_as_of(times, config.seed, step)  # (N,)
            when = [torch.from_numpy(each).to(model.device) for each in (times.values, as_of)]
        states, users = model.encode_users(
            self._titles.at(joined.values), torch.from_numpy(joined.lengths()), *when
        )
        rows = [len(each.values) for each in named.values()]
        self._states = dict(zip(named, torch.split(states, rows), strict=True))
        sizes = [len(each) for each in named.values()]
        self._users = dict(zip(named, torch.split(users, sizes), strict=True))

    def titles(self, titles: Titles) -> Tensor:
        return self._titles.at(titles)

    def states(self, name: str) -> Tensor:
        return self._states[name]

    def users(self, name: str) -> Tensor:
        return self._users[name]


def own_titles(batch: Batch) -> Ragged:
    """For each pair the titles of its A and its B, (B rows)."""
    lengths = batch.early.lengths() + batch.late.lengths()  # (B,)
    both = Ragged.join([batch.early, batch.late])  # (2 B rows)
    order = np.arange(len(both)).reshape(2, -1).T.ravel()  # A, B of pair 0, A, B of pair 1, ...
    return Ragged(both.take(order).values, offsets_of(lengths))


def training_as_of(times: Ragged, seed: int, step: int) -> NDArray[np.int64]:
    """(N,) the instant as of which a step encodes each sequence: up to 28 days after its last view.

    Half of them lie within 3.5 days, since a night encodes many users soon after their newest view
    and some long after it. The draw depends on the sequence's views alone, so that all shares of a
    step see it alike.
    """
    last = times.values[times.offsets[1:] - 1]  # (N,)
    bits = keyed_bits(seed, "as of", step, last, times.values[times.offsets[:-1]], times.lengths())
    share = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53  # (N,) in [0, 1)
    later: NDArray[np.int64] = (share**3 * _LATEST_AS_OF_MICROSECONDS).astype(np.int64)
    return last + 1 + later


def drop_words(
    words: Ragged, titles: Titles, config: PretrainConfig, step: int, unknown: int = UNKNOWN_ID
) -> Ragged:
    """Each word, or row of a title table, becomes the unknown one with chance `word_dropout`.

    Without this a vocabulary with `min_count` 1 never meets its unknown word, whose vector stays
    as it was drawn, and a title of new words is noise; so is the vector of all titles that a title
    table does not have. The draw depends on the seed, the step and the title alone, so all
    processes of a step see a title alike.

    Shapes: words U rows, of the titles (U,).
    """
    lengths = words.lengths()  # (U,)
    keys = keyed_bits(
        config.seed, "word dropout", step, np.repeat(titles, lengths), positions_of(lengths)
    )  # (R,)
    is_dropped = keys < np.uint64(int(config.word_dropout * 2**64))  # (sum of lengths,) bool
    return Ragged(np.where(is_dropped, unknown, words.values), words.offsets)


def _finite(scores: NDArray[np.float64]) -> list[list[float | None]]:
    """As JSON has it: no infinity."""
    return [[value if np.isfinite(value) else None for value in row] for row in scores.tolist()]
