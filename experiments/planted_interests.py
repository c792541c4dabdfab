"""Do users whose vectors are near share the interests that were planted in their logs?

userbert evaluate interests --model nrms-2017-07-01 --as-of 2017-07-01

judges each user's newest vector of that day or an earlier one, on generated logs (`userbert logs
generate`), whose truth is known: of each user's k nearest users by cosine, how many share an
interest, against users drawn by chance (computed exactly, over all pairs), and against other
vectors (--against), for example those of untrained weights (`userbert pretrain --steps 0`). A model
that no day is embedded under gives its vectors here and now, from the same sequences.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from rich.table import Table as Grid

from analyst.lake_access.open_lake import OpenLake, open_lake
from contracts.errors import BadInput, MissingTable
from contracts.paths import Places
from contracts.tables import TITLES, USER_EMBEDDINGS, USER_SEQUENCES
from contracts.terminal.options import AsOf
from contracts.terminal.printing import grid, print_parts

if TYPE_CHECKING:
    import pyarrow as pa

_Floats = npt.NDArray[np.float32]
_Vectors = tuple[list[str], _Floats]  # users, and a row each
_PAIRS_PER_BLOCK = 8 << 20  # pairs of users that are looked at together: 32 MiB a matrix
_AGREEMENT_MEASURES = {
    "shared": "share of users with an interest in common",
    "overlap": "weight of the interests in common",
    "same_main": "share of users with the same main interest",
}


@dataclass(frozen=True)
class Agreement:
    """Means over users, by the names of the measures, and standard errors of `near`'s means."""

    users: int
    k: int
    near: dict[str, float]  # among a user's k nearest users
    error: dict[str, float]
    chance: dict[str, float]  # among all other users


def interest_agreement(
    users: list[str], vectors: _Floats, interests: dict[str, dict[str, float]], k: int
) -> Agreement:
    """How well near users agree in what interests them.

    `vectors` is (N, D), a row a user; `interests` has each user's topics with their weights, and
    users it does not know are left out (bots). Nearest is by cosine; of users that are equally
    near, those that come first in `users` are taken, so the figures are exact and repeatable.

    shared     1 where two users have a topic in common
    overlap    sum over topics of the lesser of the two weights: 1 for equal interests
    same_main  1 where their heaviest topics (of equal ones the first by name) are the same
    """
    known = [row for row, user in enumerate(users) if user in interests]
    if not 0 < k < len(known):
        raise BadInput(f"{len(known)} users have planted interests: k = {k} must be 1 to less")
    weights = _weights([interests[users[row]] for row in known])
    unit = _unit(vectors[known])
    num, step = len(known), max(1, _PAIRS_PER_BLOCK // len(known))
    near, every = [], np.zeros(len(_AGREEMENT_MEASURES))  # every: (M,) sums over all pairs
    for start in range(0, num, step):
        rows = np.arange(start, min(start + step, num))  # (R,)
        nearest = _nearest(unit[rows] @ unit.T, rows, k)  # (R, D) @ (D, N) -> (R, N)
        per_measure = _agreements(weights, rows)
        near.append(np.array([(a * nearest).sum(axis=1) / k for a in per_measure]))
        itself = [a[np.arange(len(rows)), rows].sum() for a in per_measure]
        every += [a.sum(dtype=np.float64) - own for a, own in zip(per_measure, itself, strict=True)]
    per_user = np.concatenate(near, axis=1)  # (M, N)
    spread = per_user.std(axis=1, ddof=1) / np.sqrt(num)
    return Agreement(
        num,
        k,
        near=_named(per_user.mean(axis=1)),
        error=_named(spread),
        chance=_named(every / (num * (num - 1))),
    )


def _named(values: npt.NDArray[Any]) -> dict[str, float]:
    return dict(zip(_AGREEMENT_MEASURES, map(float, values), strict=True))


def _weights(interests: list[dict[str, float]]) -> _Floats:
    """(N, T), a column a topic, in order of name."""
    topics = {t: i for i, t in enumerate(sorted({t for some in interests for t in some}))}
    weights = np.zeros((len(interests), len(topics)), np.float32)
    for row, some in enumerate(interests):
        for topic, weight in some.items():
            weights[row, topics[topic]] = weight
    return weights


def _unit(vectors: _Floats) -> _Floats:
    norms = np.linalg.norm(vectors.astype(np.float32), axis=1, keepdims=True)
    if not (np.isfinite(norms).all() and (norms > 0).all()):
        raise BadInput("a vector is zero or not finite: it has no direction to compare")
    return np.asarray(vectors / norms, np.float32)


def _nearest(similarity: _Floats, rows: npt.NDArray[np.int64], k: int) -> npt.NDArray[np.bool_]:
    """(R, N), True for the k others that are nearest to each of `rows`."""
    similarity[np.arange(len(rows)), rows] = -np.inf
    least = np.partition(similarity, -k, axis=1)[:, -k, None]  # (R, 1)
    nearer = similarity > least
    equal = similarity == least
    # Places left for users that are exactly as near as the k-th: the first of them are taken.
    left = k - nearer.sum(axis=1, keepdims=True)  # (R, 1)
    return np.asarray(nearer | (equal & (np.cumsum(equal, axis=1, dtype=np.int32) <= left)))


def _agreements(weights: _Floats, rows: npt.NDArray[np.int64]) -> list[_Floats]:
    """Each measure between `rows` and everybody, (R, N)."""
    has = (weights > 0).astype(np.float32)  # (N, T)
    overlap = np.zeros((len(rows), len(weights)), np.float32)
    for column in weights.T:
        overlap += np.minimum(column[rows, None], column[None, :])
    main = weights.argmax(axis=1)  # (N,)
    shared = ((has[rows] @ has.T) > 0).astype(np.float32)
    return [shared, overlap, (main[rows, None] == main[None, :]).astype(np.float32)]


def live_interests(path: Path, as_of: date) -> "pa.Table":
    """The rows of planted/interests.parquet that hold on the day before `as_of`."""
    import pyarrow.parquet as pq

    last = as_of - timedelta(days=1)
    return pq.read_table(path, filters=[("from_day", "<=", last), ("to_day", ">=", last)])


def current_interests(path: Path, as_of: date) -> dict[str, dict[str, float]]:
    """Each user's planted interests on the day before `as_of`, the last one that vectors saw."""
    if not path.exists():
        raise MissingTable(
            f"{path} is missing: only generated logs have planted interests; make some by "
            "`userbert logs generate`, or name the file by --planted"
        )
    live = live_interests(path, as_of)
    if not live.num_rows:
        last = as_of - timedelta(days=1)
        raise BadInput(f"{path} holds no interest of {last}, the day before {as_of}")
    found: dict[str, dict[str, float]] = {}
    for row in live.select(["user_id", "topic", "weight"]).to_pylist():
        found.setdefault(row["user_id"], {})[row["topic"]] = row["weight"]
    return found


def stored_vectors(lake: OpenLake, model_id: str, as_of: date) -> _Vectors:
    """Each user's newest vector of `as_of` or an earlier day under the model, by user."""
    found = lake.embeddings(model_id, as_of)
    return found.user_ids.tolist(), found.matrix


def _vectors_made_here(lake: OpenLake, folder: Path, as_of: date) -> _Vectors:
    """The vectors that a model gives each user's newest sequence of `as_of` or an earlier day.

    For models that no day is embedded under, such as untrained ones: nothing is written.
    """
    from model.data.row_hashes import list_values
    from model.inference.embed_users import embed_users
    from model.storage.checkpoint import load_model

    lake.need(USER_SEQUENCES, TITLES)
    newest = lake.connection.execute(
        "SELECT user_id, arg_max(title_ids, as_of) AS title_ids, "
        "arg_max(event_times, as_of) AS event_times, epoch_us(max(as_of)::TIMESTAMP) AS midnight "
        "FROM user_sequences WHERE as_of <= $day GROUP BY user_id ORDER BY user_id",
        {"day": as_of},
    ).to_arrow_table()
    titles = lake.sql("SELECT title_id, words FROM titles ORDER BY title_id").to_arrow_table()
    vectors = embed_users(
        load_model(folder),
        list_values(newest["title_ids"].combine_chunks()),
        titles["title_id"].to_numpy(),
        titles["words"].combine_chunks(),
        times=list_values(newest["event_times"].combine_chunks()).values,
        as_of=newest["midnight"].to_numpy(),
    ).vectors
    return [str(user) for user in newest["user_id"].to_pylist()], vectors


def vectors_named(name: str, lake: OpenLake, as_of: date) -> _Vectors:
    """A model's stored vectors, else those that it gives now; of an .npz file its two arrays."""
    if not name.endswith(".npz"):
        folder = lake.places.models / name
        if folder.exists() and not _is_embedded(lake, name):
            return _vectors_made_here(lake, folder, as_of)
        return stored_vectors(lake, name, as_of)
    with np.load(name, allow_pickle=False) as arrays:
        if missing := {"users", "vectors"} - set(arrays):
            raise BadInput(f"{name} has no array {' and no '.join(sorted(missing))}")
        return arrays["users"].tolist(), arrays["vectors"]


def _is_embedded(lake: OpenLake, model_id: str) -> bool:
    if not lake.has(USER_EMBEDDINGS):
        return False
    query = "SELECT 1 FROM user_embeddings WHERE model_id = $model LIMIT 1"
    return bool(lake.connection.execute(query, {"model": model_id}).fetchall())


def _restrict_to_common_users(one: _Vectors, other: _Vectors) -> tuple[_Vectors, _Vectors]:
    """Both sets of vectors for the users that both have, so that their figures compare."""
    shared = set(one[0]) & set(other[0])
    if not shared:
        raise BadInput("the two sets of vectors have no user in common")

    def only(users: list[str], vectors: _Floats) -> _Vectors:
        rows = sorted((user, row) for row, user in enumerate(users) if user in shared)
        return [user for user, _ in rows], vectors[[row for _, row in rows]]

    return only(*one), only(*other)


def _agreement_table(found: dict[str, Agreement]) -> Grid:
    first = next(iter(found.values()))
    title = f"{first.users:,} users and each one's {first.k} nearest"
    rows = [
        (name, *(f"{made.near[m]:.4f} ± {made.error[m]:.4f}" for m in _AGREEMENT_MEASURES))
        for name, made in found.items()
    ]
    by_chance = ("by chance", *(f"{first.chance[m]:.4f}" for m in _AGREEMENT_MEASURES))
    return grid((*rows, by_chance), "", *_AGREEMENT_MEASURES.values(), title=title)


def main(
    model: Annotated[
        str, typer.Option("--model", metavar="MODEL_ID", help="The model whose vectors are judged.")
    ],
    as_of: AsOf,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="MODEL_ID|FILE",
            help="Vectors to compare with: another model's, or an .npz file with arrays "
            "users (text) and vectors.",
        ),
    ] = None,
    planted: Annotated[
        Path | None,
        typer.Option(
            "--planted",
            metavar="FILE",
            help="The interests. [default: planted/interests.parquet in the data root]",
        ),
    ] = None,
    k: Annotated[int, typer.Option("--k", help="How many nearest users count.")] = 10,
) -> None:
    places = Places.from_environment()
    path = planted or places.root / "planted/interests.parquet"
    interests = current_interests(path, as_of)
    lake = open_lake(places)
    judged = {model: vectors_named(model, lake, as_of)}
    if against:
        both = _restrict_to_common_users(judged[model], vectors_named(against, lake, as_of))
        judged = dict(zip((model, against), both, strict=True))
    found = {name: interest_agreement(*some, interests, k) for name, some in judged.items()}
    print_parts(_agreement_table(found))
