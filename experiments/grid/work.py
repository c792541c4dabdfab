"""What one process of a grid does: pre-train a model, or measure a cell."""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, fields
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analyst.lake_access.open_lake import open_lake
from contracts.errors import BadInput, MissingTable
from contracts.instants import midnight_microseconds
from contracts.limits import PRETRAINING_DAYS
from contracts.paths import Places
from contracts.storage.atomic_write import read_json, write_json
from downstream.data.views import read_views
from experiments.data.click_data import ClickData, read_click_data
from experiments.data.metrics import Floats, mean_scores
from experiments.grid.cells import Cell, CellResult, Folders, Pretraining, keep_result
from experiments.grid.step_times import StepTimes, measure_step_times
from experiments.planted_interests import interest_agreement, live_interests
from model.data.build_corpus import training_input_for
from model.data.impressions import Impressions
from model.data.ragged import Ragged
from model.inference.embed_users import embed_users, encoder_input
from model.storage.checkpoint import TrainedModel, load_model
from model.training.distributed import Processes
from model.training.finetuning import click_scores, finetune_model
from model.training.pretrain import pretrain_model
from model.training.trainer import Training

NEAREST_USERS = 10  # users that count in the agreement of interests
_MAX_USERS = 20_000
_STOPPED_BY = "auc"  # of the validation impressions


def prepare_process() -> None:
    """One thread for each process, and freed memory kept (`model/training/memory.py`)."""
    import torch

    from model.training.memory import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(1)


def _pretrained_file(pretraining: Pretraining, folders: Folders) -> Path:
    """Where the time of a pre-training is kept."""
    return folders.cells / f"pretraining-{pretraining.model_id}.json"


def run_pretraining(pretraining: Pretraining, folders: Folders) -> float:
    """Pre-train the model, or finish it; returns the seconds that it took."""
    started, cpu_started = time.perf_counter(), time.process_time()
    config = pretraining.config
    given = training_input_for(config, folders.places, pretraining.as_of, verify=False)
    pretrain_model(given, config, folders.models, Processes(), threads=1)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    path = _pretrained_file(pretraining, folders)
    if not path.exists():
        facts: dict[str, float | int | str] = {
            "base_model": pretraining.base_model,
            "variant": pretraining.variant,
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,  # less than a whole one where it went on after a kill
            "steps": config.steps,
        }
        if config.steps:
            times = measure_step_times(Training(given, config, Processes(), 1))
            facts |= {f"step_{name}": value for name, value in asdict(times).items()}
        write_json(path, facts)
    return seconds


def run_cell(cell: Cell, folders: Folders) -> CellResult:
    """Measure the cell and keep its result."""
    started, cpu_started = time.perf_counter(), time.process_time()
    trained = load_model(folders.model(cell.pretraining))
    facts: dict[str, float] = {}
    if cell.finetuning is None:
        metrics = _planted_metrics(cell, trained, folders)
    else:
        metrics, facts = _finetuned_metrics(cell, trained, _click_data(folders.data / cell.data))
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    result = CellResult(metrics, seconds, facts, cpu_seconds)
    keep_result(cell, result, folders)
    return result


def _finetuned_metrics(
    cell: Cell, trained: TrainedModel, data: ClickData
) -> tuple[dict[str, float], dict[str, float]]:
    """Fine-tune on a share of the training part, stop by the validation part, and score the test
    part once, with the weights that were chosen."""
    assert cell.finetuning is not None
    titles = title_input(trained, data)
    done = finetune_model(
        trained.model,
        titles,
        data.training_share(cell.share, cell.seed),
        data.parts["validation"],
        cell.finetuning,
        cell.seed,
        validation_score,
    )
    test = data.parts["test"]
    scores = click_scores(trained.model, titles, test)
    facts = {"steps": done.steps, "best_step": done.best_step, "validation": done.best_score}
    return mean_scores(scores, test.clicked, test.owners), facts


def title_input(trained: TrainedModel, data: ClickData) -> Ragged:
    """What the model's behavior encoder reads of each title of the data."""
    return encoder_input(trained, data.titles.title_ids, data.titles.words)


def validation_score(scores: Floats, impressions: Impressions) -> float:
    """AUC by impression; over all candidates where each impression shows one alone."""
    found = mean_scores(scores, impressions.clicked, impressions.owners)
    chosen = found[_STOPPED_BY]
    return chosen if np.isfinite(chosen) else found[f"pooled_{_STOPPED_BY}"]


@cache
def _click_data(path: Path) -> ClickData:
    return read_click_data(path)


def _planted_metrics(cell: Cell, trained: TrainedModel, folders: Folders) -> dict[str, float]:
    """How much more often near users share a lasting, and a passing, interest than chance."""
    as_of = cell.pretraining.as_of
    users, vectors = newest_vectors(trained, folders.places, as_of)
    metrics = {}
    for name, interests in _planted_interests(folders.places, as_of).items():
        found = interest_agreement(users, vectors, interests, NEAREST_USERS)
        metrics[f"{name}_shared"] = found.near["shared"]
        metrics[f"{name}_chance"] = found.chance["shared"]
        metrics[f"{name}_lift"] = found.near["shared"] / found.chance["shared"]
    return metrics


def newest_vectors(
    trained: TrainedModel, places: Places, as_of: date
) -> tuple[list[str], NDArray[np.float32]]:
    """Each user's vector of the newest views before `as_of`, also of users long inactive.

    The memory form reads all views of the window of pre-training.
    """
    past = read_views(open_lake(places), as_of, 1, _MAX_USERS).before(as_of)
    limit = trained.model.max_views
    if limit is None:
        first = midnight_microseconds(as_of - timedelta(days=PRETRAINING_DAYS))
        past = past.where(past.times >= first)
    else:
        past = past.newest(limit)
    past = past.of_users(past.counts() > 0)
    catalog = past.catalog
    sequences = Ragged(catalog.title_ids[past.titles], past.offsets)
    cut = np.full(len(past), midnight_microseconds(as_of))
    found = embed_users(trained, sequences, catalog.title_ids, catalog.words, past.times, cut)
    return past.user_ids.tolist(), found.vectors


def _planted_interests(places: Places, as_of: date) -> dict[str, dict[str, dict[str, float]]]:
    """ "lasting" and "passing": each user's interests on the day before `as_of`, with weights.

    A user has one passing interest at a time; its weight is the generator's share of drifting.
    """
    path = places.root / "planted/interests.parquet"
    if not path.exists():
        raise MissingTable(
            f"{path} is missing: the experiment `planted` needs generated logs, which "
            "`userbert logs generate` makes"
        )
    live = live_interests(path, as_of)
    if "is_lasting" not in live.column_names:
        raise BadInput(f"{path} has no column is_lasting: generate the logs again")
    found: dict[str, dict[str, dict[str, float]]] = {"lasting": {}, "passing": {}}
    for row in live.to_pylist():
        kind = "lasting" if row["is_lasting"] else "passing"
        found[kind].setdefault(row["user_id"], {})[row["topic"]] = row["weight"]
    return found


def pretraining_times(
    pretrainings: Iterable[Pretraining], folders: Folders
) -> dict[str, StepTimes]:
    """By base model and variant, what a step took, of pre-trainings that are finished."""
    found = {}
    for each in pretrainings:
        facts = read_json(_pretrained_file(each, folders))
        if "step_cpu_seconds" in facts:
            times = StepTimes(**{one.name: facts[f"step_{one.name}"] for one in fields(StepTimes)})
            found[f"{each.base_model} {each.variant}"] = times
    return found


def pretraining_cpu_seconds(pretrainings: Iterable[Pretraining], folders: Folders) -> float:
    """What the finished ones took together; 0 for those of the data root."""
    files = (_pretrained_file(each, folders) for each in pretrainings)
    return float(sum(json.loads(f.read_text()).get("cpu_seconds", 0) for f in files if f.exists()))
