"""Trained models and their standing: who may serve, who serves, who served.

userbert models register MODEL_ID            from its folder below USERBERT_DATA/models
userbert models judge MODEL_ID [--register] [--promote]   fit to be the champion? refused if not
userbert models promote MODEL_ID             readers see its vectors from one commit on
userbert models rollback                     back to the champion before
userbert models retire|refuse MODEL_ID --reason TEXT
userbert models list | show MODEL_ID | compare MODEL_ID MODEL_ID

The table `models` is the truth of who the champion is, and published_embeddings follows it. A
promotion first sees the new vectors through their gate, then writes `models`, then
published_embeddings. Killed in between, readers stay on the old model, whole; the same command
again, or the next night, finishes it.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table as Grid

from contracts.command_line import command_group
from contracts.errors import BadInput, GateFailed
from contracts.options import ModelId
from contracts.paths import Places
from contracts.printing import grid, print_parts
from model.task_registry import METRICS
from spark_jobs.lake.lake import Lake
from spark_jobs.registry.model_card import card
from spark_jobs.registry.model_status import (
    Model,
    Standing,
    before_champion,
    champion_of,
    change,
    crowned,
    find,
    rolled_back,
    set_aside,
    standing,
)
from spark_jobs.registry.promotion_criteria import faults, in_words
from spark_jobs.spark.session import session
from spark_jobs.tables.published_embeddings import spaces, switch


def from_folder(folder: Path) -> Model:
    """A finished training as a candidate, after every file's checksum was compared."""
    from model.checkpoint import read_manifest  # torch takes two seconds to import

    told, now = read_manifest(folder), datetime.now(UTC)
    return Model(
        model_id=told.model_id,
        created_at=now,
        status="candidate",
        status_changed_at=now,
        status_reason="registered",
        path=str(folder),
        trained_before=told.trained_before,
        settings=json.dumps(told.settings, sort_keys=True),
        inputs=json.dumps(told.inputs, sort_keys=True),
        measures=json.dumps(told.measures, sort_keys=True),
        vocabulary_hash=told.vocabulary_hash,
        code_version=told.code_version,
    )


def registered(models: Standing, new: Model) -> Standing:
    """With `new`, unless it is there: an id is of settings and content, so it is the same model."""
    return models if new.model_id in models else {**models, new.model_id: new}


@dataclass(frozen=True)
class Registry:
    """The commands' deeds on one lake. Each may be repeated; a second rollback goes one further."""

    lake: Lake
    places: Places

    def register(self, folder: Path) -> Model:
        new = from_folder(folder)
        self._change(f"register {new.model_id}", lambda models: registered(models, new))
        return standing(self.lake)[new.model_id]

    def judge(self, model_id: str) -> str:
        """Why it is fit; `GateFailed` when it is not, and its status says so for good."""
        models = standing(self.lake)
        model, champion = find(models, model_id), champion_of(models)
        if champion == model:
            return model.status_reason
        if model.status == "refused":
            raise GateFailed(f"{model_id} is refused: {model.status_reason}")
        new = json.loads(model.measures)
        old = self._measures_beside(model, champion) if champion else None
        if found := faults(new, old):
            self._set(model_id, "refused", "; ".join(found))
            raise GateFailed(f"{model_id} is refused: {'; '.join(found)}; the champion stays")
        fit = f"fit: {in_words(new, old, champion.model_id if champion else '')}"
        self._change(f"judge {model_id}", lambda now: _with_reason(now, model_id, fit))
        return fit

    def _measures_beside(self, model: Model, champion: Model) -> dict[str, float]:
        """The champion's, on the same held-out users: measured again unless they were the same."""
        if (model.inputs, model.trained_before) == (champion.inputs, champion.trained_before):
            return dict(json.loads(champion.measures))
        from model.training.comparison import (
            measures_on_the_same_users,  # torch takes two seconds to import
        )

        folders = Path(model.path), Path(champion.path)
        return measures_on_the_same_users(*folders, self.places.lake, self.places.arrays)

    def promote(self, model_id: str, reason: str, allow_missing_days: bool = False) -> None:
        crowned(standing(self.lake), model_id, reason)  # refuses before anything is computed
        self._switch(model_id, lambda models: crowned(models, model_id, reason), allow_missing_days)

    def rollback(self, allow_missing_days: bool = False) -> str:
        """The champion from now on. One that was killed half-way is finished, not gone beyond."""
        models = standing(self.lake)
        champion = champion_of(models)
        if champion and spaces(self.lake) - {champion.model_id}:
            self._switch(champion.model_id, lambda now: now, allow_missing_days)
            return champion.model_id
        champion, before = before_champion(models)
        from_id, to_id = champion.model_id, before.model_id
        self._switch(to_id, lambda now: rolled_back(now, from_id, to_id), allow_missing_days)
        return to_id

    def set_aside(self, model_id: str, status: str, reason: str) -> None:
        set_aside(standing(self.lake), model_id, status, reason)
        self._set(model_id, status, reason)

    def _set(self, model_id: str, status: str, reason: str) -> None:
        self._change(f"{status} {model_id}", lambda now: set_aside(now, model_id, status, reason))

    def _switch(self, model_id: str, changed: Callable[[Standing], Standing], gaps: bool) -> None:
        crown = f"champion {model_id}"
        switch(self.lake, self.places, model_id, lambda: self._change(crown, changed), gaps)

    def _change(self, run: str, changed: Callable[[Standing], Standing]) -> None:
        change(self.lake, self.places, run, changed)


def _with_reason(models: Standing, model_id: str, reason: str) -> Standing:
    model = find(models, model_id)
    return {**models, model_id: model.now(model.status, reason)}


def listing(models: Standing) -> Grid:
    rows = []
    for m in models.values():
        told = json.loads(m.measures)
        names = (*(f"{metric}_accuracy" for metric in METRICS), "effective_rank")
        values = ", ".join(f"{told[name]:.3g}" for name in names if name in told)
        since = f"{m.status_changed_at:%Y-%m-%d %H:%M}"
        rows.append((m.model_id, m.status, since, m.trained_before, values, m.status_reason))
    return grid(rows, "model_id", "status", "since (UTC)", "trained before", "measures", "why")


def comparison(one: Model, other: Model) -> Grid:
    """All measures side by side, and the settings that differ."""
    rows = [
        ("status", one.status, other.status),
        ("trained before", one.trained_before, other.trained_before),
    ]
    ours, theirs = json.loads(one.measures), json.loads(other.measures)
    for name in sorted(ours | theirs):
        rows.append((name, *(f"{m[name]:.4g}" if name in m else "-" for m in (ours, theirs))))
    mine, yours = json.loads(one.settings), json.loads(other.settings)
    for name in sorted(mine | yours):
        if mine.get(name) != yours.get(name):
            rows.append((name, str(mine.get(name)), str(yours.get(name))))
    table = grid(rows, "", one.model_id, other.model_id)
    same_users = (one.inputs, one.trained_before) == (other.inputs, other.trained_before)
    table.caption = None if same_users else "of other days: `judge` measures on the same users"
    return table


app = command_group(__doc__)

AllowMissingDays = Annotated[
    bool,
    typer.Option(
        "--allow-missing-days",
        help="Let readers lose the days of which the model has no vectors.",
    ),
]
Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept next to the status.")
]


def _registry(action: str) -> Registry:
    places = Places.from_environment()
    return Registry(Lake(session(f"models {action}"), places.lake), places)


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


@app.command("list")
def list_models() -> None:
    """List all models, the oldest first."""
    print_parts(listing(standing(_registry("list").lake)))


@app.command()
def register(model_id: ModelId) -> None:
    """Take a finished training as a candidate."""
    registry = _registry("register")
    model = registry.register(registry.places.models / model_id)
    _print(f"{model.model_id} is {model.status}: {model.status_reason}")


@app.command()
def show(model_id: ModelId) -> None:
    """Print the model's card, in Markdown."""
    _print(card(find(standing(_registry("show").lake), model_id)))


@app.command()
def judge(
    model_id: ModelId,
    register: Annotated[
        bool, typer.Option("--register", help="Register the model first, if that is needed.")
    ] = False,
    promote: Annotated[
        bool, typer.Option("--promote", help="Promote the model, if it is fit.")
    ] = False,
) -> None:
    """Judge whether the model is fit to be the champion; exit code 3, and refused, if not."""
    registry = _registry("judge")
    if register:
        registry.register(registry.places.models / model_id)
    verdict = registry.judge(model_id)
    if promote:
        registry.promote(model_id, verdict)
    _print(f"{model_id} is {verdict}" + (" and the champion now" if promote else ""))


@app.command()
def promote(
    model_id: ModelId,
    reason: Reason = "promoted by hand",
    allow_missing_days: AllowMissingDays = False,
) -> None:
    """Make the model the champion, and its vectors the published ones."""
    _registry("promote").promote(model_id, reason, allow_missing_days)
    _print(f"{model_id} is the champion")


@app.command()
def rollback(allow_missing_days: AllowMissingDays = False) -> None:
    """Go back to the champion before."""
    _print(f"{_registry('rollback').rollback(allow_missing_days)} is the champion again")


@app.command()
def retire(model_id: ModelId, reason: Reason) -> None:
    """Exclude the model from what a rollback may promote."""
    _registry("retire").set_aside(model_id, "retired", reason)
    _print(f"{model_id} is retired")


@app.command()
def refuse(model_id: ModelId, reason: Reason) -> None:
    """Exclude the model from every promotion."""
    _registry("refuse").set_aside(model_id, "refused", reason)
    _print(f"{model_id} is refused")


@app.command()
def compare(
    one: ModelId,
    other: Annotated[str, typer.Argument(metavar="OTHER_ID", help="The other model's id.")],
) -> None:
    """Show the measures and settings of two models next to each other."""
    if one == other:
        raise BadInput(f"{one} is the same model as {other}: name two")
    models = standing(_registry("compare").lake)
    print_parts(comparison(find(models, one), find(models, other)))
