"""The space that the vectors of a model live in, by its name.

Each training makes a space of its own. A model that was aligned with another one
(`userbert models align`) lives in the other's space, and so a space can outlive the model that
founded it.
"""

import math
from collections.abc import Mapping

_PREFIX = "space-"
# The same as `own_space`, in SQL of Spark and of DuckDB: of rows from before spaces had names.
OWN_SPACE_SQL = f"concat('{_PREFIX}', model_id)"
# A measure of an aligned model: the angle that lies, by the mean over held-out users and summed
# along its alignments, between a user's vector and that of the model that founded the space.
SPACE_ANGLE = "alignment_space_angle_degrees"


def own_space(model_id: str) -> str:
    """The space that a model founds which was aligned with no other: named by its id for good."""
    return f"{_PREFIX}{model_id}"


def distance_by_alignment(
    measures: Mapping[str, float], other_measures: Mapping[str, float]
) -> float:
    """The cosine distance that alignment alone puts between two models' vectors of one user.

    Angles obey the triangle inequality, so this is at most the distance by the sum of both angles.
    """
    angle = sum(float(each.get(SPACE_ANGLE, 0.0)) for each in (measures, other_measures))
    return 1 - math.cos(math.radians(min(angle, 180.0)))
