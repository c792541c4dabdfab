"""The orthogonal map from one model's vectors onto another's, and how well the two then agree.

The map only turns, so it leaves every length and every angle between vectors of the new model as
they were. What differs otherwise between two trainings stays: the scale of directions, their mean,
and what one model knows and the other does not. `Agreement` measures that on users whom the fit
has not seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes
from threadpoolctl import threadpool_limits

from model.data.keyed_random import keyed_generator
from model.vector_measures import NUM_NEIGHBORS, neighbors_kept, unit_rows

FIT_SHARE = 0.8  # of the users whom both models embed; the others judge the fit
MAX_COMPARED_USERS = 4096  # held-out users whose neighbors are compared: 128 MB of cosines

_Vectors = NDArray[np.float32]
_Floats = NDArray[np.float64]


def fit_and_held_out(num_users: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the users whom the map is fitted to, and of those who judge it; both ascending."""
    order = keyed_generator(seed, "alignment").permutation(num_users)
    num_fit = min(max(1, round(FIT_SHARE * num_users)), max(1, num_users - 2))
    return np.sort(order[:num_fit]), np.sort(order[num_fit:])


def fit_rotation(new: _Vectors, old: _Vectors, blocks: Mapping[str, slice]) -> _Floats:
    """(D, D) orthogonal R with new @ R close to old, in each block by itself.

    Users count by their directions, so that few long vectors do not rule the fit. A block is turned
    within itself: what scales the blocks of a vector each by itself goes on as before. One thread,
    because another number of threads may add in another order.

    Shapes: new and old (N, D), the same user in the same row; no blocks: one of all floats.
    """
    width = new.shape[1]
    rotation = np.zeros((width, width))
    with threadpool_limits(1):
        for block in blocks.values() or [slice(0, width)]:
            ours, theirs = (unit_rows(each[:, block]) for each in (new, old))  # (N, B) each
            rotation[block, block], _ = orthogonal_procrustes(ours, theirs)
    return rotation


def turn_vectors(vectors: _Vectors, rotation: _Floats) -> _Vectors:
    """(N, D) float32: the vectors as an aligned model gives them."""
    with threadpool_limits(1):
        return (vectors.astype(np.float64) @ rotation).astype(np.float32)


@dataclass(frozen=True)
class Agreement:
    """How alike two models' vectors of the same held-out users are, before and after the map."""

    users: int
    cosine: float  # the mean over users, after the map
    cosine_unaligned: float
    angle_degrees: float  # the mean over users, after the map
    block_cosines: dict[str, float]  # by block, after the map
    length_ratio: float  # median of new over old: a rotation does not change it
    block_length_ratios: dict[str, float]
    neighbors_kept: float  # of each user's nearest within a model, those that both models name
    neighbors_found: float  # the same where the new vector asks among the old ones

    def measures(self) -> dict[str, float]:
        """As a manifest holds them."""
        named = {
            "held_out_users": float(self.users),
            "cosine": self.cosine,
            "cosine_unaligned": self.cosine_unaligned,
            "angle_degrees": self.angle_degrees,
            "length_ratio": self.length_ratio,
            f"neighbors_kept_{NUM_NEIGHBORS}": self.neighbors_kept,
            f"neighbors_found_{NUM_NEIGHBORS}": self.neighbors_found,
            **{f"{name}_cosine": value for name, value in self.block_cosines.items()},
            **{f"{name}_length_ratio": value for name, value in self.block_length_ratios.items()},
        }
        return {f"alignment_{name}": value for name, value in named.items()}


def measure_agreement(
    new: _Vectors, old: _Vectors, rotation: _Floats, blocks: Mapping[str, slice]
) -> Agreement:
    """Of users whom the fit has not seen: new and old (N, D), the same user in the same row."""
    aligned, some = turn_vectors(new, rotation), slice(0, MAX_COMPARED_USERS)
    cosines = _row_cosines(aligned, old)
    return Agreement(
        users=len(new),
        cosine=float(cosines.mean()),
        cosine_unaligned=float(_row_cosines(new, old).mean()),
        angle_degrees=float(np.degrees(np.arccos(cosines)).mean()),
        block_cosines={
            name: float(_row_cosines(aligned[:, block], old[:, block]).mean())
            for name, block in blocks.items()
        },
        length_ratio=_length_ratio(new, old),
        block_length_ratios={
            name: _length_ratio(new[:, block], old[:, block]) for name, block in blocks.items()
        },
        neighbors_kept=neighbors_kept(new[some], new[some], old[some], old[some]),
        neighbors_found=neighbors_kept(aligned[some], old[some], old[some], old[some]),
    )


def _row_cosines(new: _Vectors, old: _Vectors) -> _Floats:
    cosines: _Floats = np.einsum("nd,nd->n", unit_rows(new), unit_rows(old))
    return cosines.clip(-1, 1)


def _length_ratio(new: _Vectors, old: _Vectors) -> float:
    ours, theirs = (np.linalg.norm(each.astype(np.float64), axis=1) for each in (new, old))
    return float(np.median(ours[theirs > 0] / theirs[theirs > 0]))
