"""Vectors of user models: the judged ones, the same untrained, and the paper's baselines.

A model that was trained on views after the cut has seen the labels' days, so it is not judged
itself: a twin with the same settings is trained on the views from before the cut.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyst.lake_access.open_lake import OpenLake, open_lake
from contracts.commands import USERBERT_COMMAND
from contracts.errors import BadInput, MissingTable
from contracts.instants import midnight_microseconds
from contracts.tables import MODELS, SEQUENCE_PAIRS
from downstream.data.views import Views
from downstream.rivals.coles import RivalLeftOut
from model.config import PRESETS, PretrainConfig
from model.data.ragged import Ragged
from model.inference.embed_users import embed_users
from model.storage.checkpoint import TrainedModel, load_model, read_manifest, ready_vectors_of

# What differs from the judged model's settings. `steps` of 0 leaves the first weights as they are.
MODEL_VARIANTS: dict[str, Mapping[str, Any]] = {
    "untrained_plain": {"steps": 0, "cooldown_steps": 0, "first_weights": "plain"},
    "untrained_centered": {"steps": 0, "cooldown_steps": 0, "first_weights": "centered"},
    "ptum": {
        name: getattr(PRESETS["ptum"], name) for name in ("tasks", "masked_from", "negatives")
    },
    "cp": {name: getattr(PRESETS["cp"], name) for name in ("tasks", "negatives")},
}


@dataclass(frozen=True)
class JudgedModel:
    """A model by the name that the table has, and the folder of the weights that are judged."""

    model_id: str
    folder: Path
    is_twin: bool  # trained again on the views from before the cut


def champion_id(lake: OpenLake) -> str:
    """The model that is judged when none is named."""
    lake.need(MODELS)
    row = lake.sql("SELECT model_id FROM models WHERE status = 'champion'").fetchone()
    if row is None:
        raise MissingTable("there is no champion: name models with --models MODEL_ID ...")
    return str(row[0])


def judged_model(lake: OpenLake, model_id: str, as_of: date, out: Path) -> JudgedModel:
    """The model itself, or its twin where it was trained on views after the cut."""
    folder = lake.model_folder(model_id)
    manifest = read_manifest(folder)
    if manifest.trained_before <= as_of:
        return JudgedModel(model_id, folder, is_twin=False)
    return JudgedModel(model_id, _trained(lake, folder, as_of, {}, out), is_twin=True)


def variant_folder(
    lake: OpenLake, judged: JudgedModel, as_of: date, variant: str, out: Path
) -> Path:
    """The same encoder untrained, or trained by another paper's tasks on the same pairs."""
    config = read_manifest(judged.folder).config
    if variant == "untrained_centered" and config.model.form == "memory":
        raise RivalLeftOut(
            "untrained_centered was left out: the first weights of the memory form are not "
            "centered, so it is untrained_plain once more"
        )
    day = read_manifest(judged.folder).trained_before
    return _trained(lake, judged.folder, day, MODEL_VARIANTS[variant], out)


def _trained(
    lake: OpenLake, folder: Path, day: date, changes: Mapping[str, Any], out: Path
) -> Path:
    """Train like the model in `folder` on the pairs of `day`; a finished training is only named.

    It takes the model's ready-made title vectors. A file of word vectors is in no model, so its
    words start at random ones; so do the weights of a model that began from another one's.
    """
    from model.data.build_corpus import training_input_for
    from model.training.distributed import Processes
    from model.training.pretrain import pretrain_model

    _make_pairs(lake, day)
    config = variant_config(read_manifest(folder).config, changes)
    given = training_input_for(config, lake.places, day)
    return pretrain_model(given, config, out, Processes(), ready=ready_vectors_of(folder))


def variant_config(config: PretrainConfig, changes: Mapping[str, Any]) -> PretrainConfig:
    """The settings of a judged model with a variant's changes.

    The tasks of other papers train the window form alone: next to a model of the memory form they
    train the encoder of the preset `small`.
    """
    if config.model.form == "memory" and "tasks" in changes:
        config = PRESETS["small"]
    return replace(config, word_vectors="", warm_start="", **changes)


def _make_pairs(lake: OpenLake, day: date) -> None:
    """Run the job that makes the pairs of `day`, unless they are there."""
    if lake.has(SEQUENCE_PAIRS):
        pairs = "SELECT 1 FROM sequence_pairs WHERE as_of = $day LIMIT 1"
        if open_lake(lake.places).connection.execute(pairs, {"day": day}).fetchone():
            return
    command = [sys.executable, USERBERT_COMMAND, "sequence-pairs", "--as-of", str(day)]
    environment = {**os.environ, "USERBERT_DATA": str(lake.places.root)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BadInput(
            f"the pairs of {day} could not be made, and a model must be trained on the views from "
            f"before the cut: `userbert sequence-pairs --as-of {day}` failed with\n"
            f"{done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'no message'}"
        )


def model_vectors(trained: TrainedModel, past: Views, as_of: date) -> NDArray[np.float32]:
    """(N, D): every user as of one day. A night embeds those who were active on the day before; the
    judge embeds everybody."""
    return vectors_as_of(trained, past, np.full(len(past), midnight_microseconds(as_of)))


def vectors_as_of(
    trained: TrainedModel, past: Views, as_of: NDArray[np.int64]
) -> NDArray[np.float32]:
    """(N, D): every user's views that the model reads, by the code that a night embeds with.

    `as_of` (N,) are instants after all of a user's views. A user without a view before the day,
    which the staleness curve can have, gets zeros.
    """
    limit = trained.model.max_views
    newest = past if limit is None else past.newest(limit)
    has_views = newest.counts() > 0
    vectors = np.zeros((len(past), trained.model.config.width), np.float32)
    sequences = Ragged(past.catalog.title_ids[newest.titles], newest.offsets)
    rows = np.flatnonzero(has_views)
    vectors[rows] = embed_users(
        trained,
        sequences.take(rows),
        past.catalog.title_ids,
        past.catalog.words,
        newest.times,  # of all users: those without a view have no time either
        as_of[rows],
    ).vectors
    return vectors


def vectors_of_folder(folder: Path, past: Views, as_of: date) -> NDArray[np.float32]:
    return model_vectors(load_model(folder), past, as_of)
