"""What all cells say together: a row a rival and place, paired tests, and Borda's count."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from downstream.judging.cells import ALL_USERS, Result
from downstream.judging.splits import paired_p_value

SIGNIFICANT_P = 0.05


@dataclass(frozen=True)
class Row:
    """A result beside the judged model's on the same splits."""

    result: Result
    difference: float  # the judged model's mean minus this one's, over splits that both have
    p_value: float  # 1 for the judged model itself


def compare_results(results: Sequence[Result], model_id: str) -> list[Row]:
    """Every result that has a mean, against that of `model_id` in the same place."""
    ours = {r.place: np.array(r.scores) for r in results if r.rival == model_id}
    rows = []
    for result in results:
        if not np.isfinite(result.mean):
            continue
        mine, theirs = ours.get(result.place), np.array(result.scores)
        if mine is None or not np.isfinite(mine - theirs).any():
            rows.append(Row(result, 0.0, 1.0))
            continue
        difference = float(np.nanmean(mine - theirs))
        rows.append(Row(result, difference, paired_p_value(mine, theirs)))
    return rows


def borda_points(
    results: Iterable[Result], leaking: Sequence[str] = (), left_out: Sequence[str] = ()
) -> dict[str, float]:
    """Mean place from above over tasks, heads and shares: 1 beats every rival, 0 none.

    In each place a rival gets a point for each other one with a lower mean, and half a point for
    an equal one. Leaking tasks do not count; `left_out` are rivals that contain others.
    """
    by_place: Mapping[tuple[object, ...], dict[str, float]] = defaultdict(dict)
    for r in results:
        if r.population == ALL_USERS and r.task not in leaking and r.rival not in left_out:
            by_place[r.place][r.rival] = r.mean
    points: dict[str, list[float]] = defaultdict(list)
    for means in by_place.values():
        for rival, mean in means.items():
            others = [other for name, other in means.items() if name != rival]
            beaten = sum((mean > other) + 0.5 * (mean == other) for other in others)
            points[rival].append(beaten / max(1, len(others)))
    total = {rival: float(np.mean(each)) for rival, each in points.items()}
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))
