"""Turn a model's vectors into the space of another model, as a model of its own.

userbert models align NEW --to OLD
userbert models align NEW --to champion      the champion now; NEW itself where there is none
userbert models align NEW --to founder       the model that founded the champion's space

The map is orthogonal and fitted to users whom both models embed as of a day; users held out of
the fit measure the agreement. A product of two of NEW's vectors is what it was, so are NEW's
losses, rankings and forecasts. The last line of output is the id of the aligned model, which
`userbert models judge ID --register` takes further. Exit code 3 where the models agree too little.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from analyst.lake_access.open_lake import OpenLake, open_lake
from contracts.errors import BadInput, GateFailed, MissingTable
from contracts.evaluation_settings import EvaluationSettings
from contracts.terminal.options import ModelId, day_option
from contracts.vectors import SPACE_ANGLE, founder_of, vector_blocks
from downstream.data.views import newest_cut, read_views
from downstream.judging.carried_heads import CarriedHead, TwoModels, carried_heads
from downstream.rivals.encoders import model_vectors
from downstream.tasks.from_logs import LOG_TASKS, Periods
from downstream.tasks.task import Task
from model.inference.alignment import Agreement, fit_and_held_out, fit_rotation, measure_agreement
from model.one_thread import one_thread
from model.storage.checkpoint import Manifest, TrainedModel, load_model, write_aligned_copy
from spark_jobs.tables.models import champion_model, read_models

if TYPE_CHECKING:
    from downstream.data.views import Views

CHAMPION, FOUNDER, NOBODY = "champion", "founder", "none"
DEFAULT_LEAST_COSINE = 0.5  # of held-out users; of two unrelated models the mean is about 0
_MIN_USERS = 100  # whom both models embed: of fewer the map is luck
_TASKS = ("propensity", "preference", "churn", "activity", "return_time")


@dataclass(frozen=True)
class Alignment:
    """An aligned model, and how well it agrees with the one that it was aligned with."""

    model_id: str
    agreement: Agreement
    heads: tuple[CarriedHead, ...]  # none where the lake has no days for labels


@dataclass(frozen=True)
class AlignmentChoices:
    """What shapes an alignment, besides the two models."""

    as_of: date | None = None  # the common day; None: that of the new model's training
    least_cosine: float = DEFAULT_LEAST_COSINE
    splits: int = 5  # of the users, for heads that were not retrained; 0: none are fitted
    seed: int = 0


def align_models(
    lake: OpenLake, new_id: str, old_id: str, choices: AlignmentChoices = AlignmentChoices()
) -> Alignment:
    """Write the aligned model beside the others; `GateFailed` where the models agree too little."""
    if new_id == old_id:
        raise BadInput(f"{new_id} was to be aligned with itself: name another model by --to")
    new, old = (load_model(lake.model_folder(model_id)) for model_id in (new_id, old_id))
    blocks = _common_blocks(new.manifest, old.manifest)
    day = choices.as_of or new.manifest.trained_before
    with one_thread():
        users, models, tasks = _vectors(lake, new, old, day, blocks, bool(choices.splits))
        fit, held_out = (users[rows] for rows in fit_and_held_out(len(users), choices.seed))
        rotation = fit_rotation(models.new_at_fit[fit], models.old_at_fit[fit], blocks)
        found = measure_agreement(
            models.new_at_fit[held_out], models.old_at_fit[held_out], rotation, blocks
        )
        _must_agree(new_id, old_id, found, choices.least_cosine)
        heads = tuple(carried_heads(models, users, tasks, choices.splits, choices.seed))
    facts = {"to": old_id, "as_of": str(day), "seed": choices.seed, "fit_users": len(fit)}
    folder = _write(lake, new, old.manifest, rotation, facts, _measures(old.manifest, found, heads))
    return Alignment(folder.name, found, heads)


def _common_blocks(new: Manifest, old: Manifest) -> dict[str, slice]:
    """The blocks of both models' vectors; `BadInput` where they are not the same."""
    ours, theirs = (vector_blocks(each.settings) for each in (new, old))
    widths = [each.config.model.width for each in (new, old)]
    if new.alignment:
        raise BadInput(
            f"{new.model_id} is an aligned model already: align the one that it was made of, "
            f"{new.alignment['from']}"
        )
    if ours != theirs or widths[0] != widths[1]:
        raise BadInput(
            f"{new.model_id} has vectors of {widths[0]} numbers with the blocks {ours or 'none'}, "
            f"and {old.model_id} of {widths[1]} with {theirs or 'none'}: no rotation keeps the "
            "meaning of a block, so the new model founds a space of its own"
        )
    return ours


def _vectors(
    lake: OpenLake,
    new: TrainedModel,
    old: TrainedModel,
    day: date,
    blocks: Mapping[str, slice],
    with_heads: bool,
) -> tuple[NDArray[np.int64], TwoModels, list[Task]]:
    """The rows of users whom both embed as of `day`, all vectors, and the tasks after a cut."""
    settings = EvaluationSettings.from_environment()
    cut = _cut(lake, day, settings.horizon_days) if with_heads else None
    views = read_views(lake, cut or day, settings.horizon_days if cut else 0, settings.max_users)
    tasks = list(_tasks(views, cut, settings)) if cut else []
    new_at_fit, old_at_fit, new_at_cut, old_at_cut = (
        model_vectors(trained, views.before(as_of), as_of)
        for as_of in (day, cut or day)
        for trained in (new, old)
    )
    users = np.flatnonzero(new_at_fit.any(axis=1) & old_at_fit.any(axis=1))
    if len(users) < _MIN_USERS:
        raise MissingTable(
            f"both models embed {len(users)} users as of {day}, and an alignment needs "
            f"{_MIN_USERS}: choose another day with --as-of"
        )
    models = TwoModels(new_at_fit, old_at_fit, new_at_cut, old_at_cut, blocks)
    return users, models, tasks


def _cut(lake: OpenLake, day: date, horizon_days: int) -> date | None:
    """The newest day with labels after it, no later than `day`; None without any."""
    first = lake.sql("SELECT min(start_time)::DATE FROM sessions").fetchone()
    cut = min(day, newest_cut(lake, horizon_days))
    return cut if first and first[0] and cut > first[0] else None


def _tasks(views: "Views", cut: date, settings: EvaluationSettings) -> Iterator[Task]:
    """The judge's tasks from logs; one that too few users have labels of is left out."""
    periods = Periods.cut(views, cut, settings.horizon_days)
    for name in _TASKS:
        try:
            yield LOG_TASKS[name](periods).judgeable()
        except BadInput as error:
            sys.stderr.write(f"{error}\n")


def _must_agree(new_id: str, old_id: str, found: Agreement, least: float) -> None:
    if not found.cosine >= least:
        raise GateFailed(
            f"{new_id} is not aligned with {old_id}: of {found.users} users held out of the fit "
            f"the mean cosine is {found.cosine:.3f}, and {least:g} is needed (--least-cosine). "
            f"{new_id} stays in a space of its own"
        )


def _measures(old: Manifest, found: Agreement, heads: Sequence[CarriedHead]) -> dict[str, float]:
    """What the card says: the agreement, the heads, and the angle to the founder of the space."""
    measures = found.measures()
    measures[SPACE_ANGLE] = old.measures.get(SPACE_ANGLE, 0.0) + found.angle_degrees
    for head in heads:
        measures |= head.measures()
    return measures


def _write(
    lake: OpenLake,
    new: TrainedModel,
    old: Manifest,
    rotation: NDArray[np.float64],
    facts: Mapping[str, object],
    measures: Mapping[str, float],
) -> Path:
    import torch

    manifest = new.manifest
    return write_aligned_copy(
        lake.model_folder(manifest.model_id),
        lake.places.models,
        torch.from_numpy(rotation),
        {"from": manifest.model_id, **facts},
        space_id=old.space,
        measures=manifest.measures | dict(measures),
    )


def main(
    new: ModelId,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="MODEL_ID",
            help="The model of the space; champion, founder (of the champion's space), or none, "
            "which leaves NEW as it is.",
        ),
    ],
    as_of: Annotated[
        date | None,
        day_option(
            "--as-of", help="The day of the common vectors. [default: NEW's day of training]"
        ),
    ] = None,
    least_cosine: Annotated[
        float,
        typer.Option(
            "--least-cosine", help="Refuse below this mean cosine of users held out of the fit."
        ),
    ] = DEFAULT_LEAST_COSINE,
    splits: Annotated[
        int,
        typer.Option(
            "--splits",
            help="Splits of the users in which heads that were not retrained are judged; 0: none.",
        ),
    ] = 5,
    seed: Annotated[int, typer.Option("--seed", help="Of the users held out.")] = 0,
) -> None:
    with open_lake() as lake:
        old = _model_named(lake, to)
        if old in (None, new):
            _print(f"{new} is not turned: it stays in its own space", new)
            return
        choices = AlignmentChoices(as_of, least_cosine, splits, seed)
        found = align_models(lake, new, str(old), choices)
    _print(*_report(found), found.model_id)


def _model_named(lake: OpenLake, to: str) -> str | None:
    if to == NOBODY:
        return None
    if to not in (CHAMPION, FOUNDER):
        return to
    champion = champion_model(read_models(lake.places))
    if champion is None:
        return None
    return champion.model_id if to == CHAMPION else founder_of(champion.space_id)


def _report(found: Alignment) -> Iterator[str]:
    seen = found.agreement
    yield (
        f"{seen.users:,} users held out of the fit: mean cosine {seen.cosine:.3f} "
        f"(unaligned {seen.cosine_unaligned:.3f}), angle {seen.angle_degrees:.1f} degrees, "
        f"neighbors kept {seen.neighbors_kept:.0%}, length ratio {seen.length_ratio:.2f}"
    )
    for name, cosine in seen.block_cosines.items():
        yield f"  {name}: mean cosine {cosine:.3f}"
    for head in found.heads:
        yield (
            f"  {head.task} ({head.metric}): retrained {head.retrained:.3f}, not retrained "
            f"{head.carried:.3f}, without alignment {head.carried_unaligned:.3f}"
        )


def _print(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
