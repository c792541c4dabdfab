"""Judge models against their rivals: vectors, canaries, cells in parallel processes, summary.

A run has a folder of its own, named by everything that changes a figure but the choice of tasks and
rivals. Vectors and cells lie in a folder that all runs share which judge the same views by the same
protocol, and a cell is known by its labels and its vectors. What is finished there is not done
again: a killed run goes on, one more rival costs its own cells only, and so does another model that
is judged against the same rivals.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from analyst.lake_access.open_lake import OpenLake
from contracts.errors import BadInput
from contracts.evaluation_settings import EvaluationSettings
from downstream.data.views import Views, newest_cut, read_views
from downstream.judging.canaries import (
    leaking_tasks,
    must_be_chance_when_shuffled,
    must_not_hold_labels,
    must_not_solve,
)
from downstream.judging.cells import Cell, Result, evaluate_cell, finished_results
from downstream.judging.process_pool import run_in_processes
from downstream.judging.summary import Row, borda_points, compare_results
from downstream.rivals.coles import RivalLeftOut
from downstream.rivals.encoders import JudgedModel, champion_id, judged_model
from downstream.rivals.rival_vectors import (
    HAND_MADE,
    JOINED_RIVAL,
    VectorFile,
    VectorFiles,
    known_rivals,
)
from downstream.tasks.from_logs import LOG_TASKS, Periods
from downstream.tasks.labels_file import labels_files, read_task
from downstream.tasks.task import Task

_PROTOCOL = 2  # raised where heads or their search change figures: finished cells do not count
_STALE_TASKS = ("propensity", "churn", "activity")
_Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a run found."""

    evaluation_id: str
    as_of: date
    model_id: str  # against which every p is
    twins: tuple[str, ...]  # models that were trained again on the views before the cut
    settings: EvaluationSettings
    tasks: tuple[Task, ...]
    rows: tuple[Row, ...]
    borda: dict[str, float]  # by rival, the best first
    leaking: tuple[str, ...]  # tasks whose aggregates pass 0.98
    shuffled: dict[str, float]  # by task, the score with shuffled labels
    notes: tuple[str, ...]  # what was left out, and why
    folder: Path  # of its tables
    shared_folder: Path  # of vectors and cells

    @property
    def results(self) -> list[Result]:
        return [row.result for row in self.rows]


def evaluate_models(
    lake: OpenLake,
    settings: EvaluationSettings,
    model_ids: Sequence[str] = (),
    as_of: date | None = None,
    processes: int = 1,
    progress: _Progress = lambda line: None,
) -> Evaluation:
    """Judge these models, or the champion. Rivals are tested against the first one."""
    rivals = known_rivals(settings.rivals)
    names = list(model_ids) or [champion_id(lake)]
    day = as_of or newest_cut(lake, settings.horizon_days)
    _must_have_views_after(lake, day, settings.horizon_days)
    trainings = lake.places.evaluations / "models"
    models = []
    for name in names:
        progress(f"model {name}")
        models.append(judged_model(lake, name, day, trainings))
    views = read_views(lake, day, settings.horizon_days, settings.max_users)
    tasks = _choose_tasks(lake, views, day, settings)
    run_id = _evaluation_id(lake, day, settings, models)
    folder = lake.places.evaluations / f"{day}-{run_id}"
    shared = lake.places.evaluations / "shared" / f"{day}-{_evaluation_id(lake, day, settings, ())}"
    for each in (folder, shared / "vectors", shared / "cells"):
        each.mkdir(parents=True, exist_ok=True)
    files = VectorFiles(lake, views, day, models, shared / "vectors", trainings, settings.seed)
    made, notes = _vectors(files, rivals, progress)
    stale = list(files.stale(settings.stale_days)) if settings.stale_days else []
    cells = list(_cells(views, day, settings, tasks, made, stale))
    shuffled = _canaries(cells, made, tasks)
    results = _evaluated(cells, shared / "cells", processes, progress)
    leaking = leaking_tasks(results, HAND_MADE)
    must_not_solve(results, leaking)
    return Evaluation(
        evaluation_id=f"{day}-{run_id}",
        as_of=day,
        model_id=names[0],
        twins=tuple(model.model_id for model in models if model.is_twin),
        settings=settings,
        tasks=tuple(tasks),
        rows=tuple(compare_results(results, names[0])),
        borda=borda_points(results, leaking, left_out=(JOINED_RIVAL,)),
        leaking=tuple(leaking),
        shuffled=shuffled,
        notes=tuple(notes),
        folder=folder,
        shared_folder=shared,
    )


def _choose_tasks(
    lake: OpenLake, views: Views, as_of: date, settings: EvaluationSettings
) -> list[Task]:
    """The named tasks, or every task from logs and every file of labels."""
    periods = Periods.cut(
        views,
        as_of,
        settings.horizon_days,
        settings.propensity_of,  # type: ignore[arg-type]  # the settings have checked it
        settings.next_topic_of,  # type: ignore[arg-type]
    )
    files = labels_files(lake.places.labels)
    if both := sorted(LOG_TASKS.keys() & files.keys()):
        raise BadInput(f"{files[both[0]]} has the name of a task from logs: rename the file")
    names = settings.tasks or (*LOG_TASKS, *files)
    if unknown := [name for name in names if name not in {**LOG_TASKS, **files}]:
        raise BadInput(
            f"there is no task {unknown[0]}; the tasks are {', '.join([*LOG_TASKS, *files])} "
            f"(files of labels lie in {lake.places.labels})"
        )
    made = [
        LOG_TASKS[name](periods)
        if name in LOG_TASKS
        else read_task(files[name], periods.past, as_of)
        for name in names
    ]
    return [task.judgeable() for task in made]


def _must_have_views_after(lake: OpenLake, day: date, horizon_days: int) -> None:
    newest = newest_cut(lake, horizon_days)
    if day > newest:
        raise BadInput(
            f"--as-of {day} leaves fewer than {horizon_days} days of views for the labels; "
            f"the newest day that has them is {newest}"
        )


def _evaluation_id(
    lake: OpenLake, day: date, settings: EvaluationSettings, models: Sequence[JudgedModel]
) -> str:
    fixed = asdict(replace(settings, tasks=(), rivals=(), promotion_tasks=()))
    tables = {name: lake.versions[name] for name in ("sessions", "titles", "browsing_logs")}
    folders = [(model.model_id, model.folder.name) for model in models]
    text = json.dumps([_PROTOCOL, str(day), fixed, tables, folders], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _vectors(
    files: VectorFiles, rivals: Sequence[str], progress: _Progress
) -> tuple[list[VectorFile], list[str]]:
    """The vectors of models and rivals; a rival that is left out becomes a note."""
    made, notes = list(files.of_models()), []
    for rival in rivals:
        progress(f"vectors of {rival}")
        try:
            made.append(files.of_rival(rival))
        except RivalLeftOut as error:
            notes.append(str(error))
    return made, notes


def _cells(
    views: Views,
    as_of: date,
    settings: EvaluationSettings,
    tasks: Sequence[Task],
    made: Sequence[VectorFile],
    stale: Sequence[VectorFile],
) -> Iterator[Cell]:
    """Every task with every rival, and the staleness curve of a few of them.

    The curve is of users who had a view before the oldest of its vectors, at every age the same.
    """
    num_views = views.before(as_of).counts()
    for task in tasks:
        for file in made:
            yield Cell(task, file.rival, file.path, file.content, num_views, settings)
    for file in stale:
        for task in tasks:
            if task.name in _STALE_TASKS:
                yield Cell(
                    _seen_early(task, views, as_of, max(settings.stale_days)),
                    file.rival,
                    file.path,
                    file.content,
                    num_views,
                    settings,
                    file.stale_days,
                    is_stale_curve=True,
                )


def _seen_early(task: Task, views: Views, as_of: date, days: int) -> Task:
    early = views.before(as_of - timedelta(days=days)).counts() > 0
    kept = early[task.users]
    return replace(task, users=task.users[kept], labels=task.labels[kept])


def _canaries(
    cells: Sequence[Cell], made: Sequence[VectorFile], tasks: Sequence[Task]
) -> dict[str, float]:
    """Stop where vectors hold a label; return each task's score with shuffled labels."""
    for file in made:
        if file.rival not in HAND_MADE and file.rival != JOINED_RIVAL:
            vectors = np.load(file.path, mmap_mode="r")
            for task in tasks:
                must_not_hold_labels(task, file.rival, vectors)
    of_first = [c for c in cells if c.rival == made[0].rival and not c.is_stale_curve]
    return {cell.task.name: must_be_chance_when_shuffled(cell) for cell in of_first}


def _evaluated(
    cells: Sequence[Cell], folder: Path, processes: int, progress: _Progress
) -> list[Result]:
    """The results of all cells in their order, those that are missing by parallel processes."""
    results = {cell.file_name: finished_results(cell, folder) for cell in cells}
    missing = [cell for cell in cells if results[cell.file_name] is None]
    if processes > 1 and len(missing) > 1:
        made = run_in_processes(evaluate_cell, missing, folder, processes, _one_thread)
    else:
        made = _one_by_one(missing, folder)
    done = len(cells) - len(missing)
    for cell, found in made:
        results[cell.file_name] = found
        done += 1
        progress(f"cell {done} of {len(cells)}: {cell.name}")
    return [result for cell in cells for result in results[cell.file_name] or ()]


def _one_by_one(cells: Sequence[Cell], folder: Path) -> Iterator[tuple[Cell, list[Result]]]:
    from threadpoolctl import threadpool_limits

    for cell in cells:
        with threadpool_limits(1):
            found = evaluate_cell(cell, folder)
        yield cell, found


def _one_thread() -> None:
    """A process a core: more threads of numpy would only wait for each other."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
