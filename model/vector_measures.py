"""How vectors are spread, by numpy alone: whoever reports it need not load torch."""

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

NUM_NEIGHBORS = 10
_TIE_DECIMALS = 9  # cosines that agree in these decimals are a tie
_MAX_COSINES = 2**24  # 128 MB of cosines at a time

_Vectors = NDArray[np.floating]
_Floats = NDArray[np.float64]
_Rows = NDArray[np.int64]


def effective_rank(vectors: _Vectors) -> float:
    """exp of the entropy of the normalized singular values of the centered (N, D) vectors.

    From 1, all on one line, to the width (Roy and Vetterli 2007); 0 where all are the same.
    """
    centered = vectors.astype(np.float64) - vectors.mean(0, dtype=np.float64)
    spread = np.linalg.svd(centered, compute_uv=False)  # (min(N, D),)
    if not spread.sum() > 0:
        return 0.0
    shares = spread / spread.sum()
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def uniformity(units: _Vectors) -> float:
    """log of the mean of exp(-2 |u - v|^2) over all pairs of (N, D) unit vectors.

    0 where all are the same, and lower the more evenly they are spread: about -4 for random
    directions (Wang and Isola 2020).
    """
    exact = units.astype(np.float64)
    cosines = (exact @ exact.T)[np.triu_indices(len(exact), 1)]  # (N (N - 1) / 2,)
    return float(np.log(np.exp(-2 * (2 - 2 * cosines)).mean()))


def alignment(units: _Vectors, partners: _Vectors) -> float:
    """Mean squared distance of (N, D) unit vectors that belong together; 0: each is its partner.

    (Wang and Isola 2020.)
    """
    differences = units.astype(np.float64) - partners
    return float(np.einsum("nd,nd->n", differences, differences).mean())


def neighbors_kept(
    asking: _Vectors,
    asked: _Vectors,
    asking_then: _Vectors,
    asked_then: _Vectors,
    *,
    own_rows: _Rows | None = None,
    k: int = NUM_NEIGHBORS,
) -> float:
    """The mean share of each user's `k` nearest by cosine that two searches both find.

    A search takes row q of `asking`, (Q, D), to the rows of `asked`, (N, D), but for the user's
    own: row `own_rows[q]`, or q. The same user is in the same row of both searches.
    """
    own = np.arange(len(asking)) if own_rows is None else own_rows
    ours = _nearest_others(asking, asked, own, k)
    theirs = _nearest_others(asking_then, asked_then, own, k)
    shared = [len(np.intersect1d(*pair)) for pair in zip(ours, theirs, strict=True)]
    return float(np.mean(shared) / max(1, ours.shape[1]))


def _nearest_others(asking: _Vectors, asked: _Vectors, own: _Rows, k: int) -> _Rows:
    """(Q, k) rows of the nearest others, k fewer where there are fewer; ties go by row."""
    k = min(k, len(asked) - 1)
    units, queries = unit_rows(asking), np.arange(len(asking))
    cosines, rows = np.empty((len(asking), 0)), np.empty((len(asking), 0), np.int64)
    block = max(k + 1, _MAX_COSINES // max(1, len(asking)))
    for start in range(0, len(asked), block):
        part = asked[start : start + block]  # (B, D)
        with threadpool_limits(1):  # another number of threads may add in another order
            found = np.round(units @ unit_rows(part).T, _TIE_DECIMALS)  # (Q, B)
        inside = (own >= start) & (own < start + len(part))
        found[queries[inside], own[inside] - start] = -np.inf
        places = np.broadcast_to(np.arange(start, start + len(part)), found.shape)
        cosines, rows = np.hstack([cosines, found]), np.hstack([rows, places])
        cosines, rows = _best(cosines, rows, min(k, cosines.shape[1]))
    return rows


def _best(cosines: _Floats, rows: _Rows, k: int) -> tuple[_Floats, _Rows]:
    """The (Q, k) best of (Q, C) candidates, best first; ties go by row."""
    least = -np.partition(-cosines, k - 1, axis=1)[:, k - 1] if k else np.full(len(rows), np.inf)
    query, column = np.nonzero(cosines >= least[:, None])  # k or more a query
    order = np.lexsort((rows[query, column], -cosines[query, column], query))
    query, column = query[order], column[order]
    starts = np.searchsorted(query, np.arange(len(rows)))  # (Q,)
    taken = starts[:, None] + np.arange(k)  # (Q, k)
    return cosines[query[taken], column[taken]], rows[query[taken], column[taken]]


def unit_rows(vectors: _Vectors) -> _Floats:
    """(N, D) vectors at length 1; those of length 0 stay as they are."""
    exact = vectors.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    units: _Floats = exact / np.where(lengths > 0, lengths, 1.0)
    return units
