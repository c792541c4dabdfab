"""The vectors of a day: lengths, spread, and how they moved since the day before.

Everything beyond the lengths is measured on a sample of users, and Spark is not needed: a day is
one partition.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray

from analyst.vectors.model_space import Vectors
from analyst.vectors.population_drift import PopulationDrift, population_drift
from analyst.vectors.search import neighbors_kept_between
from contracts.tables import PUBLISHED_EMBEDDINGS, USER_EMBEDDINGS, USER_SEQUENCES, Table
from model.vector_measures import alignment, effective_rank, uniformity
from userbert.report.lake_tables import LakeTables, is_day

_MAX_SAMPLED_USERS = 600  # users of each day: 0.2 s for all measures
_NUM_NEIGHBORS = 10
_MAX_ASKED_USERS = 60  # users whose neighbors are compared
_MIN_USERS = 20  # users; of fewer, spread and movement are noise
_NUM_BINS = 24
_MAX_BATCH_ROWS = 4096  # rows of vectors in memory at once: 4 MB


@dataclass(frozen=True)
class _Histogram:
    """`counts` of values between each two of `edges`."""

    edges: list[float]
    counts: list[int]


@dataclass(frozen=True)
class _Movement:
    """From the published day before to this one, under the same model."""

    from_day: str
    users_in_both: int
    alignment: float | None
    distances: _Histogram | None  # cosine distances that users in both moved
    neighbors_kept: float | None  # share of a user's 10 nearest who stayed
    drift: PopulationDrift | None
    drift_verdict: str  # in one sentence; empty where drift was not measured


@dataclass(frozen=True)
class VectorHealth:
    model_id: str
    as_of: str
    users: int
    norms: _Histogram
    norm_median: float
    effective_rank: float | None
    uniformity: float | None
    movement: _Movement | None


@dataclass(frozen=True)
class Coverage:
    """Users of the day, from one step of the night to the next."""

    as_of: str
    active: int | None  # users who viewed on the day before as_of
    with_sequence: int | None
    with_vector: int | None
    published: int | None


def gather_coverage(tables: LakeTables, as_of: date, active: int | None) -> Coverage:
    """Row counts come from the files' statistics; None stands for a table that is not there."""
    counts = [
        _num_rows(tables, table, as_of)
        for table in (USER_SEQUENCES, USER_EMBEDDINGS, PUBLISHED_EMBEDDINGS)
    ]
    return Coverage(str(as_of), active, *counts)


def _num_rows(tables: LakeTables, table: Table, as_of: date) -> int | None:
    """Users of the day; under several models, a user counts once for each."""
    dataset = tables.dataset(table, "as_of", as_of)
    return None if dataset is None else dataset.count_rows(filter=is_day("as_of", as_of))


def gather_vectors(tables: LakeTables, as_of: date, model_id: str | None) -> VectorHealth | None:
    """None where no vector is of that day: of the champion, or of the model that is named."""
    table = PUBLISHED_EMBEDDINGS if model_id is None else USER_EMBEDDINGS
    before = max((day for day in tables.days(table) if day < as_of), default=None)
    dataset = tables.dataset(table, "as_of", as_of, *([before] if before else []))
    if dataset is None:
        return None
    is_model = pc.scalar(True) if model_id is None else pc.field("model_id") == model_id
    of_day = is_day("as_of", as_of) & is_model
    rows = dataset.to_table(columns=["user_id", "norm", "model_id"], filter=of_day)
    if not len(rows):
        return None
    sample = _sampled_users(rows["user_id"])
    vectors = _read_vectors(dataset, as_of, is_model, sample)
    norms = rows["norm"].to_numpy()  # (N,)
    is_enough = len(vectors) >= _MIN_USERS
    return VectorHealth(
        rows["model_id"][0].as_py(),
        str(as_of),
        len(rows),
        _histogram(norms),
        float(np.median(norms)),
        effective_rank(vectors.matrix) if is_enough else None,
        uniformity(vectors.units()) if is_enough else None,
        _movement(dataset, before, vectors, is_model) if before else None,
    )


def _sampled_users(users: Any) -> Any:
    """At even steps in the order of user_ids, so that two days' samples share most users.

    Shapes: (N,) texts -> (S,) texts, both of Arrow.
    """
    ordered = np.sort(users.to_numpy().astype(np.str_))
    steps = np.unique(np.linspace(0, len(ordered) - 1, _MAX_SAMPLED_USERS).astype(np.int64))
    return pa.array(ordered[steps].tolist())


def _read_vectors(dataset: ds.Dataset, as_of: date, is_model: pc.Expression, users: Any) -> Vectors:
    """The vectors of these users alone; a day's other vectors pass through memory in batches."""
    wanted = is_day("as_of", as_of) & is_model & pc.field("user_id").isin(users)
    rows = dataset.to_table(
        columns=["model_id", "user_id", "embedding"], filter=wanted, batch_size=_MAX_BATCH_ROWS
    )
    names = np.array(rows["user_id"].to_pylist(), np.str_)  # (N,)
    order = np.argsort(names)
    embeddings: Any = rows["embedding"].combine_chunks()
    flat: NDArray[np.float32] = embeddings.flatten().to_numpy()  # (N * D,)
    matrix = flat.reshape(len(names), -1)[order]  # (N, D)
    days = np.full(len(names), np.datetime64(as_of, "D"))
    model_id = rows["model_id"][0].as_py() if len(names) else ""
    return Vectors(model_id, as_of, names[order], days, matrix)


def _movement(
    dataset: ds.Dataset, before: date, vectors: Vectors, is_model: pc.Expression
) -> _Movement | None:
    """None where the day before has vectors of another model, or none at all."""
    users = dataset.to_table(columns=["user_id"], filter=is_day("as_of", before) & is_model)[
        "user_id"
    ]
    if not len(users):
        return None
    wanted = pa.concat_arrays([_sampled_users(users), pa.array(vectors.user_ids.tolist())])
    old = _read_vectors(dataset, before, is_model, pc.unique(wanted))
    if old.model_id != vectors.model_id:
        return None
    mine, theirs = vectors.shared(old)
    is_enough = len(mine) >= _MIN_USERS
    has_days = min(len(old), len(vectors)) >= _MIN_USERS
    drift = population_drift(old, vectors) if has_days else None
    moved = 1 - vectors.cosine(old)  # (M,)
    return _Movement(
        str(before),
        len(mine),
        alignment(vectors.units()[mine], old.units()[theirs]) if is_enough else None,
        _histogram(moved) if is_enough else None,
        neighbors_kept_between(old, vectors, _NUM_NEIGHBORS, _MAX_ASKED_USERS)
        if is_enough
        else None,
        drift,
        drift.verdict if drift else "",
    )


def _histogram(values: NDArray[Any]) -> _Histogram:
    counts, edges = np.histogram(values, _NUM_BINS)
    return _Histogram([float(edge) for edge in edges], [int(count) for count in counts])
