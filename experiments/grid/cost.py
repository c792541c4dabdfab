"""What a grid costs before it starts: cells, CPU seconds and disk.

A cell costs what cells of the same size took, on this data root and in any experiment; where there
is none yet, a pilot of a few steps is multiplied (`pilot.py`).
"""

import json
import shutil
from collections import defaultdict
from dataclasses import asdict, dataclass, field

import numpy as np

from experiments.grid.cells import Cell, Folders, Pretraining
from experiments.grid.grid import Grid
from experiments.grid.pilot import PretrainingCost, measure_cell, measure_pretraining

_ADAM_COPIES = 3  # of the weights in a checkpoint: weights, and both moments
_KEPT_CHECKPOINTS = 2
_CELL_BYTES = 4096


@dataclass(frozen=True)
class Costs:
    """What each part of a grid takes."""

    pretrainings: dict[str, PretrainingCost]  # by model_id
    cells: dict[str, float]  # CPU seconds by cost key
    recorded: frozenset[str] = field(default_factory=frozenset)  # cost keys from finished cells


@dataclass(frozen=True)
class GridPlan:
    """What a run would do now."""

    num_cells: int
    num_finished: int
    num_recorded: int  # unfinished cells whose cost is that of finished ones
    num_pretrainings: int  # that are missing
    pretraining_cpu_seconds: float
    cell_cpu_seconds: float
    disk_mib: float
    processes: int

    @property
    def cpu_seconds(self) -> float:
        return self.pretraining_cpu_seconds + self.cell_cpu_seconds

    @property
    def cpu_hours(self) -> float:
        return self.cpu_seconds / 3600

    @property
    def minutes(self) -> float:
        """On the clock, where each process has a core to itself."""
        return self.cpu_seconds / 60 / self.processes


def plan_grid(grid: Grid, processes: int) -> GridPlan:
    """Sum what finished cells took and, for the rest, what a pilot measures."""
    missing, cells = grid.missing_pretrainings, grid.unfinished
    return reckon_plan(grid, missing, cells, _costs(grid, missing, cells), processes)


def reckon_plan(
    grid: Grid,
    missing: list[Pretraining],
    cells: list[Cell],
    costs: Costs,
    processes: int,
) -> GridPlan:
    """Sums over what is missing. Running pre-trainings keep checkpoints next to their weights."""
    own = [costs.pretrainings[each.model_id] for each in missing]
    sizes = [each.model_bytes for each in own]
    checkpoints = sorted(sizes)[-processes:]
    disk = sum(sizes) + sum(checkpoints) * _ADAM_COPIES * _KEPT_CHECKPOINTS
    return GridPlan(
        num_cells=len(grid.cells),
        num_finished=len(grid.cells) - len(cells),
        num_recorded=sum(cell.cost_key in costs.recorded for cell in cells),
        num_pretrainings=len(missing),
        pretraining_cpu_seconds=sum(each.cpu_seconds for each in own),
        cell_cpu_seconds=sum(costs.cells[cell.cost_key] for cell in cells),
        disk_mib=(disk + len(cells) * _CELL_BYTES) / (1 << 20),
        processes=processes,
    )


def _costs(grid: Grid, missing: list[Pretraining], cells: list[Cell]) -> Costs:
    """One pilot for each kind of pre-training and each kind of cell that nothing recorded."""
    of_variant: dict[tuple[str, str], PretrainingCost] = {}
    for job in missing:  # seeds of one variant cost the same
        if (job.base_model, job.variant) not in of_variant:
            of_variant[job.base_model, job.variant] = measure_pretraining(job, grid.folders)
    pretrainings = {job.model_id: of_variant[job.base_model, job.variant] for job in missing}
    recorded = recorded_cell_costs(grid.folders)
    of_cells = dict(recorded)
    for cell in cells:
        if cell.cost_key not in of_cells:
            of_cells[cell.cost_key] = measure_cell(cell, grid.folders)
    return Costs(pretrainings, of_cells, frozenset(recorded))


def recorded_cell_costs(folders: Folders) -> dict[str, float]:
    """The mean CPU seconds of finished cells by cost key."""
    found: dict[str, list[float]] = defaultdict(list)
    for path in sorted(folders.cells.glob("*.json")):
        facts = json.loads(path.read_text())
        if facts.get("cost_key") and facts.get("cpu_seconds") is not None:
            found[facts["cost_key"]].append(facts["cpu_seconds"])
    return {key: float(np.mean(values)) for key, values in found.items()}


def free_disk_mib(grid: Grid) -> float:
    """What the disk of the experiments' folder has left."""
    folder = next(path for path in (grid.folders.root, *grid.folders.root.parents) if path.exists())
    return shutil.disk_usage(folder).free / (1 << 20)


def plan_as_json(plan: GridPlan) -> dict[str, float]:
    return asdict(plan) | {"cpu_hours": plan.cpu_hours, "minutes": plan.minutes}
