"""How far the users of two published days have moved: beside chance, and among each other."""

from collections.abc import Collection
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from model.vector_measures import neighbors_kept, unit_rows

_MAX_USERS = 400  # of both days, by a hash: 400 KB of vectors each
_MIN_USERS = 30  # fewer say nothing
_MAX_DAYS = 7  # between the two days
_Floats = NDArray[np.float64]


def comparable_day(days: Collection[date], day: date) -> date | None:
    """The last of `days` before `day`, if it is near enough to compare users' vectors with."""
    near = [each for each in days if day - timedelta(days=_MAX_DAYS) <= each < day]
    return max(near, default=None)


def move_measures(published: DataFrame, last: date | None, rows: DataFrame) -> dict[str, float]:
    """Of the users of `rows`, and of the `last` day that was published before: how far they moved.

    `vector_drift` is the mean cosine distance of a user's two vectors, by that of two vectors of
    different users: 0 where nobody moved, 1 where the days have nothing in common. `neighbors_kept`
    is the share of the ten nearest that are the same. Nothing of too few users.
    """
    if last is None:
        return {}
    before = published.where(F.col("as_of") == F.lit(last)).select(
        "user_id", "model_id", F.col("embedding").alias("before")
    )
    both = rows.select("user_id", "model_id", "embedding").join(before, ["user_id", "model_id"])
    sample = both.orderBy(F.xxhash64("user_id")).limit(_MAX_USERS).toArrow()
    if sample.num_rows < _MIN_USERS:
        return {}
    old, new = (unit_rows(_matrix(sample, name)) for name in ("before", "embedding"))
    return {
        "moved_users": float(sample.num_rows),
        "vector_drift": _drift(old, new),
        "neighbors_kept": neighbors_kept(old, old, new, new),
    }


def _matrix(sample: pa.Table, name: str) -> NDArray[np.float32]:
    """(U, D)"""
    return np.array(sample.column(name).to_pylist(), np.float32)


def _drift(old: _Floats, new: _Floats) -> float:
    distances = 1 - old @ new.T  # (U, U), on the diagonal those of one user
    moved = float(np.diag(distances).mean())
    num = len(old)
    chance = float((distances.sum() - np.trace(distances)) / (num * (num - 1)))
    return max(moved, 0.0) / chance if chance > 1e-6 else 1.0
