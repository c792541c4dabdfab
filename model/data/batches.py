"""Which pairs each step takes: known for every step to come, and for every process."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from model.data.keyed_random import keyed_generator


@dataclass(frozen=True, eq=False)
class BatchOrder:
    """The training pairs in an order of their own each epoch, cut into steps.

    A step that crosses the end of an epoch goes on in the next one, so each pair comes once an
    epoch. Of a step's pairs process `rank` of `world` takes every `world`th.

        rows  (N,) integer rows of `corpus.pairs`
    """

    rows: NDArray[np.integer]
    batch_size: int  # pairs a step, over all processes
    seed: int
    rank: int = 0
    world: int = 1
    # Whether an epoch ends with its last whole step, so that no row comes twice in a step.
    whole_steps: bool = False

    def whole(self, step: int) -> NDArray[np.int64]:
        """The pairs of a step, over all processes: (batch_size,)."""
        if self.whole_steps:
            epoch, place = divmod(step, len(self.rows) // self.batch_size)
            return self._epoch(epoch)[place * self.batch_size :][: self.batch_size]
        places = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs, nth = np.divmod(places, len(self.rows))
        parts = [self._epoch(int(epoch))[nth[epochs == epoch]] for epoch in np.unique(epochs)]
        return np.concatenate(parts)

    def share(self, step: int) -> NDArray[np.int64]:
        """The pairs of a step that this process takes."""
        return self.whole(step)[self.rank :: self.world]

    def _epoch(self, epoch: int) -> NDArray[np.int64]:
        order = _permutation(len(self.rows), self.seed, epoch)
        return np.asarray(self.rows, np.int64)[order]


@lru_cache(maxsize=4)
def _permutation(length: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return keyed_generator(seed, "batches", epoch).permutation(length)
