"""How far users have moved from one day to another, under one model.

userbert drift --from 2017-06-30 --to 2017-07-01 [--picture drift.svg]

Each user counts with the newest vector of the day or earlier. Users move one by one (cosine
distance), and the whole population may move: that is measured as an energy distance, with a
permutation test, which exchanges the days of the same vectors at random. The answer begins with a
verdict in one sentence; --csv prints the users who moved most.
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from analyst.lake_access.open_lake import OpenLake, open_lake
from analyst.output.answers import Listing, print_answer
from analyst.output.plot import draw_moves
from analyst.vectors.population_drift import PopulationDrift, population_drift
from contracts.errors import BadInput
from contracts.terminal.options import AsCsv, AsJson, ModelOrChampion, day_option

_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99)


@dataclass(frozen=True)
class Moves:
    """Cosine distances, 0 where the direction is the same and 2 where it is opposite."""

    users: int
    mean: float
    quantiles: dict[str, float]


@dataclass(frozen=True)
class Drift:
    model_id: str
    from_day: date
    to_day: date
    users_from: int
    users_to: int
    in_both: int
    embedded_anew: int  # of those in both: with a vector made after from_day
    moves: Moves | None  # of those embedded anew; the others have not moved at all
    moved_most: list[tuple[str, float]]  # user and distance, ties by user
    mean_shift: float  # distance between the days' mean unit vectors
    mean_cosine: float  # between the days' mean vectors
    population: PopulationDrift
    verdict: str  # in one sentence: whether the population moved, against chance; and single users


def drift(
    lake: OpenLake, from_day: date, to_day: date, k: int = 10, model_id: str | None = None
) -> Drift:
    if from_day >= to_day:
        raise BadInput(f"--from {from_day} must be before --to {to_day}")
    old, new = lake.embeddings(model_id, from_day), lake.embeddings(model_id, to_day)
    in_old, in_new = old.shared(new)
    anew = old.days[in_old] != new.days[in_new]
    distances = 1 - old.cosine(new)[anew]
    moves, population = describe_moves(distances), population_drift(old, new)
    means = [old.mean_direction(), new.mean_direction()]
    return Drift(
        old.model_id,
        from_day,
        to_day,
        len(old),
        len(new),
        len(in_old),
        int(anew.sum()),
        moves,
        _moved_most(old.user_ids[in_old[anew]], distances, k),
        float(np.linalg.norm(means[1] - means[0])),
        float(means[0] @ means[1] / np.prod([np.linalg.norm(mean) for mean in means])),
        population,
        f"{population.verdict}. {_verdict_on_moves(moves)}",
    )


def _verdict_on_moves(moves: Moves | None) -> str:
    if moves is None:
        return "No user in both days was embedded anew, so no single user moved."
    return (
        f"Of the {moves.users:,} users who were embedded anew, half moved by a cosine distance of "
        f"less than {moves.quantiles['0.5']:.4f}."
    )


def describe_moves(distances: NDArray[np.float64]) -> Moves | None:
    if not len(distances):
        return None
    values = np.quantile(distances, _QUANTILES).tolist()
    quantiles = {f"{q:g}": value for q, value in zip(_QUANTILES, values, strict=True)}
    return Moves(len(distances), float(distances.mean()), quantiles)


def _moved_most(
    users: NDArray[np.str_], distances: NDArray[np.float64], k: int
) -> list[tuple[str, float]]:
    order = np.argsort(-np.round(distances, 9), kind="stable")[:k]
    return [(str(users[row]), float(distances[row])) for row in order]


def main(
    from_day: Annotated[date, day_option("--from", help="The first UTC day.")],
    to_day: Annotated[date, day_option("--to", help="A later UTC day.")],
    k: Annotated[int, typer.Option("-k", help="How many users who moved most to name.")] = 10,
    picture: Annotated[
        Path | None,
        typer.Option(
            "--picture",
            metavar="FILE.svg",
            help="Draw the users of both days, and how they moved, into this file.",
        ),
    ] = None,
    model: ModelOrChampion = None,
    json: AsJson = False,
    csv: AsCsv = False,
) -> None:
    with open_lake() as lake:
        found = drift(lake, from_day, to_day, k, model)
        if picture is not None:
            draw_moves(picture, lake.embeddings(model, from_day), lake.embeddings(model, to_day))
    most = Listing(found.moved_most, ("user", "#cosine distance"))
    print_answer(found, json, *_report(found), "moved most", most, csv=most if csv else None)


def _report(found: Drift) -> tuple[str | Listing, ...]:
    drifted = found.population
    facts: list[tuple[str, object]] = [
        (f"users with a vector as of {found.from_day}", found.users_from),
        (f"users with a vector as of {found.to_day}", found.users_to),
        ("in both", f"{found.in_both:,} ({_share(found.in_both, found.users_from)} of the first)"),
        ("of them embedded anew", found.embedded_anew),
        ("distance between the days' means", found.mean_shift),
        ("cosine between the days' means", found.mean_cosine),
        ("population drift (energy distance)", drifted.energy_distance),
        (
            "  by chance: median, 95 %",
            f"{drifted.by_lot_median:.4f}, {drifted.by_lot_95:.4f}",
        ),
        ("  p", drifted.p),
    ]
    if found.moves:
        facts.append(("cosine distance of those embedded anew: mean", found.moves.mean))
        facts += [(f"  quantile {q}", value) for q, value in found.moves.quantiles.items()]
    title = f"drift from {found.from_day} to {found.to_day} under {found.model_id}"
    return title, found.verdict, Listing(facts, ("what", "#value"))


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}"
