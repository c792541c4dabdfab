"""What a grid costs before it starts: cells, minutes by a measured pilot, and disk.

The pilot takes a few steps of each pre-training that is missing and of a fine-tuning of each base
model, and multiplies. A fine-tuning may end early, so its minutes are an upper bound.
"""

import shutil
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from experiments.data.click_data import ClickData, read_click_data
from experiments.grid.cells import Cell, Pretraining
from experiments.grid.grid import Grid
from experiments.grid.step_times import measure_step_times
from experiments.grid.work import newest_vectors, title_input, validation_score
from model.data.build_corpus import training_input_for
from model.data.ragged import Ragged
from model.storage.checkpoint import TrainedModel, load_model
from model.training.distributed import Processes
from model.training.finetuning import click_scores, finetune_model
from model.training.pretrain import pretrain_model, test_measures
from model.training.trainer import Training

_PILOT_STEPS = 3
_PILOT_IMPRESSIONS = 100
_FINAL_EVALUATIONS = 2  # of a pre-training: on the validation and on the test users
_ADAM_COPIES = 3  # of the weights in a checkpoint: weights, and both moments
_KEPT_CHECKPOINTS = 2
_CELL_BYTES = 4096


@dataclass(frozen=True)
class PilotTimes:
    """Seconds that the pilot measured."""

    pretraining: dict[str, float]  # by model_id: the whole pre-training
    cells: dict[str, float]  # by base model and share: one whole cell
    model_bytes: dict[str, int]  # by model_id


@dataclass(frozen=True)
class GridPlan:
    """What a run would do now."""

    num_cells: int
    num_finished: int
    num_pretrainings: int  # that are missing
    pretraining_minutes: float
    cell_minutes: float
    disk_mib: float
    processes: int

    @property
    def minutes(self) -> float:
        """On the clock, with all processes busy."""
        return (self.pretraining_minutes + self.cell_minutes) / self.processes


def plan_grid(grid: Grid, processes: int) -> GridPlan:
    """Measure the pilot, and reckon."""
    missing, cells = grid.missing_pretrainings, grid.unfinished
    times = _measure_pilot(grid) if cells else PilotTimes({}, {}, {})
    return reckon_plan(grid, missing, cells, times, processes)


def reckon_plan(
    grid: Grid,
    missing: list[Pretraining],
    cells: list[Cell],
    times: PilotTimes,
    processes: int,
) -> GridPlan:
    """Sums over what is missing. Running pre-trainings keep checkpoints next to their weights."""
    sizes = [times.model_bytes[each.model_id] for each in missing]
    checkpoints = sorted(sizes)[-processes:]
    disk = sum(sizes) + sum(checkpoints) * _ADAM_COPIES * _KEPT_CHECKPOINTS
    return GridPlan(
        num_cells=len(grid.cells),
        num_finished=len(grid.cells) - len(cells),
        num_pretrainings=len(missing),
        pretraining_minutes=sum(times.pretraining[each.model_id] for each in missing) / 60,
        cell_minutes=sum(times.cells[_cell_name(cell)] for cell in cells) / 60,
        disk_mib=(disk + len(cells) * _CELL_BYTES) / (1 << 20),
        processes=processes,
    )


def _cell_name(cell: Cell) -> str:
    return f"{cell.pretraining.base_model} {cell.share}"


def _measure_pilot(grid: Grid) -> PilotTimes:
    """Time a few steps of everything that differs in cost; nothing of it is kept."""
    pretraining, model_bytes = {}, {}
    by_variant: dict[tuple[str, str], tuple[float, int]] = {}
    for job in grid.missing_pretrainings:
        what = (job.base_model, job.variant)
        by_variant[what] = by_variant.get(what) or _pretraining_cost(job, grid)
        pretraining[job.model_id], model_bytes[job.model_id] = by_variant[what]
    cells: dict[str, float] = {}
    for cell in grid.unfinished:
        if _cell_name(cell) not in cells:
            cells[_cell_name(cell)] = _cell_cost(cell, grid)
    return PilotTimes(pretraining, cells, model_bytes)


def _pretraining_cost(job: Pretraining, grid: Grid) -> tuple[float, int]:
    """Seconds of the whole pre-training, and bytes of its weights."""
    began = time.perf_counter()
    given = training_input_for(job.config, grid.folders.places, job.as_of, verify=False)
    training = Training(given, job.config, Processes(), 1)
    size = sum(weight.numel() * 4 for weight in training.model.parameters())
    for _ in range(_FINAL_EVALUATIONS):
        test_measures(training)
    start = time.perf_counter() - began
    steps = job.config.steps
    return start + (steps * measure_step_times(training).seconds if steps else 0.0), size


def _cell_cost(cell: Cell, grid: Grid) -> float:
    """Seconds of a whole cell, from an untrained model of the same size."""
    with tempfile.TemporaryDirectory() as folder:
        config = replace(cell.pretraining.config, steps=0, cooldown_steps=0, validation_pairs=8)
        as_of = cell.pretraining.as_of
        given = training_input_for(config, grid.folders.places, as_of, verify=False)
        began = time.perf_counter()
        trained = load_model(pretrain_model(given, config, Path(folder), Processes(), threads=1))
        loading = time.perf_counter() - began
        if cell.finetuning is None:
            began = time.perf_counter()
            newest_vectors(trained, grid.folders.places, as_of)
            return loading + time.perf_counter() - began
        data = read_click_data(grid.folders.data / cell.data)
        few = replace(cell.finetuning, steps=_PILOT_STEPS, validation_interval=_PILOT_STEPS)
        training = data.training_share(cell.share, cell.seed)
        sample = data.parts["validation"].take(np.arange(1))
        titles = title_input(trained, data)
        began = time.perf_counter()
        finetune_model(trained.model, titles, training, sample, few, cell.seed, validation_score)
        step = (time.perf_counter() - began) / _PILOT_STEPS
        settings = cell.finetuning
        evaluations = settings.steps / settings.validation_interval
        validating, testing = (
            _scoring_cost(trained, titles, data, p) for p in ("validation", "test")
        )
    return loading + settings.steps * step + evaluations * validating + testing


def _scoring_cost(trained: TrainedModel, titles: Ragged, data: ClickData, part: str) -> float:
    """Seconds to score a part once, from some of its impressions."""
    whole = data.parts[part]
    sample = whole.take(np.arange(0, len(whole), max(1, len(whole) // _PILOT_IMPRESSIONS)))
    began = time.perf_counter()
    click_scores(trained.model, titles, sample)
    return (time.perf_counter() - began) * len(whole) / len(sample)


def free_disk_mib(grid: Grid) -> float:
    """What the disk of the experiments' folder has left."""
    folder = next(path for path in (grid.folders.root, *grid.folders.root.parents) if path.exists())
    return shutil.disk_usage(folder).free / (1 << 20)


def plan_as_json(plan: GridPlan) -> dict[str, float]:
    return asdict(plan) | {"minutes": plan.minutes}
