"""Medium-hard negatives (section 3.3), and the two samplings it is compared with.

A candidate is *allowed* for a target where it is not the target itself: another title by the words
that the encoder sees; a sequence of another user that does not overlap A in time. Of the allowed
candidates of a pool the K of highest score become negatives, and the samplings differ in no more
than the pool and the score:

    medium   a random pool; the cosine of target and candidate
    random   the same random pool; the pool's own random order, from a place that differs by target
    hardest  everything there is; the cosine

Ranking is without gradient and without dropout. What is chosen is encoded again with gradient.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from model.config import PretrainConfig
from model.data.batches import BatchOrder
from model.data.corpus import Corpus
from model.data.encoder_input import title_identity
from model.data.keyed_random import keyed_bits, keyed_generator
from model.data.ragged import Ragged
from model.inference.vectors import evaluation_mode
from model.layers.user_model import UserModel
from model.objective.encoding import TitleVectors, ranking_titles, ranking_users
from model.objective.tasks.task import NO_NEGATIVE, Titles

_RANKED_TITLES_PER_BLOCK = 16_384  # whose scores are in memory together
_RANKED_SEQUENCES_PER_BLOCK = 2048  # whose scores are in memory together


@dataclass(frozen=True)
class Chosen:
    """The negatives of n targets among m candidates.

    Shapes:
        index  (n, K) int64 places in the pool, best first; NO_NEGATIVE where too few were allowed
        score  (n, K) float64, the cosine to the target where the pool was ranked by it
    """

    index: NDArray[np.int64]
    score: NDArray[np.float64]

    @property
    def missing(self) -> int:
        return int((self.index == NO_NEGATIVE).sum())


_Scores = Callable[[slice], Tensor]  # of some candidates, (n, c)


def top_candidates(scores_of: _Scores, num_candidates: int, count: int, per_block: int) -> Chosen:
    """The `count` candidates of highest score for each target, equal scores by place in the pool.

    `scores_of(slice)` gives the scores (n, c) of some candidates, -inf for those not allowed.
    """
    score = index = None
    for start in range(0, num_candidates, per_block):
        part = scores_of(slice(start, min(start + per_block, num_candidates)))
        places = torch.arange(start, start + part.shape[1], device=part.device).expand_as(part)
        if score is not None and index is not None:
            part, places = torch.cat([score, part], 1), torch.cat([index, places], 1)
        score, column = _first_largest(part, count)  # (n, count)
        index = places.gather(1, column)  # (n, count)
    assert score is not None
    assert index is not None
    found = index.masked_fill(torch.isneginf(score), NO_NEGATIVE)
    short = (0, count - found.shape[1])  # fewer candidates than `count`
    return Chosen(
        F.pad(found, short, value=NO_NEGATIVE).cpu().numpy(),
        F.pad(score.double(), short, value=float("-inf")).cpu().numpy(),
    )


def _first_largest(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """`topk` with ties broken: of equal scores the first."""
    scores = scores.clone()
    values, columns = [], []
    for _ in range(min(count, scores.shape[1])):
        value, column = scores.max(1, keepdim=True)  # of equal ones the first, as documented
        scores.scatter_(1, column, float("-inf"))
        values.append(value)
        columns.append(column)
    return torch.cat(values, 1), torch.cat(columns, 1)


def _cosine_scores(targets: Tensor, candidates: Tensor) -> Tensor:
    """(n, D) and (m, D) to (n, m), in single precision or better."""
    wide = torch.promote_types(targets.dtype, torch.float32)
    # In single precision at least: (n, D), (m, D).
    a, b = (F.normalize(vectors.to(wide), dim=-1) for vectors in (targets, candidates))
    with torch.autocast(a.device.type, enabled=False):
        return a @ b.T  # (n, m)


def random_order_scores(starts: NDArray[np.uint64], num: int, device: torch.device) -> _Scores:
    """Scores for `random`: the pool's order, from a place of its own for each target.

    Without that place, all targets of a step would have the same negatives.
    """
    first = (starts % np.uint64(num)).astype(np.int64)[:, None]  # (n, 1)

    def score(part: slice) -> Tensor:
        turned = (np.arange(part.start, part.stop) - first) % num  # (n, m)
        return -torch.from_numpy(turned).double().to(device)

    return score


def with_ranking_dtype(config: PretrainConfig, device: torch.device) -> PretrainConfig:
    """`ranking_dtype` as it is where it is named; `auto` becomes what this device ranks quicker in.

    That is bfloat16 on a GPU or CPU that multiplies it by instructions of its own, where sampling
    takes 8 to 9 % of a step instead of 12 to 13 and 99 of 100 negatives are the same. A CPU
    without them makes bfloat16 of float32 multiplications, at six times their time.
    """
    if config.ranking_dtype != "auto":
        return config
    if device.type == "cuda":
        is_quick = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        is_quick = _has_fast_bfloat16()
    return replace(config, ranking_dtype="bfloat16" if is_quick else "float32")


def _has_fast_bfloat16() -> bool:
    """Whether this CPU has AVX-512's dot products of bfloat16 (AMD since Zen 4) or AMX (Intel)."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@contextmanager
def _ranking_mode(model: UserModel, config: PretrainConfig) -> Iterator[None]:
    """Without gradient and without dropout; the model's mode comes back."""
    half = with_ranking_dtype(config, model.device).ranking_dtype == "bfloat16"
    with (
        evaluation_mode(model),
        torch.autocast(model.device.type, torch.bfloat16) if half else nullcontext(),
    ):
        yield


def allowed_behaviors(
    identity: NDArray[np.integer], targets: Titles, pool: Titles, own: Ragged | None = None
) -> NDArray[np.bool_]:
    """(n, m): whether a candidate looks other than the target, and other than its `own` titles."""
    candidates = identity[pool]  # (m,)
    allowed: NDArray[np.bool_] = identity[targets][:, None] != candidates
    if own is not None:
        for row in range(len(own)):
            allowed[row] &= ~np.isin(candidates, identity[own[row]])  # (m,)
    return allowed


class BehaviorNegatives:
    """The behavior pool, drawn anew each step from all behaviors, and what is chosen from it.

    A behavior is a view, so a title that is viewed more is drawn more; drawn twice, it is one
    candidate.
    """

    def __init__(self, model: UserModel, corpus: Corpus, config: PretrainConfig) -> None:
        self.model, self.corpus, self.config = model, corpus, config
        self.identity = title_identity(corpus, reads_words=model.reads_words)

    @cached_property
    def everything(self) -> Titles:
        return self._distinct(np.unique(self.corpus.behaviors))

    def pool(self, step: int) -> Titles:
        """The candidates of a step, (m,) titles in the order drawn; the same in every process."""
        size = self.config.behavior_pool
        is_whole = self.config.negatives_of_behaviors == "hardest"
        if is_whole or size >= len(self.corpus.behaviors):
            return self.everything
        draw = keyed_generator(self.config.seed, "behavior pool", step)
        places = draw.choice(len(self.corpus.behaviors), size, replace=False)
        return self._distinct(self.corpus.behaviors[places])

    def _distinct(self, titles: NDArray[np.integer]) -> Titles:
        """The first title of each identity, in order."""
        # of titles that read alike the first
        first = np.unique(self.identity[titles], return_index=True)[1]
        return titles[np.sort(first)].astype(np.int64)

    def choose(
        self, step: int, targets: Titles, order: NDArray[np.uint64], own: Ragged | None = None
    ) -> tuple[Titles, Chosen]:
        """The pool, and for each target K of it.

        Shapes: targets (n,); order (n,) where `random` starts; own (n rows) titles that are no
        negatives of each target, besides those like the target itself.
        """
        pool = self.pool(step)
        by_order = self.config.negatives_of_behaviors == "random"
        device = self.model.device
        score = (
            random_order_scores(order, len(pool), device)
            if by_order
            else self._by_cosine(targets, pool)
        )

        def scores(part: slice) -> Tensor:
            allowed = allowed_behaviors(self.identity, targets, pool[part], own)
            return score(part).masked_fill(torch.from_numpy(~allowed).to(device), float("-inf"))

        with _ranking_mode(self.model, self.config):
            return pool, top_candidates(scores, len(pool), self.config.K, _RANKED_TITLES_PER_BLOCK)

    def _by_cosine(self, targets: Titles, pool: Titles) -> _Scores:
        @cache
        def first() -> TitleVectors:  # in one go with the targets: they share words
            titles = np.concatenate([targets, pool[:_RANKED_TITLES_PER_BLOCK]])  # one call for both
            return ranking_titles(self.model, self.corpus, titles)

        def score(part: slice) -> Tensor:
            titles = pool[part]
            found = first() if part.start == 0 else ranking_titles(self.model, self.corpus, titles)
            return _cosine_scores(first().at(targets), found.at(titles))

        return score


@dataclass(frozen=True)
class SequencePool:
    """Candidate sequences: pieces of rows of `corpus.sequences`.

    Shapes: rows, starts, lengths (u,) int64.
    """

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, index: NDArray[np.int64] | slice) -> "SequencePool":
        return SequencePool(self.rows[index], self.starts[index], self.lengths[index])

    def titles(self, corpus: Corpus) -> Ragged:
        return corpus.sequences.crop(self.rows, self.starts, self.lengths)

    def times(self, corpus: Corpus) -> Ragged:
        """Microseconds UTC of the views, beside `titles`."""
        return corpus.sequence_times.crop(self.rows, self.starts, self.lengths)

    def spans(self, corpus: Corpus) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """When each begins and ends: its first and its last view, microseconds UTC."""
        # (u,) the place of each crop's first view
        first = corpus.sequences.offsets[self.rows] + self.starts
        return corpus.times[first], corpus.times[first + self.lengths - 1]

    @classmethod
    def whole(cls, corpus: Corpus, rows: NDArray[np.integer]) -> "SequencePool":
        places = rows.astype(np.int64)
        lengths = corpus.sequences.offsets[places + 1] - corpus.sequences.offsets[places]
        return cls(places, np.zeros_like(places), lengths)


def allowed_sequences(corpus: Corpus, early: SequencePool, pool: SequencePool) -> NDArray[np.bool_]:
    """(n, m): whether a candidate is another user's and overlaps A nowhere.

    Spans are closed: a candidate that begins at the instant A ends overlaps it.
    """
    begins, ends = early.spans(corpus)  # (n,)
    pool_begins, pool_ends = pool.spans(corpus)  # (m,)
    apart: NDArray[np.bool_] = (pool_ends < begins[:, None]) | (pool_begins > ends[:, None])
    stranger = corpus.sequence_users[early.rows][:, None] != corpus.sequence_users[pool.rows]
    apart &= stranger
    return apart


class SequenceNegatives:
    """The sequence pool, drawn every `refresh_interval` steps, and what is chosen from it.

    At a refresh the model of that step encodes the pool and the A of every pair of the coming
    steps, and ranks. Ranks share the pool, and each ranks its own pairs.
    """

    def __init__(
        self, model: UserModel, corpus: Corpus, config: PretrainConfig, batches: BatchOrder
    ) -> None:
        self.model, self.corpus, self.config, self.batches = model, corpus, config, batches
        self.step = NO_NEGATIVE  # of the last refresh
        self.pool = SequencePool.whole(corpus, np.empty(0, np.int64))
        self.pairs = np.empty(0, np.int64)  # (n,) ascending, whose negatives are chosen
        self.chosen = Chosen(np.empty((0, config.P), np.int64), np.empty((0, config.P)))

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """The sequences of training users: what pools are drawn from."""
        return np.unique(self.corpus.pairs[self.batches.rows]).astype(np.int64)

    def draw(self, step: int) -> SequencePool:
        """The pool of a refresh: crops as long as the B of random pairs, at a random place.

        So length does not tell a negative from B. The longest crops are of the longest rows: cut
        from any rows, crops had 66.8 views on purchase logs, where a B had 78.5; so, 77.0. Where
        the pool is everything, nothing is cropped.
        """
        is_whole = self.config.negatives_of_sequences == "hardest"
        if is_whole or self.config.sequence_pool >= len(self.rows):
            return SequencePool.whole(self.corpus, self.rows)
        draw = keyed_generator(self.config.seed, "sequence pool", step)
        rows = draw.choice(self.rows, self.config.sequence_pool, replace=False)  # (u,)
        pairs = draw.choice(self.batches.rows, len(rows))  # (u,)
        late = SequencePool.whole(self.corpus, self.corpus.pairs[pairs, 1]).lengths
        whole = SequencePool.whole(self.corpus, rows).lengths  # (u,)
        lengths = np.empty_like(late)
        # the k-th longest crop of the k-th longest row
        lengths[np.argsort(whole, kind="stable")] = np.sort(late)
        lengths = np.minimum(whole, lengths)  # (u,)
        starts: NDArray[np.int64] = draw.integers(whole - lengths + 1)
        return SequencePool(rows.astype(np.int64), starts, lengths)

    def refresh_if_due(self, step: int) -> bool:
        due = step - step % self.config.refresh_interval
        if self.step == due:
            return False
        if step != due:
            raise ValueError(
                f"step {step} goes on with the negatives chosen at step {due}: "
                "load the state of the run that it continues"
            )
        self.refresh(step)
        return True

    def refresh(self, step: int) -> None:
        coming = range(step, step + self.config.refresh_interval)
        # (n,) ascending
        self.pairs = np.unique(np.concatenate([self.batches.share(each) for each in coming]))
        self.pool = self.draw(step)
        early = SequencePool.whole(self.corpus, self.corpus.pairs[self.pairs, 0])
        with _ranking_mode(self.model, self.config):
            self.chosen = self._rank(early, step)
        self.step = step

    def _rank(self, early: SequencePool, step: int) -> Chosen:
        order = keyed_bits(self.config.seed, "sequence order", step, self.pairs)  # (n,)
        by_order = self.config.negatives_of_sequences == "random"
        device = self.model.device
        score = (
            random_order_scores(order, len(self.pool), device)
            if by_order
            else self._by_cosine(early)
        )

        def scores(part: slice) -> Tensor:
            allowed = allowed_sequences(self.corpus, early, self.pool.take(part))
            return score(part).masked_fill(torch.from_numpy(~allowed).to(device), float("-inf"))

        return top_candidates(scores, len(self.pool), self.config.P, _RANKED_SEQUENCES_PER_BLOCK)

    def _by_cosine(self, early: SequencePool) -> _Scores:
        @cache
        def first() -> tuple[Tensor, Tensor]:  # in one go with the targets: they share titles
            block = self.pool.take(slice(0, _RANKED_SEQUENCES_PER_BLOCK))
            both = Ragged.join([early.titles(self.corpus), block.titles(self.corpus)])
            times = Ragged.join([early.times(self.corpus), block.times(self.corpus)])
            vectors = ranking_users(self.model, self.corpus, both, times)
            return vectors[: len(early)], vectors[len(early) :]

        def score(part: slice) -> Tensor:
            if part.start == 0:
                return _cosine_scores(*first())
            block = self.pool.take(part)
            titles, times = block.titles(self.corpus), block.times(self.corpus)
            candidates = ranking_users(self.model, self.corpus, titles, times)
            return _cosine_scores(first()[0], candidates)

        return score

    def of(self, pairs: NDArray[np.int64]) -> Chosen:
        """What was chosen for these pairs at the last refresh."""
        places = np.searchsorted(self.pairs, pairs).clip(max=max(len(self.pairs) - 1, 0))
        if not np.array_equal(self.pairs[places], pairs):
            raise ValueError("these pairs are not those of the batch order at this step")
        return Chosen(self.chosen.index[places], self.chosen.score[places])  # (B, P) each

    def state_dict(self) -> dict[str, Tensor]:
        """All that a resumed run cannot draw again, as tensors; of this process alone."""
        arrays = {
            "step": np.array([self.step]),
            "pool_rows": self.pool.rows,
            "pool_starts": self.pool.starts,
            "pool_lengths": self.pool.lengths,
            "pairs": self.pairs,
            "chosen": self.chosen.index,
            "score": self.chosen.score,
        }
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        arrays = {name: tensor.numpy() for name, tensor in state.items()}
        self.step = int(arrays["step"][0])
        self.pool = SequencePool(arrays["pool_rows"], arrays["pool_starts"], arrays["pool_lengths"])
        self.pairs = arrays["pairs"]
        self.chosen = Chosen(arrays["chosen"], arrays["score"])
