"""What some users have in common: how tight they are, who else is near, which titles mark them.

userbert cohort 13 46 290 --as-of 2017-07-01
userbert cohort --file users.txt -k 20          (one user_id a line)
userbert cohort 13 46 290 --csv                 (the titles that mark them)
"""

from dataclasses import dataclass
from datetime import date
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from analyst.lake_access.open_lake import OpenLake, open_lake
from analyst.lake_access.title_marks import Mark, title_marks
from analyst.lake_access.viewed_titles import as_written, recent_titles
from analyst.output.answers import Listing, print_answer
from analyst.questions.neighbors import NearUser, describe_near_users
from analyst.vectors.model_space import Vectors, row_slices
from analyst.vectors.search import nearest_rows
from contracts.errors import BadInput
from contracts.settings.pseudonyms import ids_as_stored
from contracts.terminal.options import (
    ArePseudonyms,
    AsCsv,
    AsJson,
    AsOfOrNewest,
    ModelOrChampion,
    UserFile,
)
from contracts.user_lists import named_users


@dataclass(frozen=True)
class Cohort:
    users: int
    model_id: str
    as_of: date
    tightness: float  # mean cosine of the members to their centroid; 1 when all point one way
    others: float  # mean cosine of everybody else to it: what the tightness is compared with
    least_typical: list[tuple[str, float]]  # members farthest from the centroid, and their cosine
    nearest_outside: list[NearUser]
    marks: list[Mark]


def cohort(
    lake: OpenLake,
    users: list[str],
    k: int = 10,
    model_id: str | None = None,
    as_of: date | None = None,
) -> Cohort:
    """The centroid is the mean of the members' unit vectors, so long vectors count no more."""
    if k < 1:
        raise BadInput(f"-k is {k}: ask for one or more")
    everybody = lake.embeddings(model_id, as_of)
    rows = np.sort(everybody.rows(sorted(set(users))))
    members = everybody.at(rows)
    centroid = members.mean_direction()
    if not np.linalg.norm(centroid) > 1e-6:
        raise BadInput(
            f"the {len(members)} users cancel each other out: they have no direction in common"
        )
    cosines = _cosine_to(everybody, centroid)
    outside = nearest_rows(everybody, centroid[None].astype(np.float32), k, leave_out=rows)
    titles = recent_titles(lake, everybody.at(np.sort(outside.rows[0])))
    others = np.delete(cosines, rows)
    return Cohort(
        len(members),
        everybody.model_id,
        everybody.as_of,
        float(cosines[rows].mean()),
        float(others.mean()) if len(others) else float("nan"),
        _least_typical(members, cosines[rows]),
        describe_near_users(everybody, outside, titles, as_written(lake, titles)),
        title_marks(lake, everybody, members, k),
    )


def _cosine_to(vectors: Vectors, direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) float64 cosine of each user to `direction` (D,), in blocks."""
    unit = (direction / np.linalg.norm(direction)).astype(np.float32)
    blocks = [vectors.matrix[part] @ unit for part in row_slices(len(vectors))]
    return np.clip(np.concatenate(blocks).astype(np.float64) / vectors.norms, -1, 1)


def _least_typical(
    members: Vectors, cosines: NDArray[np.float64], limit: int = 3
) -> list[tuple[str, float]]:
    order = np.argsort(np.round(cosines, 6), kind="stable")[:limit]
    return [(str(members.user_ids[row]), float(cosines[row])) for row in order]


def main(
    users: Annotated[
        list[str] | None, typer.Argument(metavar="USER", help="The ids of the users.")
    ] = None,
    file: UserFile = None,
    k: Annotated[int, typer.Option("-k", help="How many users and titles to show.")] = 10,
    as_of: AsOfOrNewest = None,
    model: ModelOrChampion = None,
    pseudonyms: ArePseudonyms = False,
    json: AsJson = False,
    csv: AsCsv = False,
) -> None:
    named = ids_as_stored(named_users(users or [], file).ids, pseudonyms)
    with open_lake() as lake:
        found = cohort(lake, named, k, model, as_of)
    title = (
        f"{found.users:,} users of {found.model_id} as of {found.as_of}: mean cosine to their "
        f"centroid {found.tightness:.3f}, of everybody else {found.others:.3f}\n"
        f"least typical: {', '.join(f'{user} ({c:.3f})' for user, c in found.least_typical)}\n"
        "nearest outside"
    )
    near = [(n.user_id, n.cosine, n.vector_of, n.recent_written) for n in found.nearest_outside]
    marked = [
        (m.title, m.written, m.viewed_inside, m.viewed_outside, m.log_odds, m.z)
        for m in found.marks
    ]
    columns = ("title", "as written", "#viewed inside", "#outside", "#log-odds", "#z")
    marks = Listing(marked, columns)
    print_answer(
        found,
        json,
        title,
        Listing(near, ("user", "#cosine", "vector of", "viewed lately")),
        "titles that mark the cohort, against everybody else with a vector",
        marks,
        csv=marks if csv else None,
    )
