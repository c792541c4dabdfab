"""Trained models and their status: which may be served, is served, and was served.

userbert models register MODEL_ID            from its folder below USERBERT_DATA/models
userbert models judge MODEL_ID [--register] [--promote]   fit to be the champion? refused if not
userbert models promote MODEL_ID             readers see its vectors from one commit on
userbert models promote MODEL_ID --force --reason TEXT    though it is unjudged, or was refused
userbert models rollback                     back to the champion before
userbert models retire|refuse MODEL_ID --reason TEXT
userbert models align NEW --to OLD           NEW's vectors in OLD's space, as a model of its own
userbert models stability MODEL_ID           neighbors kept from night to night, for its card
userbert models privacy [MODEL_ID]           what its vectors give away about people, for its card
userbert models list | show MODEL_ID | compare MODEL_ID MODEL_ID      at once, without Spark

The table `models` is the truth of who the champion is, and published_embeddings follows it, and
the online store follows that. A promotion needs a model that was judged fit against the champion.
A rollback first embeds the published days that the model before lacks; with --allow-missing-days
it leaves them out. It passes over refused models, and returns to retired ones.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table as Grid

from contracts.errors import BadInput
from contracts.paths import Places
from contracts.terminal.command_line import command_group
from contracts.terminal.options import ModelId
from contracts.terminal.printing import grid, print_parts
from contracts.vectors import describe_blocks, vector_blocks
from model.objective.calibration import is_calibration_bin
from model.task_registry import METRICS
from spark_jobs.registry.downstream_results import downstream_results, staleness_results
from spark_jobs.registry.model_card import model_card
from spark_jobs.registry.privacy_lines import read_privacy
from spark_jobs.registry.stability_lines import read_stability
from spark_jobs.tables.forgotten_users import SeenUsers, forgotten_lines, seen_by_models
from spark_jobs.tables.models import (
    Model,
    Models,
    find_model,
    model_folder,
    read_models,
    settings_of_models,
)

# The commands that change something import Spark; those that only look take less than a second.
if TYPE_CHECKING:
    from spark_jobs.registry.promotion import Registry

_BY_HAND = "promoted by hand"  # the reason of a promotion for which none is given
_LISTED_MEASURES = (*(f"{metric}_accuracy" for metric in METRICS), "effective_rank")


def model_list(models: Models, seen: Mapping[str, SeenUsers] = MappingProxyType({})) -> Grid:
    """`seen` are those models that were trained on users who were forgotten since."""
    rows = []
    for m in models.values():
        measures = json.loads(m.measures)
        values = ", ".join(f"{measures[n]:.3g}" for n in _LISTED_MEASURES if n in measures)
        since = f"{m.status_changed_at:%Y-%m-%d %H:%M}"
        blocks = describe_blocks(vector_blocks(json.loads(m.settings)))
        rows.append(
            (
                m.model_id,
                m.status,
                since,
                m.trained_before,
                values,
                m.space_id,
                blocks,
                *([str(seen.get(m.model_id, ""))] if seen else []),
                m.status_reason,
            )
        )
    columns = ("model_id", "status", "since (UTC)", "trained before", "measures", "space", "blocks")
    return grid(rows, *columns, *(["saw forgotten users"] if seen else []), "reason")


def _comparison_grid(one: Model, other: Model) -> Grid:
    """All measures of two models, and the settings that differ."""
    table = grid(_compared(one, other), "", one.model_id, other.model_id)
    same_users = (one.inputs, one.trained_before) == (other.inputs, other.trained_before)
    table.caption = None if same_users else "of other days: `judge` measures on the same users"
    return table


def _compared(one: Model, other: Model) -> Iterator[tuple[str, str, str]]:
    yield "status", one.status, other.status
    yield "trained before", str(one.trained_before), str(other.trained_before)
    yield "space", one.space_id, other.space_id
    measures = [json.loads(model.measures) for model in (one, other)]
    for name in sorted(measures[0] | measures[1]):
        if is_calibration_bin(name):  # the card has them
            continue
        first, second = (f"{m[name]:.4g}" if name in m else "-" for m in measures)
        yield name, first, second
    settings = [json.loads(model.settings) for model in (one, other)]
    for name in sorted(settings[0] | settings[1]):
        first, second = (str(values.get(name)) for values in settings)
        if first != second:
            yield name, first, second


app = command_group(__doc__)

_AllowMissingDays = Annotated[
    bool,
    typer.Option(
        "--allow-missing-days",
        help="Let readers lose the days of which the model has no vectors.",
    ),
]
_REASON = "Why; it is kept next to the status."
_Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help=_REASON)]


def _registry(action: str) -> "Registry":
    from spark_jobs.lake.lake import Lake
    from spark_jobs.registry.promotion import Registry
    from spark_jobs.spark.session import session

    places = Places.from_environment()
    return Registry(Lake(session(f"models {action}"), places.lake), places)


def _models() -> Models:
    """All models, for commands that only look: a JVM would take ten seconds to start."""
    return read_models(Places.from_environment())


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _print_change(registry: "Registry", line: str) -> None:
    """What was done, and whether the feature store has followed."""
    from spark_jobs.registry.online_store import refresh_online_store

    _print(line)
    _print(refresh_online_store(registry.lake, registry.places))


@app.command("list")
def list_models() -> None:
    """List all models, the oldest first."""
    models, places = _models(), Places.from_environment()
    print_parts(model_list(models, seen_by_models(places, settings_of_models(models))))


@app.command()
def register(model_id: ModelId) -> None:
    """Take a finished training as a candidate."""
    model = _registry("register").register(model_id)
    _print(f"{model.model_id} is {model.status}: {model.status_reason}")


@app.command()
def show(model_id: ModelId) -> None:
    """Print the model's card, in Markdown."""
    places = Places.from_environment()
    results, stale = (read(places, model_id) for read in (downstream_results, staleness_results))
    stability, privacy = read_stability(places, model_id), read_privacy(places, model_id)
    models = _models()
    model = find_model(models, model_id)
    seen = seen_by_models(places, settings_of_models(models)).get(model_id)
    forgotten = list(forgotten_lines(seen, model_folder(places, model)))
    _print(model_card(model, results, stale, stability, privacy, forgotten))


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
        registry.register(model_id)
    fit = registry.judge(model_id)
    if promote:
        registry.promote(model_id, fit)
        _print_change(registry, f"{model_id} is {fit} and the champion now")
    else:
        _print(f"{model_id} is {fit}")


@app.command()
def promote(
    model_id: ModelId,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help=f"{_REASON} [default: {_BY_HAND}]")
    ] = "",
    force: Annotated[
        bool,
        typer.Option("--force", help="Promote a model that is not judged or was refused."),
    ] = False,
    allow_missing_days: _AllowMissingDays = False,
) -> None:
    """Make the model the champion, and its vectors the published ones; exit code 3 if unjudged."""
    if force and not reason.strip():
        raise BadInput("--force needs --reason TEXT: why this model, which is kept with its status")
    registry = _registry("promote")
    registry.promote(model_id, reason or _BY_HAND, force, allow_missing_days)
    _print_change(registry, f"{model_id} is the champion")


@app.command()
def rollback(allow_missing_days: _AllowMissingDays = False) -> None:
    """Go back to the champion before; the days that it lacks are embedded first."""
    registry = _registry("rollback")
    model_id = registry.rollback(allow_missing_days)
    _print_change(registry, f"{model_id} is the champion again")


@app.command()
def retire(model_id: ModelId, reason: _Reason) -> None:
    """Take the model off the candidates; a rollback may still return to it."""
    _registry("retire").exclude(model_id, "retired", reason)
    _print(f"{model_id} is retired")


@app.command()
def refuse(model_id: ModelId, reason: _Reason) -> None:
    """Exclude the model from promotions; a rollback passes over it."""
    _registry("refuse").exclude(model_id, "refused", reason)
    _print(f"{model_id} is refused")


@app.command()
def compare(
    one: ModelId,
    other: Annotated[str, typer.Argument(metavar="OTHER_ID", help="The other model's id.")],
) -> None:
    """Show the measures and settings of two models next to each other."""
    if one == other:
        raise BadInput(f"{one} is the same model as {other}: name two")
    models = _models()
    print_parts(_comparison_grid(find_model(models, one), find_model(models, other)))
