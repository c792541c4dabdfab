"""Vectors of two models of one space, compared by a caller who names the error of the alignment.

    old, new = lake.embeddings("A", day), lake.embeddings("B", day)     # B was aligned with A
    compare_across_models(lake, old, new, expected_error=0.1).cosine

Nothing else compares vectors of two models. Of two spaces, this does not either.
"""

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analyst.lake_access.open_lake import OpenLake
from analyst.vectors.model_space import Vectors, must_share_a_space, row_lengths
from contracts.errors import BadInput
from contracts.tables import MODELS
from contracts.vectors import distance_by_alignment


@dataclass(frozen=True, eq=False)
class AcrossModels:
    """What two models of one space say of the users whom both embed.

    Shapes: M users.
        user_ids  (M,) text, ascending
        cosine    (M,) of each user's two vectors
    """

    user_ids: NDArray[np.str_]
    cosine: NDArray[np.float64]
    alignment_error: float  # mean cosine distance that the alignment alone makes, by the cards


def compare_across_models(
    lake: OpenLake, one: Vectors, other: Vectors, *, expected_error: float
) -> AcrossModels:
    """Compare two models' vectors of the same users.

    `expected_error` is the mean cosine distance that the caller takes for no difference.
    `BadInput` where the models' cards say that the alignment makes more, and `TwoSpaces` where the
    models are of two spaces.
    """
    must_share_a_space(one, other)
    error = 0.0
    if one.model_id != other.model_id:
        error = distance_by_alignment(
            _measures(lake, one.model_id), _measures(lake, other.model_id)
        )
    if not error <= expected_error:
        raise BadInput(
            f"between {one.model_id} and {other.model_id} the alignment makes a mean cosine "
            f"distance of up to {error:.3f}, by their cards (`userbert models show`), and "
            f"expected_error is {expected_error:g}: smaller differences mean nothing"
        )
    user_ids, mine, theirs = np.intersect1d(
        one.user_ids, other.user_ids, assume_unique=True, return_indices=True
    )
    here, there = one.matrix[mine], other.matrix[theirs]  # (M, D) each
    dots = np.einsum("md,md->m", here, there, dtype=np.float64)
    lengths = row_lengths(here).astype(np.float64) * row_lengths(there)
    return AcrossModels(user_ids, (dots / lengths).clip(-1, 1), error)


def _measures(lake: OpenLake, model_id: str) -> dict[str, float]:
    lake.need(MODELS)
    row = lake.connection.execute(
        "SELECT measures FROM models WHERE model_id = $model", {"model": model_id}
    ).fetchone()
    measures: dict[str, float] = json.loads(row[0]) if row else {}
    return measures
