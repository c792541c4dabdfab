"""What the judge found of a model: for its card, and against the champion."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from contracts.paths import Places
from contracts.tables import EVALUATIONS
from spark_jobs.tables.models import read_rows

if TYPE_CHECKING:
    from pyspark.sql import Row

    from spark_jobs.lake.lake import Lake

_SIGNIFICANT_P = 0.05  # divided by the number of comparisons (Bonferroni)


def downstream_results(places: Places, model_id: str) -> list[dict[str, Any]]:
    """The rows of the model in its newest evaluation: all test users, vectors as of the cut."""
    rows = _newest_rows(places, model_id, "all")
    fresh = [row for row in rows if row["stale_days"] == 0]
    return sorted(fresh, key=lambda row: (row["task"], row["head"], row["label_share"]))


def staleness_results(places: Places, model_id: str) -> list[dict[str, Any]]:
    """The staleness curve of the model in its newest evaluation that drew one."""
    rows = _newest_rows(places, model_id, "seen_early")
    return sorted(rows, key=lambda row: (row["task"], row["stale_days"]))


def _newest_rows(places: Places, model_id: str, population: str) -> list[dict[str, Any]]:
    rows = [
        row
        for row in read_rows(places, EVALUATIONS)
        if (row["rival"], row["population"]) == (model_id, population)
    ]
    newest = max(rows, key=lambda row: row["evaluated_at"], default=None)
    return [row for row in rows if newest and row["evaluation_id"] == newest["evaluation_id"]]


def downstream_faults(
    lake: "Lake", candidate: str, champion: str, tasks: Sequence[str]
) -> list[str]:
    """The tasks on which the candidate is worse than the champion beyond noise, in words.

    Of the newest evaluation of both together, with all labels. Leaking tasks do not count. There
    is nothing to say where the two were never evaluated together.
    """
    from pyspark.sql import functions as F

    rows = lake.read_or_empty(EVALUATIONS).where(
        (F.col("population") == "all")
        & (F.col("stale_days") == 0)
        & ~F.col("is_leaking")
        & F.col("task").isin(*tasks)
    )
    # The judged model of a run may be either; the other one then stands among the rivals.
    is_pair = ((F.col("model_id") == candidate) & (F.col("rival") == champion)) | (
        (F.col("model_id") == champion) & (F.col("rival") == candidate)
    )
    pairs = rows.where(is_pair)
    newest = pairs.orderBy(F.desc("evaluated_at"), "evaluation_id").first()
    if newest is None:
        return []
    found = pairs.where(F.col("evaluation_id") == newest["evaluation_id"])
    compared = found.orderBy("task", "head", "label_share").collect()
    most = max(row["label_share"] for row in compared)
    compared = [row for row in compared if row["label_share"] == most]
    return [
        f"{row['task']} by {row['head']}: {row['metric']} {abs(row['difference']):.3f} below the "
        f"champion's (p {row['p_value']:.1g})"
        for row in compared
        if row["p_value"] < _SIGNIFICANT_P / len(compared) and _is_worse(row, candidate)
    ]


def _is_worse(row: "Row", candidate: str) -> bool:
    """`difference` is the judged model's mean minus the rival's."""
    ours = row["difference"] if row["model_id"] == candidate else -row["difference"]
    return bool(ours < 0)
