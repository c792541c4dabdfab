"""A finished training becomes a candidate: its folder is input like any other, and is checked."""

import json
from datetime import UTC, datetime
from pathlib import Path

from contracts.errors import BadInput
from contracts.paths import Places
from contracts.storage.model_folder import check_model_folder
from spark_jobs.tables.models import Model, Models


def folder_of_new_model(places: Places, model_id: str) -> Path:
    """The folder that `models register MODEL_ID` reads: directly below the models' folder."""
    if model_id != Path(model_id).name or model_id in ("", ".", ".."):
        raise BadInput(
            f"{model_id!r} is no model_id: name a folder directly below {places.models}, "
            "where trained models lie"
        )
    return places.models / model_id


def model_from_folder(folder: Path) -> Model:
    """A finished training as a candidate, after every file's checksum was compared."""
    check_model_folder(folder)
    from model.storage.checkpoint import read_manifest  # torch takes two seconds to import

    manifest, now = read_manifest(folder), datetime.now(UTC)
    return Model(
        model_id=manifest.model_id,
        created_at=now,
        status="candidate",
        status_changed_at=now,
        status_reason="registered",
        path=str(folder),
        trained_before=manifest.trained_before,
        settings=json.dumps(manifest.settings, sort_keys=True),
        inputs=json.dumps(manifest.inputs, sort_keys=True),
        measures=json.dumps(manifest.measures, sort_keys=True),
        vocabulary_hash=manifest.vocabulary_hash,
        code_version=manifest.code_version,
        space_id=manifest.space,
    )


def with_registered(models: Models, new: Model) -> Models:
    """With `new`, unless it is there: an id is of settings and content, so it is the same model."""
    return models if new.model_id in models else {**models, new.model_id: new}
