"""How good a model is on users that no training sees: the same question to every model.

Negatives are random and all draws are fixed, whatever a model was trained with, so that two
models' measures on the same arrays can be compared.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model.config import ModelConfig
from model.data.corpus import Corpus
from model.data.ragged import Ragged, owners_of, places_of
from model.inference.embed_users import (
    USERS_A_BATCH,
    evaluating,
    packed,
    title_vectors,
    user_vectors,
)
from model.layers.user_model import UserModel
from model.objective.encoding import words_of

NEGATIVES = 4  # beside each right answer, so chance is one in five
MASK_RATE = 0.1
SEED = 20210101  # any fixed number
CHANCE = 1 / (1 + NEGATIVES)

Measures = dict[str, float]


@dataclass(frozen=True)
class Questions:
    """What is asked of a model, drawn once. A title here is a row of `titles`.

    Shapes: N pairs, M masked behaviors, Q pairs with enough strangers, T titles, S sequences.
    """

    titles: Ragged  # (T rows) what the encoder reads of each title that comes up
    sequences: Ragged  # (S rows) titles
    a: NDArray[np.int64]  # (N,) rows of sequences
    masked: NDArray[np.int64]  # (M,) places in the values of `sequences.take(a)`
    others: NDArray[np.int64]  # (M, NEGATIVES) titles that are not the masked one
    matched: NDArray[np.int64]  # (Q,) rows of `a`
    candidates: NDArray[np.int64]  # (Q, 1 + NEGATIVES) sequences: B, then strangers' B


def questions(
    corpus: Corpus, held_out: NDArray[np.int32], most: int, config: ModelConfig
) -> Questions:
    """At most `most` pairs, evenly from the held-out ones; ready to be asked again and again."""
    pairs = corpus.pairs[held_out[:: max(1, -(-len(held_out) // most))]].astype(np.int64)
    draw = np.random.default_rng(SEED)
    rows, index = np.unique(pairs, return_inverse=True)
    a, b = index.reshape(pairs.shape).T
    sequences = corpus.sequences.take(rows)
    masked, targets = _masked(sequences.take(a), draw)
    others = _others(corpus, targets, draw)
    used, places = np.unique(
        np.concatenate([sequences.values.astype(np.int64), others.ravel()]), return_inverse=True
    )
    matched, candidates = _strangers(corpus, rows, a, b, draw)
    num_views = len(sequences.values)
    return Questions(
        titles=words_of(corpus, used, config),
        sequences=Ragged(places[:num_views], sequences.offsets),
        a=a,
        masked=masked,
        others=places[num_views:].reshape(others.shape),
        matched=matched,
        candidates=candidates,
    )


def _masked(
    sequences: Ragged, draw: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A tenth of each sequence's places, at least one; and the titles there."""
    lengths = sequences.lengths()
    num_masked = np.maximum(1, (lengths * MASK_RATE).astype(np.int64))
    owners = owners_of(lengths)
    order = np.lexsort((draw.random(len(owners)), owners))  # a shuffle within each sequence
    places = np.sort(order[places_of(lengths) < num_masked[owners]])
    return places, sequences.values[places].astype(np.int64)


def _others(
    corpus: Corpus, targets: NDArray[np.int64], draw: np.random.Generator
) -> NDArray[np.int64]:
    """Random behaviors of training users; one that looks like its target is drawn again."""
    identity = corpus.title_identity
    others = np.zeros((len(targets), NEGATIVES), np.int64)
    alike = np.ones(others.shape, bool)
    for _ in range(50):  # ends early unless nearly all behaviors look alike
        drawn = draw.integers(len(corpus.behaviors), size=int(alike.sum()))
        others[alike] = corpus.behaviors[drawn]
        alike = identity[others] == identity[targets][:, None]
        if not alike.any():
            break
    return others


def _strangers(
    corpus: Corpus,
    rows: NDArray[np.int64],
    a: NDArray[np.int64],
    b: NDArray[np.int64],
    draw: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each A its B and the B of other users that do not overlap A in time.

    All candidates are a B, so that neither length nor place in a history tells the right one.
    Equal times overlap. An A without enough of them is left out.
    """
    users = corpus.sequence_users[rows]
    starts = corpus.times[corpus.sequences.offsets[rows]]
    ends = corpus.times[corpus.sequences.offsets[rows + 1] - 1]
    is_late = np.isin(np.arange(len(rows)), b)
    matched, candidates = [], []
    for i, (first, second) in enumerate(zip(a, b, strict=True)):
        apart = (starts > ends[first]) | (ends < starts[first])
        strangers = np.flatnonzero(apart & is_late & (users != users[first]))
        if len(strangers) >= NEGATIVES:
            matched.append(i)
            candidates.append([second, *draw.choice(strangers, NEGATIVES, replace=False)])
    return np.array(matched, np.int64), np.array(candidates, np.int64).reshape(-1, 1 + NEGATIVES)


def measure(model: UserModel, asked: Questions) -> Measures:
    """Accuracies beside chance, losses in nats, and how many directions the embeddings use."""
    titles = title_vectors(model, asked.titles)
    states = _states_at(model, titles, asked)
    targets = asked.sequences.take(asked.a).values[asked.masked]
    masked = _scores(states, titles[np.column_stack([targets, asked.others])])
    users = user_vectors(model, titles, asked.sequences)
    matching = _scores(users[asked.a[asked.matched]], users[asked.candidates])
    told = {
        "masked_accuracy": _accuracy(masked),
        "masked_chance": CHANCE,
        "masked_loss": _loss(masked),
        "masked_behaviors": float(len(masked)),
        "matching_accuracy": _accuracy(matching),
        "matching_chance": CHANCE,
        "matching_loss": _loss(matching),
        "matched_pairs": float(len(matching)),
        "effective_rank": effective_rank(users[np.unique(asked.a)]),
    }
    return told | {"validation_loss": told["masked_loss"] + told["matching_loss"]}


def effective_rank(vectors: NDArray[np.float32]) -> float:
    """exp of the entropy of the normalized singular values of the centered vectors.

    From 1, all on one line, to the width (Roy and Vetterli 2007); 0 where all are the same.
    """
    centered = vectors.astype(np.float64) - vectors.mean(0, dtype=np.float64)
    spread = np.linalg.svd(centered, compute_uv=False)
    if not spread.sum() > 0:
        return 0.0
    shares = spread / spread.sum()
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _states_at(
    model: UserModel, titles: NDArray[np.float32], asked: Questions
) -> NDArray[np.float32]:
    """(M, D) states of the masked places, each sequence A encoded with its mask in place."""
    hidden = asked.sequences.take(asked.a)
    values = hidden.values.astype(np.int64)
    values[asked.masked] = len(titles)
    hidden = Ragged(values, hidden.offsets)
    table = torch.from_numpy(np.concatenate([titles, model.mask.detach().cpu().numpy()[None]]))
    found = []
    with evaluating(model):
        for start in range(0, len(hidden), USERS_A_BATCH):
            part = hidden.take(np.arange(start, min(start + USERS_A_BATCH, len(hidden))))
            rows, lengths = packed(part)
            states, _ = model.encode_users(table[rows].to(model.device), lengths)
            found.append(states[(rows == len(titles)).to(model.device)].float().cpu().numpy())
    return np.concatenate(found)


def _scores(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> NDArray[np.float64]:
    """Dot products of (N, D) with (N, C, D): (N, C)."""
    scores: NDArray[np.float64] = np.einsum("nd,ncd->nc", ours, theirs, dtype=np.float64)
    return scores


def _accuracy(scores: NDArray[np.float64]) -> float:
    """How often the first candidate is above all others; a tie is a miss."""
    return float((scores[:, 0] > scores[:, 1:].max(1)).mean()) if len(scores) else 0.0


def _loss(scores: NDArray[np.float64]) -> float:
    """Mean cross-entropy of the first candidate, nats."""
    if not len(scores):
        return 0.0
    least = scores - scores.max(1, keepdims=True)
    return float((np.log(np.exp(least).sum(1)) - least[:, 0]).mean())
