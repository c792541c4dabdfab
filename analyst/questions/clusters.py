"""Groups of users whose vectors are near, named by the titles that mark them.

userbert clusters [-k 8] [--as-of 2017-07-01]
userbert clusters --csv > clusters.csv         (a line a user: user_id, cluster, name)

The groups come from k-means over the directions of the vectors (scikit-learn), always with the same
start. A name is the titles that the users of the cluster viewed most in comparison with everybody
else, so it says how the cluster differs and not what its users view most. Of a model whose vectors
have an activity block, the block of preferences alone is grouped: else the clusters would say how
much users view, and not what.
"""

from dataclasses import dataclass
from datetime import date
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from analyst.lake_access.open_lake import OpenLake, open_lake
from analyst.lake_access.registered_models import blocks_of
from analyst.lake_access.title_marks import Mark, marks_of_groups
from analyst.output.answers import Listing, print_answer
from analyst.vectors.model_space import Vectors
from contracts.errors import BadInput, MissingTable
from contracts.terminal.options import AsCsv, AsJson, AsOfOrNewest, ModelOrChampion

_SEED = 20210
_NUM_NAMED = 2  # titles in a cluster's name
_NUM_MARKS = 5
_MIN_Z = 2.0  # of a title in a name; a smaller one may be chance
_MAX_FITTED_USERS = 50_000  # users whose vectors the centers are made from; all are assigned


@dataclass(frozen=True)
class Cluster:
    number: int  # from 1, the largest first
    name: str
    users: int
    share: float  # of all users with a vector
    tightness: float  # mean cosine of its users to its center
    marks: list[Mark]


@dataclass(frozen=True)
class Clusters:
    model_id: str
    as_of: date
    users: int
    clusters: list[Cluster]
    numbers: dict[str, int]  # each user's cluster


def clusters(
    lake: OpenLake, k: int = 8, model_id: str | None = None, as_of: date | None = None
) -> Clusters:
    """At most `k` clusters; fewer where fewer users, or fewer directions, are there."""
    if k < 1:
        raise BadInput(f"-k is {k}: ask for one cluster or more")
    vectors = lake.embeddings(model_id, as_of)
    groups, tightness = group_users(preference_units(lake, vectors), k)
    marks = marks_of_groups(lake, vectors, groups, _NUM_MARKS)
    sizes = np.bincount(groups)
    found = [
        Cluster(
            number + 1,
            cluster_name(number + 1, marks.get(number, [])),
            int(size),
            float(size / len(vectors)),
            tightness[number],
            marks.get(number, []),
        )
        for number, size in enumerate(sizes)
    ]
    numbers = dict(zip(vectors.user_ids.tolist(), (groups + 1).tolist(), strict=True))
    return Clusters(vectors.model_id, vectors.as_of, len(vectors), found, numbers)


def cluster_name(number: int, marks: list[Mark]) -> str:
    """The titles that mark it as they were written, or its number where none does."""
    named = [mark.written or mark.title for mark in marks if mark.z >= _MIN_Z][:_NUM_NAMED]
    return " · ".join(named) or f"cluster {number}, which no title marks"


def preference_units(lake: OpenLake, vectors: Vectors) -> NDArray[np.float32]:
    """(N, D) unit vectors of what users view, without how much, where the model keeps the two
    apart; else of the whole vectors."""
    try:
        block = blocks_of(lake, vectors.model_id).get("preference", slice(None))
    except MissingTable:  # a model that was never registered
        block = slice(None)
    part = np.asarray(vectors.matrix[:, block])  # (N, D)
    lengths = np.linalg.norm(part, axis=1, keepdims=True)  # (N, 1)
    units: NDArray[np.float32] = (part / np.maximum(lengths, 1e-12)).astype(np.float32)
    return units


def group_users(units: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], list[float]]:
    """The cluster of each user, from 0, the largest first; and the mean cosine to each center.

    Shapes: units (N, D) -> (N,), and a number a cluster.
    """
    from sklearn.cluster import KMeans

    steps = np.unique(np.linspace(0, len(units) - 1, _MAX_FITTED_USERS).astype(np.int64))
    sample = units[steps]
    num_centers = min(k, len(np.unique(sample, axis=0)))
    fitted = KMeans(num_centers, n_init=3, random_state=_SEED).fit(sample)
    assigned = fitted.predict(units)  # (N,)
    sizes = np.bincount(assigned, minlength=num_centers)
    first = [np.flatnonzero(assigned == center)[:1].sum() for center in range(num_centers)]
    order = np.lexsort((first, -sizes))  # of equal size, that of the first user comes first
    groups = np.argsort(order)[assigned].astype(np.int64)  # (N,)
    return groups, [_tightness(units[groups == group]) for group in range(int((sizes > 0).sum()))]


def _tightness(members: NDArray[np.float32]) -> float:
    center = members.mean(axis=0, dtype=np.float64)  # (D,)
    return float((members @ (center / max(float(np.linalg.norm(center)), 1e-12))).mean())


def main(
    k: Annotated[int, typer.Option("-k", help="How many clusters to make.")] = 8,
    as_of: AsOfOrNewest = None,
    model: ModelOrChampion = None,
    json: AsJson = False,
    csv: AsCsv = False,
) -> None:
    with open_lake() as lake:
        found = clusters(lake, k, model, as_of)
    names = {each.number: each.name for each in found.clusters}
    of_users = [(user, number, names[number]) for user, number in found.numbers.items()]
    rows = [
        (
            *(each.number, each.name, each.users, f"{each.share:.1%}", each.tightness),
            [mark.title for mark in each.marks],
        )
        for each in found.clusters
    ]
    title = (
        f"{len(found.clusters)} clusters of the {found.users:,} users of {found.model_id} as of "
        f"{found.as_of}"
    )
    columns = ("#cluster", "name", "#users", "#share", "#tightness", "marked by")
    listing = Listing(of_users, ("user_id", "cluster", "name"))
    print_answer(found, json, title, Listing(rows, columns), csv=listing if csv else None)
