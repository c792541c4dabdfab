"""Exact nearest neighbors by cosine: one pass over the matrix, block by block."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analyst.vectors.model_space import Matrix, Vectors, row_lengths, row_slices
from contracts.errors import BadInput
from model.vector_measures import NUM_NEIGHBORS, neighbors_kept

# 128 MB: few large products. In blocks of 32,768 rows the search took three times as long on a busy
# machine, where each product waits for its slowest thread.
_MAX_SCORES = 2**25
_FIRST_ROWS = 16_384
# A score in single precision is wrong by less than this on unit vectors of 256 numbers (measured:
# 4e-7). So all rows that come this close to the k-th best are scored again in double precision, and
# only then ranked.
_SCORE_ERROR = np.float32(4e-6)
_TIE_DECIMALS = 9  # cosines that agree in these decimals are a tie, which goes by user_id


@dataclass(frozen=True)
class Nearest:
    """Shapes: Q queries, k nearest, nearest first; ties go by user_id.

    rows    (Q, k) int64, rows of the vectors that were searched
    cosine  (Q, k) float64
    """

    rows: NDArray[np.int64]
    cosine: NDArray[np.float64]


def nearest_rows(
    vectors: Vectors, queries: Matrix, k: int, leave_out: NDArray[np.int64] | None = None
) -> Nearest:
    """The `k` rows nearest to each query (Q, D), or all the rows where there are fewer.

    `leave_out` are rows that no query finds.
    """
    left_out = np.unique(np.empty(0, np.int64) if leave_out is None else leave_out)
    k = min(k, len(vectors) - len(left_out))
    units = (queries / row_lengths(queries)[:, None]).astype(np.float32)  # (Q, D) of length 1
    found = [_ranked(vectors, unit, rows, k) for unit, rows in _near(vectors, units, k, left_out)]
    return Nearest(
        np.array([rows for rows, _ in found], np.int64).reshape(len(units), k),
        np.array([cosine for _, cosine in found], np.float64).reshape(len(units), k),
    )


def neighbors_kept_between(
    a: Vectors, b: Vectors, k: int = NUM_NEIGHBORS, users: int = 1000
) -> float:
    """The share of a user's `k` neighbors in `a` who are neighbors in `b` too, averaged over users.

    This is how two models are compared: each is asked in its own space. Both are searched among
    the users they share, for `users` of those at even steps.
    """
    shared, rows_a, rows_b = np.intersect1d(
        a.user_ids, b.user_ids, assume_unique=True, return_indices=True
    )
    if len(shared) < 2:
        raise BadInput(f"{a} and {b} share {len(shared)} users: two or more are needed")
    own = np.unique(np.linspace(0, len(shared) - 1, users).astype(np.int64))
    here, there = a.matrix[rows_a], b.matrix[rows_b]  # (M, D) each
    return neighbors_kept(here[own], here, there[own], there, own_rows=own, k=k)


def _near(
    vectors: Vectors, units: Matrix, k: int, left_out: NDArray[np.int64]
) -> list[tuple[Matrix, NDArray[np.int64]]]:
    """Each query with the rows that may be among its `k` nearest."""
    kept = [(np.empty(0, np.int64), np.empty(0, np.float32)) for _ in units]  # (rows, scores)
    least = np.full(len(units), -np.inf, np.float32)  # (Q,) the score that a row must exceed
    for part in _score_blocks(len(vectors) if k else 0, len(units)):
        scores = units @ vectors.matrix[part].T  # (Q, D) @ (D, N of the block) -> (Q, N)
        scores /= vectors.norms[part]  # only the queries are of length 1 so far
        inside = left_out[np.searchsorted(left_out, part.start) :]
        scores[:, inside[inside < part.stop] - part.start] = -np.inf
        for query in range(len(units)):
            better = np.flatnonzero(scores[query] > least[query])  # rows of the block
            rows = np.concatenate([kept[query][0], better + part.start])
            marks = np.concatenate([kept[query][1], scores[query, better]])
            if len(rows) > k:
                least[query] = np.partition(marks, -k)[-k] - _SCORE_ERROR  # the k-th best
                stays = marks > least[query]
                rows, marks = rows[stays], marks[stays]
            kept[query] = rows, marks
    return [(unit, rows) for unit, (rows, _) in zip(units, kept, strict=True)]


def _score_blocks(rows: int, queries: int) -> Iterator[slice]:
    """First a small block, whose k-th best excludes most of the other rows; then large ones."""
    yield slice(0, min(_FIRST_ROWS, rows))
    for part in row_slices(rows - _FIRST_ROWS, max(1, _MAX_SCORES // max(1, queries))):
        yield slice(part.start + _FIRST_ROWS, part.stop + _FIRST_ROWS)


def _ranked(
    vectors: Vectors, unit: Matrix, rows: NDArray[np.int64], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The `k` nearest of `rows`, scored in double precision.

    Rows are in the order of user_ids, and so are ties.
    """
    exact = unit.astype(np.float64)  # (D,)
    cosine = np.einsum("nd,d->n", vectors.matrix[rows], exact, dtype=np.float64)  # (N,)
    cosine /= np.sqrt(exact @ exact) * _exact_norms(vectors.matrix[rows])
    order = np.lexsort((rows, -np.round(cosine, _TIE_DECIMALS)))[:k]
    return rows[order], np.clip(cosine[order], -1, 1)


def _exact_norms(matrix: Matrix) -> NDArray[np.float64]:
    squares: NDArray[np.float64] = np.einsum("nd,nd->n", matrix, matrix, dtype=np.float64)
    return np.sqrt(squares)
