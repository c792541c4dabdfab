"""The users nearest to one, by cosine, with what both viewed, and what each viewed lately.

userbert neighbors 13 -k 10 --as-of 2017-07-01

`overlap` is the cosine of the two users' titles, from 0 to 1. Views count by their logarithm, and a
title that few users view counts more. It is no part of the search, which reads the vectors alone.

The search is exact: one pass over the vectors, from a copy kept below places.root/neighbours.
"""

from dataclasses import dataclass
from datetime import date
from typing import Annotated

import numpy as np
import typer

from analyst.lake_access.open_lake import OpenLake, open_lake
from analyst.lake_access.viewed_titles import (
    CommonTitle,
    InCommon,
    as_written,
    recent_titles,
    titles_in_common,
)
from analyst.output.answers import Listing, print_answer
from analyst.vectors.model_space import Vectors
from analyst.vectors.search import Nearest, nearest_rows
from contracts.errors import BadInput
from contracts.settings.pseudonyms import ids_as_stored
from contracts.terminal.options import ArePseudonyms, AsCsv, AsJson, AsOfOrNewest, ModelOrChampion

_SHOWN_TITLES = 3  # in common, of the table; the JSON has more


@dataclass(frozen=True)
class NearUser:
    user_id: str
    cosine: float
    vector_of: date  # as_of of the vector: the day asked for, or an earlier one
    recent_titles: list[str]  # newest first, normalized
    recent_written: list[str]  # the same, as most lines of the logs have them


@dataclass(frozen=True)
class Neighbor(NearUser):
    overlap: float  # of the titles of both users, from 0 to 1
    common_titles: list[CommonTitle]  # the heaviest first


@dataclass(frozen=True)
class Neighbors:
    user_id: str
    model_id: str
    as_of: date
    searched: int  # users
    recent_titles: list[str]  # of the user asked for, normalized
    recent_written: list[str]
    neighbors: list[Neighbor]  # nearest first; ties go by user_id


def neighbors(
    lake: OpenLake, user: str, k: int = 10, model_id: str | None = None, as_of: date | None = None
) -> Neighbors:
    """The `k` users nearest to `user`, who is not one of them."""
    if k < 1:
        raise BadInput(f"-k is {k}: ask for one neighbor or more")
    vectors = lake.embeddings(model_id, as_of)
    own = vectors.rows([user])
    found = nearest_rows(vectors, vectors.matrix[own], k, leave_out=own)
    titles = recent_titles(lake, vectors.at(np.sort(np.append(found.rows[0], own))))
    written = as_written(lake, titles)
    near = describe_near_users(vectors, found, titles, written)
    common = titles_in_common(lake, vectors, user, [each.user_id for each in near])
    return Neighbors(
        user,
        vectors.model_id,
        vectors.as_of,
        len(vectors),
        titles.get(user, []),
        written.get(user, []),
        [_neighbor(each, common.get(each.user_id, InCommon(0.0, []))) for each in near],
    )


def _neighbor(near: NearUser, common: InCommon) -> Neighbor:
    return Neighbor(**vars(near), overlap=common.overlap, common_titles=common.titles)


def describe_near_users(
    vectors: Vectors,
    found: Nearest,
    titles: dict[str, list[str]],
    written: dict[str, list[str]],
) -> list[NearUser]:
    """Those nearest to the first query."""
    users = vectors.user_ids[found.rows[0]].tolist()
    days = vectors.days[found.rows[0]].tolist()
    return [
        NearUser(user, cosine, day, titles.get(user, []), written.get(user, []))
        for user, cosine, day in zip(users, found.cosine[0].tolist(), days, strict=True)
    ]


def main(
    user: Annotated[str, typer.Argument(metavar="USER", help="The id of the user.")],
    k: Annotated[int, typer.Option("-k", help="How many neighbors to show.")] = 10,
    as_of: AsOfOrNewest = None,
    model: ModelOrChampion = None,
    pseudonyms: ArePseudonyms = False,
    json: AsJson = False,
    csv: AsCsv = False,
) -> None:
    (user,) = ids_as_stored([user], pseudonyms)
    with open_lake() as lake:
        found = neighbors(lake, user, k, model, as_of)
    rows = [
        (
            *(n.user_id, n.cosine, n.vector_of, n.overlap),
            [title.written or title.title for title in n.common_titles[:_SHOWN_TITLES]],
            n.recent_written,
        )
        for n in found.neighbors
    ]
    columns = ("user", "#cosine", "vector of", "#overlap", "viewed by both", "viewed lately")
    near = Listing(rows, columns)
    title = (
        f"nearest to {user} of {found.searched:,} users, {found.model_id} as of {found.as_of}"
        f"\n{user} viewed lately: {' · '.join(found.recent_written) or 'no titles known'}"
    )
    print_answer(found, json, title, near, csv=near if csv else None)
