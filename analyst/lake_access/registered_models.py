"""Models as an analyst opens them: their weights, their settings, and titles in their space."""

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analyst.lake_access.open_lake import OpenLake
from contracts.errors import MissingTable
from contracts.tables import MODELS
from contracts.vectors import vector_blocks

if TYPE_CHECKING:
    from model.storage.checkpoint import TrainedModel


def load_registered_model(lake: OpenLake, model_id: str) -> "TrainedModel":
    from model.storage.checkpoint import load_model

    return load_model(lake.model_folder(model_id))


def blocks_of(lake: OpenLake, model_id: str) -> dict[str, slice]:
    """Which floats of the model's vectors are which block; empty for a model without blocks.

    `vectors.matrix[:, blocks_of(lake, vectors.model_id)["activity"]]` is the activity block.
    """
    lake.need(MODELS)
    row = lake.connection.execute(
        "SELECT settings FROM models WHERE model_id = $model", {"model": model_id}
    ).fetchone()
    if row is None:
        raise MissingTable(
            f"{model_id} is not registered: `userbert models list` names those that are"
        )
    return vector_blocks(json.loads(row[0]))


def title_candidates(
    trained: "TrainedModel", title_ids: NDArray[np.int64], words: list[list[str]]
) -> NDArray[np.float32]:
    """(T, D): a user's vector times a row is the logit that the user views this title next.

    Shapes: T titles; title_ids (T,), which a model of title ids looks up.
    """
    import pyarrow as pa

    from model.inference.embed_users import encoder_input
    from model.inference.vectors import evaluation_mode, title_vectors, to_numpy

    texts: Any = pa.array(words, pa.list_(pa.string()))
    titles = title_vectors(trained.model, encoder_input(trained, title_ids, texts))  # (T, E)
    with evaluation_mode(trained.model):
        return to_numpy(trained.model.title_candidates(titles))  # (T, D)
