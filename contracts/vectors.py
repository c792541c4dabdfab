"""What is known of a user vector besides its numbers: its blocks and the space that it lives in.

Blocks: a head may scale each by itself, and a model's settings say where they lie. A model of the
memory form puts how much, how often and how lately a user views into its first floats (activity),
and what the user views into the others (preference). A model of the window form has no boundary.

Spaces: each training makes a space of its own. A model that was aligned with another one
(`userbert models align`) lives in the other's space, and so a space can outlive the model that
founded it.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from contracts.limits import EMBEDDING_WIDTH

ACTIVITY_BLOCK, PREFERENCE_BLOCK = "activity", "preference"
# The feature service that follows the champion, and the head of the names of all others.
CHAMPION_SERVICE = "user_embeddings"
_SPACE_PREFIX = "space-"
# The same as `own_space`, in SQL of Spark and of DuckDB: of rows from before spaces had names.
OWN_SPACE_SQL = f"concat('{_SPACE_PREFIX}', model_id)"
# A measure of an aligned model: the angle that lies, by the mean over held-out users and summed
# along its alignments, between a user's vector and that of the model that founded the space.
SPACE_ANGLE = "alignment_space_angle_degrees"


def vector_blocks(settings: Mapping[str, Any]) -> dict[str, slice]:
    """The floats of each block by its name; empty for a model without blocks.

    `settings` are those of the training, as the manifest and the table `models` have them.
    """
    model = settings.get("model")
    if not isinstance(model, Mapping) or model.get("form") != "memory":
        return {}
    boundary = int(model["activity_width"])
    width = int(model.get("width", EMBEDDING_WIDTH))
    return {ACTIVITY_BLOCK: slice(0, boundary), PREFERENCE_BLOCK: slice(boundary, width)}


def describe_blocks(blocks: Mapping[str, slice]) -> str:
    """As `activity[0:64],preference[64:256]`: Python's slices of a vector."""
    return ",".join(f"{name}[{block.start}:{block.stop}]" for name, block in blocks.items())


def own_space(model_id: str) -> str:
    """The space that a model founds which was aligned with no other: named by its id for good."""
    return f"{_SPACE_PREFIX}{model_id}"


def service_name(model_or_space_id: str) -> str:
    """The feature service of one model or of one space: a name that every store takes."""
    return f"{CHAMPION_SERVICE}_{re.sub(r'[^0-9A-Za-z]', '_', model_or_space_id)}"


def founder_of(space_id: str) -> str:
    """The model that founded the space."""
    return space_id.removeprefix(_SPACE_PREFIX)


def distance_by_alignment(
    measures: Mapping[str, float], other_measures: Mapping[str, float]
) -> float:
    """The cosine distance that alignment alone puts between two models' vectors of one user.

    Angles obey the triangle inequality, so this is at most the distance by the sum of both angles.
    """
    angle = sum(float(each.get(SPACE_ANGLE, 0.0)) for each in (measures, other_measures))
    return 1 - math.cos(math.radians(min(angle, 180.0)))
