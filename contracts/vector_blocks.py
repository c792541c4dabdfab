"""The blocks of a user vector: a head may scale each by itself, and a model's settings say where.

A model of the memory form puts how much, how often and how lately a user views into its first
floats (activity), and what the user views into the others (preference). A model of the window form
has no such boundary.
"""

from collections.abc import Mapping
from typing import Any

from contracts.limits import EMBEDDING_WIDTH

ACTIVITY_BLOCK, PREFERENCE_BLOCK = "activity", "preference"


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
