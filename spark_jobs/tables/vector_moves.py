"""How far the users of two published days have moved: beside chance, and among each other."""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

_MAX_USERS = 400  # of both days, by a hash: 400 KB of vectors each
_MIN_USERS = 30  # fewer say nothing
_NUM_NEIGHBORS = 10
_MAX_DAYS = 7  # between the two days
Floats = NDArray[np.float32]


def move_measures(published: DataFrame, day: date, rows: DataFrame) -> dict[str, float]:
    """Of the users of `rows`, and of the last day that was published before: how far they moved.

    `vector_drift` is the mean cosine distance of a user's two vectors, by that of two vectors of
    different users: 0 where nobody moved, 1 where the days have nothing in common. `neighbors_kept`
    is the share of the ten nearest that are the same. Nothing of too few users.
    """
    near = published.where(F.col("as_of").between(day - timedelta(days=_MAX_DAYS), day))
    earlier = near.where(F.col("as_of") < F.lit(day))
    last = earlier.agg(F.max("as_of")).collect()[0][0]
    if last is None:
        return {}
    before = earlier.where(F.col("as_of") == F.lit(last)).select(
        "user_id", "model_id", F.col("embedding").alias("before")
    )
    both = rows.select("user_id", "model_id", "embedding").join(before, ["user_id", "model_id"])
    sample = both.orderBy(F.xxhash64("user_id")).limit(_MAX_USERS).toArrow()
    if sample.num_rows < _MIN_USERS:
        return {}
    old, new = (_units(_matrix(sample, name)) for name in ("before", "embedding"))
    return {
        "moved_users": float(sample.num_rows),
        "vector_drift": _drift(old, new),
        "neighbors_kept": _kept_share(old, new),
    }


def _matrix(sample: pa.Table, name: str) -> Floats:
    """(U, D)"""
    return np.array(sample.column(name).to_pylist(), np.float32)


def _units(vectors: Floats) -> Floats:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)  # (U, D) -> (U, 1)
    return np.asarray(vectors / np.maximum(norms, 1e-12), np.float32)


def _drift(old: Floats, new: Floats) -> float:
    distances = 1 - old @ new.T  # (U, U), on the diagonal those of one user
    moved = float(np.diag(distances).mean())
    num = len(old)
    chance = float((distances.sum() - np.trace(distances)) / (num * (num - 1)))
    return max(moved, 0.0) / chance if chance > 1e-6 else 1.0


def _kept_share(old: Floats, new: Floats) -> float:
    both = [set(map(tuple, _neighbor_pairs(vectors))) for vectors in (old, new)]
    return len(both[0] & both[1]) / len(both[0])


def _neighbor_pairs(units: Floats) -> NDArray[np.int64]:
    """(U * 10, 2) each user and one of the nearest."""
    cosines = units @ units.T
    np.fill_diagonal(cosines, -2)
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :_NUM_NEIGHBORS]  # (U, 10)
    users = np.repeat(np.arange(len(units)), nearest.shape[1])
    return np.column_stack((users, nearest.ravel()))
