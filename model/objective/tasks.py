"""The self-supervision tasks (section 3.2) and those of the paper's baselines.

A task plans, in numpy, which behaviors it predicts and which sequences it wants encoded, and then
turns vectors into one loss a target. Its name is its setting:

    mbp  masked behavior prediction (3.2.1); with `masked_from=user` as PTUM has it
    bsm  behavior sequence matching (3.2.2)
    nbp  PTUM's next K behaviors prediction (Wu et al. 2020a)
    cp   two views of a user against the others of the batch (Xie et al. 2020)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from model.config import PretrainConfig
from model.data.keyed_random import keys
from model.data.ragged import Ragged, owners_of, places_of
from model.layers.packed_sequences import rows_at
from model.objective.contrast_views import two_views

HIDDEN = -1  # stands for a title where the model sees its mask embedding
NONE = -1  # stands for a negative where too few candidates were left

Titles = NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """The pairs that one call of `Objective.loss` is about.

    Shapes: B pairs.
        pairs  (B,) rows of corpus.pairs
        early  the titles of each A, late of each B
        wrong  (B, P) for each pair its negatives among `others`, or NONE
        others  the titles of each negative sequence, once
    """

    step: int
    pairs: NDArray[np.int64]
    early: Ragged
    late: Ragged
    wrong: NDArray[np.int64]
    others: Ragged


class Encoded(Protocol):
    """The vectors of a step, all with gradient."""

    def titles(self, titles: Titles) -> Tensor: ...  # (..., D); of NONE any vector
    def states(self, name: str) -> Tensor: ...  # (R, D) of the sequences of that name
    def users(self, name: str) -> Tensor: ...  # (N, D)


@dataclass(frozen=True)
class Outcome:
    """What a task made of its targets.

    Shapes: n targets.
        losses   (n,) nats
        correct  (n,) in [0, 1]: 1 where the right candidate scores highest, shared among ties
        missing  logits without a candidate
    """

    losses: Tensor
    correct: Tensor
    missing: int


@dataclass(frozen=True)
class Plan:
    """What a task needs of a batch, and what it then makes of the vectors.

    Shapes: n behaviors to predict.
        sequences  by name, titles or HIDDEN; two tasks that name "early" share its vectors
        targets    (n,) the titles to be found
        keys       (n,) a random number each, however the step is shared out
        outcome    takes the vectors and the targets' negatives (n, K), titles or NONE
    """

    sequences: dict[str, Ragged]
    targets: Titles
    keys: NDArray[np.uint64]
    outcome: Callable[[Encoded, Titles], Outcome]


def contrast(queries: Tensor, candidates: Tensor, missing: Tensor) -> Outcome:
    """Cross entropy of picking candidate 0 by dot product (equations 1 and 2, a target each).

    Shapes: queries (n, D); candidates (n, 1 + K, D); missing (n, K) bool, whose logits are left
    out of the softmax. A target with no negative left costs nothing.
    """
    with torch.autocast(queries.device.type, enabled=False):
        wide = torch.promote_types(queries.dtype, torch.float32)
        # One row at a time, so that equal candidates score the same to the bit.
        logits = (candidates.to(wide) * queries.to(wide)[:, None]).sum(-1)
        absent = F.pad(missing, (1, 0))
        right = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
        return _outcome(logits.masked_fill(absent, float("-inf")), right, int(missing.sum()))


def contrast_in_batch(users: Tensor) -> Outcome:
    """Cross entropy of picking view 2i + 1 for view 2i and the reverse among all other views.

    Shapes: users (2 B, D), the two views of a user side by side. By dot product.
    """
    with torch.autocast(users.device.type, enabled=False):
        wide = users.to(torch.promote_types(users.dtype, torch.float32))
        logits = (wide @ wide.T).fill_diagonal_(float("-inf"))
        return _outcome(logits, torch.arange(len(users), device=users.device) ^ 1, 0)


def _outcome(logits: Tensor, right: Tensor, missing: int) -> Outcome:
    losses = F.cross_entropy(logits, right, reduction="none")
    with torch.no_grad():
        best = logits == logits.max(1, keepdim=True).values
        correct = best.gather(1, right[:, None]).squeeze(1) / best.sum(1)
    return Outcome(losses, correct, missing)


def num_masked(lengths: NDArray[np.int64], rate: float) -> NDArray[np.int64]:
    """How many behaviors are masked of sequences of these lengths: `rate` of them, rounded down,
    at least one. At 10 %: of 1, 2, 9, 10 and 11 one, of 100 ten."""
    # 1e-9: 0.29 * 100 is a hair below 29.
    counts: NDArray[np.int64] = np.floor(lengths * rate + 1e-9).astype(np.int64)
    return counts.clip(min=1)


def masked_places(
    sequences: Ragged, counts: NDArray[np.int64], drawn: NDArray[np.uint64]
) -> Titles:
    """The `counts` places of lowest `drawn` of each sequence, ascending, as places in `values`."""
    order = np.lexsort((drawn, owners_of(sequences.lengths())))
    return np.sort(order[places_of(sequences.lengths()) < np.repeat(counts, sequences.lengths())])


def masked_behaviors(batch: Batch, config: PretrainConfig) -> Plan:
    """Find each hidden behavior of A by its place's state (3.2.1), or by the user's vector (PTUM).

    Candidates carry no position, so that the place never tells which one is right.
    """
    early = batch.early
    lengths = early.lengths()
    row_keys = keys(
        config.seed, "mask", batch.step, np.repeat(batch.pairs, lengths), places_of(lengths)
    )
    places = masked_places(early, num_masked(lengths, config.mask_rate), row_keys)
    hidden = early.values.astype(np.int64)
    targets = hidden[places]
    hidden[places] = HIDDEN
    owners = owners_of(lengths)[places]

    def outcome(encoded: Encoded, wrong: Titles) -> Outcome:
        from_user = config.masked_from == "user"
        rows = owners if from_user else places
        queries = encoded.users("masked") if from_user else encoded.states("masked")
        return _find(encoded, queries, rows, targets, wrong)

    return Plan({"masked": Ragged(hidden, early.offsets)}, targets, row_keys[places], outcome)


def next_behaviors(batch: Batch, config: PretrainConfig) -> Plan:
    """Find the first behaviors of B by the user's vector from A (PTUM)."""
    lengths = np.minimum(config.next_behaviors, batch.late.lengths())
    coming = batch.late.crop(np.arange(len(lengths)), 0, lengths)
    owners = owners_of(lengths)
    row_keys = keys(config.seed, "next", batch.step, batch.pairs[owners], places_of(lengths))

    def outcome(encoded: Encoded, wrong: Titles) -> Outcome:
        return _find(encoded, encoded.users("early"), owners, coming.values, wrong)

    return Plan({"early": batch.early}, coming.values, row_keys, outcome)


def _find(
    encoded: Encoded, queries: Tensor, rows: Titles, targets: Titles, wrong: Titles
) -> Outcome:
    candidates = encoded.titles(np.column_stack([targets, wrong]))
    index = torch.from_numpy(rows).to(queries.device)
    missing = torch.from_numpy(wrong == NONE).to(queries.device)
    return contrast(rows_at(queries, index), candidates, missing)


def sequence_matching(batch: Batch, config: PretrainConfig) -> Plan:
    """Tell B from the sequences of others by the user's vector from A, which is clean (3.2.2)."""
    sequences = {"early": batch.early, "late": batch.late, "others": batch.others}

    def outcome(encoded: Encoded, wrong: Titles) -> Outcome:
        early, late, others = (encoded.users(name) for name in sequences)
        index = torch.from_numpy(batch.wrong.clip(min=0)).to(early.device)
        negatives = rows_at(others, index.flatten()).view(*index.shape, -1)
        missing = torch.from_numpy(batch.wrong == NONE).to(early.device)
        return contrast(early, torch.cat([late[:, None], negatives], dim=1), missing)

    return Plan(sequences, _NO_TITLES, _NO_KEYS, outcome)


def contrasted_views(batch: Batch, config: PretrainConfig) -> Plan:
    """Tell the other view of the same user from all other views of the batch (CP)."""
    views = two_views(batch.early, batch.pairs, batch.step, config.seed, HIDDEN)

    def outcome(encoded: Encoded, wrong: Titles) -> Outcome:
        return contrast_in_batch(encoded.users("views"))

    return Plan({"views": views}, _NO_TITLES, _NO_KEYS, outcome)


_NO_TITLES = np.empty(0, np.int64)
_NO_KEYS = np.empty(0, np.uint64)

PLANS = {
    "mbp": masked_behaviors,
    "bsm": sequence_matching,
    "nbp": next_behaviors,
    "cp": contrasted_views,
}


def num_targets(
    task: str, early: NDArray[np.int64], late: NDArray[np.int64], config: PretrainConfig
) -> int:
    """How many losses a task has for pairs of these lengths: what its mean is over."""
    counts = {
        "mbp": num_masked(early, config.mask_rate).sum(),
        "bsm": len(early),
        "nbp": np.minimum(config.next_behaviors, late).sum(),
        "cp": 2 * len(early),
    }
    return int(counts[task])
