"""How vectors are spread, by numpy alone: whoever reports it need not load torch."""

import numpy as np
from numpy.typing import NDArray

_Vectors = NDArray[np.floating]


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
