"""How stable a model's vectors are: for users who did nothing, for one new view, for another seed.

userbert models stability MODEL_ID
userbert models stability MODEL_ID --as-of 2017-07-01 --other OTHER_ID   of another seed

Each is the share of a user's 10 nearest users that stay. The figures go to the model's card.
"""

import json
import sys
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from analyst.lake_access.open_lake import OpenLake, open_lake
from contracts.errors import BadInput
from contracts.instants import DAY_MICROSECONDS
from contracts.paths import Places
from contracts.storage.atomic_write import write_text
from contracts.terminal.options import ModelId, day_option
from downstream.data.views import Views, newest_cut, read_views
from downstream.rivals.encoders import vectors_as_of
from model.inference.alignment import MAX_COMPARED_USERS
from model.storage.checkpoint import TrainedModel, load_model
from model.vector_measures import neighbors_kept
from spark_jobs.registry.stability_lines import stability_file

_MIN_USERS = 20  # fewer have no ten neighbors worth the name


@dataclass(frozen=True)
class Stability:
    """Shares of a user's 10 nearest; None where too few users allow one."""

    as_of: str
    users: int  # who were compared
    unchanged_users: int  # without a view on the day before as_of
    kept_by_unchanged: float | None  # from one night to the next, among users without a new view
    kept_with_one_view: float | None  # of a vector with the newest view, by the one without it
    other_model: str | None
    kept_across_models: float | None  # that another training names too


def measure_stability(
    lake: OpenLake, model_id: str, as_of: date | None = None, other_id: str | None = None
) -> Stability:
    """As of a night: each user's vector is of the day after the newest view, as tables have it."""
    trained = load_model(lake.model_folder(model_id))
    day = as_of or newest_cut(lake, 0)
    views = read_views(lake, day, 0, MAX_COMPARED_USERS)
    if len(views) < _MIN_USERS:
        raise BadInput(
            f"{len(views)} users have views before {day}, and neighbors need {_MIN_USERS}: choose "
            "another day with --as-of"
        )
    vectors = _served(trained, views)
    night_before = views.before(day - timedelta(days=1))
    unchanged = night_before.counts() == views.counts()
    across = None
    if other_id:
        other = _served(load_model(lake.model_folder(other_id)), views)
        across = neighbors_kept(vectors, vectors, other, other)
    return Stability(
        as_of=str(day),
        users=len(views),
        unchanged_users=int(unchanged.sum()),
        kept_by_unchanged=_kept_by_unchanged(trained, views, night_before, unchanged),
        kept_with_one_view=_kept_with_one_view(trained, views, vectors),
        other_model=other_id,
        kept_across_models=across,
    )


def _kept_by_unchanged(
    trained: TrainedModel, now: Views, before: Views, unchanged: NDArray[np.bool_]
) -> float | None:
    """Both nights are embedded anew: a vector must follow from the user's views alone."""
    if unchanged.sum() < _MIN_USERS:
        return None
    vectors, earlier = (_served(trained, each.of_users(unchanged)) for each in (now, before))
    return neighbors_kept(vectors, vectors, earlier, earlier)


def _kept_with_one_view(
    trained: TrainedModel, views: Views, vectors: NDArray[np.float32]
) -> float | None:
    """Of users with two views or more, whose neighbors are searched among everybody's vectors."""
    several = views.counts() > 1
    if several.sum() < _MIN_USERS:
        return None
    kept = views.of_users(several)
    is_newest = np.zeros(len(kept.times), bool)
    is_newest[kept.offsets[1:] - 1] = True
    without = vectors_as_of(trained, kept.where(~is_newest), _nights(kept))
    full = vectors[several]
    return neighbors_kept(full, full, without, full)


def _served(trained: TrainedModel, views: Views) -> NDArray[np.float32]:
    return vectors_as_of(trained, views, _nights(views))


def _nights(views: Views) -> NDArray[np.int64]:
    """(N,) the first midnight after each user's newest view: as of it a night embeds the user."""
    newest = views.times[views.offsets[1:] - 1]
    return (newest // DAY_MICROSECONDS + 1) * DAY_MICROSECONDS


def write_stability(places: Places, model_id: str, found: Stability) -> None:
    path = stability_file(places, model_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(asdict(found), indent=1) + "\n")


def main(
    model_id: ModelId,
    as_of: Annotated[
        date | None,
        day_option("--as-of", help="The night's UTC day. [default: after the newest view]"),
    ] = None,
    other: Annotated[
        str | None,
        typer.Option(
            "--other", metavar="MODEL_ID", help="A model that was trained alike, with another seed."
        ),
    ] = None,
) -> None:
    with open_lake() as lake:
        found = measure_stability(lake, model_id, as_of, other)
        write_stability(lake.places, model_id, found)
    for name, value in asdict(found).items():
        sys.stdout.write(f"{name}: {value}\n")
