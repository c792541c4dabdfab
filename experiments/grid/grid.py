"""A grid: all cells of an experiment, run by parallel processes; finished cells are kept."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, TypeVar

from analyst.lake_access.open_lake import OpenLake
from contracts.errors import BadInput, MissingTable
from contracts.paths import Places
from contracts.tables import SEQUENCE_PAIRS, SESSIONS, TITLES
from downstream.data.views import newest_cut
from downstream.judging.process_pool import run_in_processes
from experiments.data.click_data import DataSettings, click_data
from experiments.grid.cells import Cell, CellResult, Folders, Pretraining, finished_result
from experiments.grid.settings import (
    FINETUNING,
    ExperimentFile,
    ExperimentSettings,
    SizePreset,
    finetune_settings,
    variant_names,
)
from experiments.grid.work import NEAREST_USERS, prepare_process, run_cell, run_pretraining
from model.config import PretrainConfig
from model.data.build_corpus import training_input_for
from model.data.corpus import TrainingInput
from model.storage.checkpoint import read_manifest
from model.training.pretrain import model_id as model_name

_Progress = Callable[[str], None]
_Job = TypeVar("_Job", Cell, Pretraining)


@dataclass(frozen=True)
class Grid:
    """An experiment on this installation's data, ready to run."""

    experiment: ExperimentSettings
    preset: SizePreset
    preset_name: str
    folders: Folders
    pretrainings: tuple[Pretraining, ...]
    cells: tuple[Cell, ...]
    data_facts: dict[str, Any]

    @property
    def unfinished(self) -> list[Cell]:
        return [cell for cell in self.cells if finished_result(cell, self.folders) is None]

    @property
    def missing_pretrainings(self) -> list[Pretraining]:
        """Those that an unfinished cell needs."""
        needed = {cell.pretraining.model_id for cell in self.unfinished}
        return [
            each
            for each in self.pretrainings
            if each.model_id in needed and not self.folders.model(each).exists()
        ]

    def results(self) -> dict[Cell, CellResult]:
        """Of the cells that are finished, in the order of the grid."""
        found = {cell: finished_result(cell, self.folders) for cell in self.cells}
        return {cell: result for cell, result in found.items() if result is not None}


def default_day(lake: OpenLake, settings: DataSettings) -> date:
    """The newest day with pairs that has all parts' days of views after it."""
    lake.need(SEQUENCE_PAIRS)
    newest = newest_cut(lake, (settings.days[-1] - settings.as_of).days)
    found = lake.connection.execute(
        "SELECT max(as_of) FROM sequence_pairs WHERE as_of <= $newest", {"newest": newest}
    ).fetchone()
    if found is None or found[0] is None:
        raise MissingTable(
            f"the lake has no pre-training pairs as of {newest} or earlier, with "
            f"{(settings.days[-1] - settings.as_of).days} days of views after them: run "
            f"`userbert sequence-pairs --as-of {newest}`, or ask for fewer days"
        )
    day: date = found[0]
    return day


def build_grid(
    file: ExperimentFile,
    experiment: ExperimentSettings,
    preset_name: str,
    preset: SizePreset,
    lake: OpenLake,
    data: DataSettings,
    model_ids: Sequence[str] = (),
) -> Grid:
    """Every cell of the experiment, none of which is run yet; the data are made.

    `model_ids` are models of the data root, which are fine-tuned next to the variants.
    """
    folders = Folders(lake.places)
    name, facts = _make_data(experiment, lake, data, folders)
    is_finetuned = experiment.kind == FINETUNING
    shares = preset.label_shares if is_finetuned else (1.0,)
    settings = finetune_settings(experiment, preset) if is_finetuned else None
    inputs = _TrainingInputs(lake, data.as_of)
    pretrainings: list[Pretraining] = []
    seeds_of: list[list[Pretraining]] = []  # a list for each base model and variant
    for base_model in experiment.base_models:
        for variant in variant_names(experiment):
            config = file.pretraining(experiment, preset, base_model, variant)
            count = preset.pretraining_seeds if is_finetuned else preset.seeds
            own = [
                inputs.pretraining(base_model, variant, replace(config, seed=seed))
                for seed in range(min(count, preset.seeds))
            ]
            pretrainings += own
            seeds_of.append(own)
    given = [given_model(lake.places, model_id, data.as_of) for model_id in model_ids]
    _require_known_times([*pretrainings, *given], facts)
    cells = [
        Cell(experiment.kind, own[seed % len(own)], name, settings, share, seed)
        for own in [*seeds_of, *([model] for model in given)]
        for share in shares
        for seed in range(preset.seeds)
    ]
    pretrainings += given
    return Grid(experiment, preset, preset_name, folders, tuple(pretrainings), tuple(cells), facts)


def _require_known_times(pretrainings: Sequence[Pretraining], facts: Mapping[str, Any]) -> None:
    """Refuse models that read times where nobody knows those of the views, before a training."""
    models = {each.model_id: each.config.model for each in pretrainings}
    readers = [name for name, m in models.items() if m.form == "memory" or m.time_features]
    if readers and facts.get("view_times") == "made up":
        raise BadInput(
            f"{readers[0]} reads the times of views, and those of MIND's histories are made up: "
            "land the clicks alone by `userbert logs mind --no-history`, or choose base models of "
            "the form window, without time_features"
        )


def given_model(places: Places, model_id: str, as_of: date) -> Pretraining:
    """A model of the data root as one that is pre-trained; refused where it saw later views."""
    manifest = read_manifest(places.models / model_id)
    if manifest.trained_before > as_of:
        raise BadInput(
            f"{model_id} was trained on views from before {manifest.trained_before}, and the "
            f"impressions begin on {as_of}: it has seen them. Choose a later --as-of"
        )
    return Pretraining("given model", model_id, manifest.config, model_id, as_of, is_given=True)


def _make_data(
    experiment: ExperimentSettings, lake: OpenLake, data: DataSettings, folders: Folders
) -> tuple[str, dict[str, Any]]:
    """The name of the data that cells measure on, and what is known of them."""
    if experiment.kind == FINETUNING:
        clicks = click_data(lake, data, folders.data)
        return clicks.content, clicks.facts
    lake.need(SESSIONS, TITLES)
    versions = (lake.versions[table.name] for table in (SESSIONS, TITLES))
    name = "-".join(map(str, ("interests", data.as_of, *versions)))
    return name, {"as_of": data.as_of.isoformat(), "nearest_users": NEAREST_USERS}


class _TrainingInputs:
    """The arrays that pre-trainings learn from, made and checked once for each form."""

    def __init__(self, lake: OpenLake, as_of: date) -> None:
        self._lake, self._as_of = lake, as_of
        self._known: dict[tuple[int, int, int, str], TrainingInput] = {}

    def pretraining(self, base_model: str, variant: str, config: PretrainConfig) -> Pretraining:
        model = config.model
        form = (model.max_words, model.max_views, config.min_count, model.form)
        if form not in self._known:
            self._known[form] = training_input_for(config, self._lake.places, self._as_of)
        name = model_name(config, self._known[form])
        return Pretraining(base_model, variant, config, name, self._as_of)


def run_grid(grid: Grid, processes: int, progress: _Progress = lambda line: None) -> None:
    """Pre-train what is missing, then measure the cells that are missing."""
    missing = grid.missing_pretrainings
    for done, (job, seconds) in enumerate(
        _in_processes(run_pretraining, missing, grid.folders, processes), start=1
    ):
        progress(
            f"pre-training {done} of {len(missing)}: {job.base_model} {job.variant} "
            f"({seconds:.0f} s)"
        )
    cells = grid.unfinished
    before = len(grid.cells) - len(cells)
    for done, (cell, result) in enumerate(
        _in_processes(run_cell, cells, grid.folders, processes), start=1 + before
    ):
        what = f"{cell.pretraining.base_model} {cell.pretraining.variant}"
        shown = ", ".join(f"{n} {result.metrics[n]:.4f}" for n in grid.experiment.metrics)
        progress(
            f"cell {done} of {len(grid.cells)}: {what}, {cell.share:.0%} of the labels, "
            f"seed {cell.seed}: {shown} ({result.seconds:.0f} s)"
        )


def _in_processes(
    work: Callable[[_Job, Folders], Any], jobs: Sequence[_Job], folders: Folders, processes: int
) -> Iterator[tuple[_Job, Any]]:
    if processes < 1:
        raise BadInput(f"--processes is {processes}; it must be 1 or more")
    if processes == 1 or len(jobs) < 2:
        for job in jobs:
            yield job, work(job, folders)
        return
    yield from run_in_processes(work, jobs, folders, processes, prepare_process)
