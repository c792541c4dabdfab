"""The CPU seconds of a pre-training and of a cell, by a pilot of a few steps.

CPU seconds are those of the process, which has one thread, so other work on the machine moves them
little. A fine-tuning may end early, so those of a cell are an upper bound.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from experiments.data.click_data import ClickData, read_click_data
from experiments.grid.cells import Cell, Folders, Pretraining
from experiments.grid.step_times import measure_step_times
from experiments.grid.work import newest_vectors, title_input, validation_score
from model.data.build_corpus import training_input_for
from model.data.impressions import Impressions
from model.data.ragged import Ragged
from model.inference.vectors import title_vectors
from model.storage.checkpoint import TrainedModel, load_model
from model.training.distributed import Processes
from model.training.finetuning import click_scores, finetune_model
from model.training.pretrain import pretrain_model, test_measures
from model.training.trainer import Training

_PILOT_STEPS = 4
_PILOT_IMPRESSIONS = 200
_FINAL_EVALUATIONS = 2  # of a pre-training: on the validation and on the test users


@dataclass(frozen=True)
class PretrainingCost:
    """What one whole pre-training takes."""

    cpu_seconds: float
    model_bytes: int  # of its weights


def measure_pretraining(job: Pretraining, folders: Folders) -> PretrainingCost:
    """Take a few steps; nothing of them is kept."""
    began = time.process_time()
    given = training_input_for(job.config, folders.places, job.as_of, verify=False)
    training = Training(given, job.config, Processes(), 1)
    size = sum(weight.numel() * weight.element_size() for weight in training.model.parameters())
    for _ in range(_FINAL_EVALUATIONS):
        test_measures(training)
    start = time.process_time() - began
    steps = job.config.steps
    return PretrainingCost(
        start + (steps * measure_step_times(training).cpu_seconds if steps else 0.0), size
    )


def measure_cell(cell: Cell, folders: Folders) -> float:
    """CPU seconds of a whole cell, from an untrained model of the same size."""
    with tempfile.TemporaryDirectory() as folder:
        config = replace(cell.pretraining.config, steps=0, cooldown_steps=0, validation_pairs=8)
        as_of = cell.pretraining.as_of
        given = training_input_for(config, folders.places, as_of, verify=False)
        path = pretrain_model(given, config, Path(folder), Processes(), threads=1)
        began = time.process_time()
        trained = load_model(path)
        loading = time.process_time() - began
        if cell.finetuning is None:
            return loading + _cpu_seconds(lambda: newest_vectors(trained, folders.places, as_of))
        return loading + _finetuning_seconds(cell, trained, folders)


def _finetuning_seconds(cell: Cell, trained: TrainedModel, folders: Folders) -> float:
    settings = cell.finetuning
    assert settings is not None
    data = read_click_data(folders.data / cell.data)
    training = data.training_share(cell.share, cell.seed)
    sample = data.parts["validation"].take(np.arange(1))
    titles = title_input(trained, data)

    def take_steps(count: int) -> None:
        few = replace(settings, steps=count, validation_interval=count)
        finetune_model(trained.model, titles, training, sample, few, cell.seed, validation_score)

    fixed = _cpu_seconds(lambda: take_steps(1))  # it warms up too
    step = max(0.0, _cpu_seconds(lambda: take_steps(1 + _PILOT_STEPS)) - fixed) / _PILOT_STEPS
    evaluations = -(-settings.steps // settings.validation_interval)
    validating, testing = (
        _scoring_seconds(trained, titles, data, p) for p in ("validation", "test")
    )
    return fixed + settings.steps * step + evaluations * validating + testing


def _scoring_seconds(trained: TrainedModel, titles: Ragged, data: ClickData, part: str) -> float:
    """CPU seconds to score a part once, from some of its impressions.

    A title is encoded once however many impressions show it, so the share that encodes titles
    grows with the distinct titles and the rest with the impressions.
    """
    whole = data.parts[part].newest_views(trained.model.max_views)
    sample = whole.take(np.arange(0, len(whole), max(1, len(whole) // _PILOT_IMPRESSIONS)))
    distinct = _distinct_titles(sample)
    encoding = _cpu_seconds(lambda: title_vectors(trained.model, titles.take(distinct)))
    rest = _cpu_seconds(lambda: click_scores(trained.model, titles, sample)) - encoding
    return encoding * len(_distinct_titles(whole)) / len(distinct) + max(0.0, rest) * len(
        whole
    ) / len(sample)


def _distinct_titles(impressions: Impressions) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    both = [impressions.histories.values, impressions.candidates.values]
    return np.unique(np.concatenate(both)).astype(np.int64)


def _cpu_seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began
