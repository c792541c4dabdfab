"""How a model was trained and what the judge says of it, from its folder and `evaluations`."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from contracts.errors import UserbertError
from contracts.storage.model_folder import check_model_folder, find_model_folder
from contracts.tables import EVALUATIONS, MODELS
from model.task_registry import METRICS, TASKS
from spark_jobs.registry.privacy_lines import PrivacyFigure, privacy_figures, read_privacy
from userbert.report.lake_tables import LakeTables

_MAX_POINTS = 60  # of a curve; more steps are averaged


@dataclass(frozen=True)
class _Curve:
    """A value by step, averaged over equal runs of steps."""

    name: str
    steps: list[int]
    values: list[float]


@dataclass(frozen=True)
class _JudgedTask:
    """The model on one task: all test users, all labels, vectors as of the cut."""

    task: str
    metric: str
    head: str
    mean: float
    deviation: float
    best_rival: str
    best_rival_mean: float
    p_value: float  # that the two are equal
    place: int  # among the rivals, 1 for the best
    rivals: int
    is_leaking: bool


@dataclass(frozen=True)
class TrainingFacts:
    model_id: str
    status: str
    status_reason: str
    trained_before: str
    steps: int
    code: str
    inputs: dict[str, int]
    settings: dict[str, Any]
    measures: dict[str, float]
    losses: list[_Curve]
    accuracies: list[_Curve]  # how often the right candidate scored above its negatives
    chances: dict[str, float]  # of the same tasks
    held_out: list[_Curve]
    judged: list[_JudgedTask] = field(default_factory=list)
    evaluation_id: str = ""
    privacy: list[PrivacyFigure] = field(default_factory=list)


def champion_id(tables: LakeTables) -> str | None:
    return next(
        (row["model_id"] for row in tables.rows(MODELS) if row["status"] == "champion"), None
    )


def newest_model_id(tables: LakeTables) -> str | None:
    """The model that was registered last."""
    rows = sorted(tables.rows(MODELS), key=lambda row: (row["created_at"], row["model_id"]))
    return rows[-1]["model_id"] if rows else None


def day_of_training(tables: LakeTables, model_id: str) -> date:
    """The as_of day of the pairs that the model learned from."""
    rows = {row["model_id"]: row["path"] for row in tables.rows(MODELS)}
    folder = find_model_folder(tables.places.models, model_id, rows.get(model_id))
    return date.fromisoformat(check_model_folder(folder)["trained_before"])


def gather_training(tables: LakeTables, model_id: str | None) -> TrainingFacts | None:
    """None without a model, or where its folder is not whole: the table is what counts then."""
    row = next((row for row in tables.rows(MODELS) if row["model_id"] == model_id), {})
    if model_id is None:
        return None
    folder = find_model_folder(tables.places.models, model_id, row.get("path"))
    try:
        manifest = check_model_folder(folder)
    except UserbertError:
        return None
    steps, held_out = _read_log(folder / "log.jsonl")
    tasks = [task for task in manifest["settings"].get("tasks", []) if task in TASKS]
    measures = {name: value for name, value in manifest["measures"].items() if math.isfinite(value)}
    judged, evaluation_id = _judged_tasks(tables, model_id)
    return TrainingFacts(
        model_id,
        row.get("status", "not registered"),
        row.get("status_reason", ""),
        manifest["trained_before"],
        steps[-1]["step"] if steps else 0,
        manifest["code_version"],
        manifest["inputs"],
        manifest["settings"],
        measures,
        [_curve(name, steps, name) for name in ("loss", *tasks)],
        [_accuracy_curve(task, steps) for task in tasks],
        {task: chance for task in tasks if (chance := _chance(task, manifest["settings"]))},
        [_curve(f"{name}_accuracy", held_out, f"{name}_accuracy") for name in METRICS],
        judged,
        evaluation_id,
        list(privacy_figures(read_privacy(tables.places, model_id))),
    )


def _read_log(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The steps, and the evaluations on held-out users with their steps."""
    steps: list[dict[str, Any]] = []
    held_out: list[dict[str, Any]] = []
    if not path.exists():
        return steps, held_out
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # the last line of a training that was killed
        if "held_out" in entry:
            held_out.append({"step": entry["step"], **entry["held_out"]})
        else:
            steps.append(entry)
    return steps, held_out


def _curve(name: str, entries: Sequence[Mapping[str, Any]], key: str) -> _Curve:
    points = [(entry["step"], entry[key]) for entry in entries if key in entry]
    return _averaged(name, points)


def _accuracy_curve(task: str, entries: Sequence[Mapping[str, Any]]) -> _Curve:
    points = [
        (entry["step"], entry[f"{task}_found"] / entry[f"{task}_targets"])
        for entry in entries
        if entry.get(f"{task}_targets") and f"{task}_found" in entry
    ]
    return _averaged(task, points)


def _averaged(name: str, points: Sequence[tuple[int, float]]) -> _Curve:
    finite = [(step, value) for step, value in points if math.isfinite(value)]
    size = math.ceil(len(finite) / _MAX_POINTS) or 1
    parts = [finite[start : start + size] for start in range(0, len(finite), size)]
    return _Curve(
        name,
        [part[-1][0] for part in parts],
        [sum(value for _, value in part) / len(part) for part in parts],
    )


def _chance(task: str, settings: Mapping[str, Any]) -> float | None:
    """Of a blind guess among a target and its negatives: K titles, or P sequences."""
    name = {"mbp": "K", "nbp": "K", "bsm": "P"}.get(task)
    return 1 / (1 + settings[name]) if name and name in settings else None


def _judged_tasks(tables: LakeTables, model_id: str) -> tuple[list[_JudgedTask], str]:
    """The model's newest evaluation, a row a task and head; empty where it was never judged."""
    is_full = (pc.field("population") == "all") & (pc.field("stale_days") == 0)
    of_model = pc.field("model_id") == model_id
    rows = tables.rows(EVALUATIONS, is_full & of_model)
    if not rows:
        return [], ""
    newest = max(rows, key=lambda row: row["evaluated_at"])["evaluation_id"]
    rows = [row for row in rows if row["evaluation_id"] == newest]
    most = max(row["label_share"] for row in rows)
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        if row["label_share"] == most:
            groups.setdefault((row["task"], row["head"]), []).append(row)
    judged = [_judged_task(group, model_id) for _, group in sorted(groups.items())]
    return [task for task in judged if task is not None], newest


def _judged_task(rows: Sequence[dict[str, Any]], model_id: str) -> _JudgedTask | None:
    own = next((row for row in rows if row["rival"] == model_id), None)
    others = [row for row in rows if row["rival"] != model_id]
    if own is None or not others:
        return None
    best = max(others, key=lambda row: row["mean"])
    return _JudgedTask(
        own["task"],
        own["metric"],
        own["head"],
        own["mean"],
        own["deviation"],
        best["rival"],
        best["mean"],
        best["p_value"],
        1 + sum(row["mean"] > own["mean"] for row in others),
        len(others),
        own["is_leaking"],
    )
