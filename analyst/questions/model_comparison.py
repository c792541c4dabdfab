"""Two models over the same days, each in its own space: no vector is compared with the other's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from rich.table import Table as Grid

from analyst.lake_access.open_lake import OpenLake, open_lake
from analyst.output.answers import print_answer
from analyst.questions.drift import describe_moves
from analyst.vectors.model_space import Vectors
from analyst.vectors.search import neighbors_kept_between
from analyst.vectors.vector_cache import space_of
from contracts.errors import BadInput, MissingTable
from contracts.paths import Places
from contracts.tables import USER_EMBEDDINGS
from contracts.terminal.printing import grid

_MAX_COMPARED_USERS = 200  # users a day whose neighbors are compared
_NUM_NEIGHBORS = 10
_NO_VECTORS = np.empty((0, 0), np.float32)


@dataclass(frozen=True)
class Side:
    """One model on one day."""

    users: int  # with a vector as of the day itself
    norm_median: float
    norm_least: float
    norm_most: float
    moved: float | None  # mean cosine distance of its users' vectors from the compared day before


@dataclass(frozen=True)
class SameDay:
    as_of: date
    new: Side
    old: Side
    in_both: int
    only_new: int
    only_old: int
    neighbors_kept: float | None  # share of a user's K nearest that both models agree on


@dataclass(frozen=True)
class Comparison:
    new_model: str
    old_model: str
    k: int
    by_chance: float | None  # neighbors_kept of two models that have nothing in common, last day
    days: list[SameDay]


def compare_models(
    lake: OpenLake,
    new: str,
    old: str,
    days: Sequence[date],
    k: int = _NUM_NEIGHBORS,
    users: int = _MAX_COMPARED_USERS,
) -> Comparison:
    """Compare `new` with `old` on each of `days` of which either has vectors."""
    if new == old:
        raise BadInput(f"{new} was to be compared with itself: name another one by --with")
    lake.need(USER_EMBEDDINGS)
    found = list(_days(lake, new, old, days, k, users))
    if not found:
        raise MissingTable(
            f"neither {new} nor {old} has vectors from {days[0]} to {days[-1]}: "
            f"`userbert backfill run --model {new}` makes them"
        )
    shared = found[-1].in_both
    chance = min(1.0, k / (shared - 1)) if shared > 1 else None
    return Comparison(new, old, k, chance, found)


def _days(
    lake: OpenLake, new: str, old: str, days: Sequence[date], k: int, users: int
) -> Iterator[SameDay]:
    before: dict[str, Vectors] = {}
    for day in sorted(days):
        now = {model: _vectors_of_day(lake, model, day) for model in (new, old)}
        if not any(len(vectors) for vectors in now.values()):
            continue
        yield _same_day(day, now[new], now[old], before, k, users)
        before |= {model: vectors for model, vectors in now.items() if len(vectors)}


def _vectors_of_day(lake: OpenLake, model: str, day: date) -> Vectors:
    """The vectors of this very day; there may be none."""
    rows = lake.connection.execute(
        """SELECT user_id, embedding FROM user_embeddings
        WHERE model_id = $model AND as_of = $day ORDER BY user_id""",
        {"model": model, "day": day},
    ).to_arrow_table()
    vectors: Any = rows["embedding"].combine_chunks()  # its type stubs know no lists
    flat = vectors.flatten().to_numpy(zero_copy_only=False)
    matrix = (
        flat.astype(np.float32, copy=False).reshape(len(rows), -1) if len(rows) else _NO_VECTORS
    )
    user_ids = np.asarray(rows["user_id"].to_pylist(), np.str_)
    days = np.full(len(rows), day, "datetime64[D]")
    return Vectors(model, day, user_ids, days, matrix, space_of(lake.connection, model))


def _same_day(
    day: date, new: Vectors, old: Vectors, before: dict[str, Vectors], k: int, users: int
) -> SameDay:
    both = len(np.intersect1d(new.user_ids, old.user_ids, assume_unique=True))
    return SameDay(
        day,
        _side(new, before.get(new.model_id)),
        _side(old, before.get(old.model_id)),
        both,
        len(new) - both,
        len(old) - both,
        neighbors_kept_between(new, old, k, users) if both > 1 else None,
    )


def _side(vectors: Vectors, before: Vectors | None) -> Side:
    if not len(vectors):
        return Side(0, 0.0, 0.0, 0.0, None)
    low, middle, high = np.quantile(vectors.norms, (0, 0.5, 1)).tolist()
    moved = describe_moves(1 - before.cosine(vectors)) if before is not None else None
    return Side(len(vectors), middle, low, high, moved.mean if moved else None)


def _comparison_grid(found: Comparison) -> Grid:
    rows = (
        (
            str(day.as_of),
            day.new.users,
            day.old.users,
            day.in_both,
            day.neighbors_kept,
            *(
                f"{s.norm_median:.2f} ({s.norm_least:.2f} to {s.norm_most:.2f})"
                for s in _sides(day)
            ),
            *(side.moved for side in _sides(day)),
        )
        for day in found.days
    )
    norms, moved = ("#norms: new", "#old"), ("#moved: new", "#old")
    return grid(rows, "as of", "#users: new", "#old", "#in both", "#kept", *norms, *moved)


def _sides(day: SameDay) -> tuple[Side, Side]:
    return day.new, day.old


def print_comparison(
    places: Places, new: str, old: str, days: Sequence[date], k: int, as_json: bool
) -> None:
    found = compare_models(open_lake(places), new, old, days, k)
    chance = "" if found.by_chance is None else f" (by chance: {found.by_chance:.4f})"
    words = (
        f"new: {new}\nold: {old}",
        f"kept: share of a user's {k} nearest that both models name{chance}; "
        "moved: mean cosine distance from the day before, within each model's own space",
    )
    print_answer(found, as_json, words[0], _comparison_grid(found), words[1])
