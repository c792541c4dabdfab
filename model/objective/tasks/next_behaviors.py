"""nbp: PTUM's prediction of the next K behaviors (Wu et al. 2020a)."""

import numpy as np
from numpy.typing import NDArray

from model.config import PretrainConfig
from model.data.keyed_random import keyed_bits
from model.data.ragged import owners_of, positions_of
from model.objective.tasks.task import (
    Batch,
    Encoded,
    Outcome,
    Plan,
    Task,
    Titles,
    contrast_titles,
)


class NextBehaviors(Task):
    """Find the first behaviors of B by the user's vector from A."""

    def plan(self, batch: Batch, config: PretrainConfig) -> Plan:
        lengths = np.minimum(config.next_behaviors, batch.late.lengths())  # (B,)
        coming = batch.late.crop(np.arange(len(lengths)), 0, lengths)
        owners = owners_of(lengths)  # (n,)
        pairs = batch.pairs[owners]
        keys = keyed_bits(config.seed, "next", batch.step, pairs, positions_of(lengths))

        def outcome(encoded: Encoded, wrong: Titles) -> Outcome:
            users, score = encoded.users("early"), config.score_of_behaviors
            return contrast_titles(encoded, users, owners, coming.values, wrong, score)

        sequences, times = {"early": batch.early}, {"early": batch.early_times}
        return Plan(sequences, coming.values, keys, owners, times, outcome)

    def num_targets(
        self, early: NDArray[np.int64], late: NDArray[np.int64], config: PretrainConfig
    ) -> int:
        return int(np.minimum(config.next_behaviors, late).sum())


TASK = NextBehaviors()
