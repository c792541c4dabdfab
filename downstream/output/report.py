"""A run as tables for people, and as JSON for programs."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from rich.table import Table as Grid

from contracts.provenance import code_version
from contracts.terminal.printing import grid
from downstream.judging.cells import ALL_USERS
from downstream.judging.evaluation import Evaluation
from downstream.judging.summary import SIGNIFICANT_P, Row

WORSE, BETTER = "-", "+"  # than the judged model, p below 0.05


def tables(found: Evaluation) -> Iterator[str | Grid]:
    """The summary that a person reads."""
    yield (
        f"{found.model_id} as of {found.as_of}: {len(found.tasks)} tasks, "
        f"{found.settings.splits} splits, labels of the next {found.settings.horizon_days} days"
    )
    for head, share in heads_and_shares(found):
        lines = score_lines(found, head, share, ALL_USERS)
        yield f"{head}, {share:.0%} of the labels (mean, deviation; {BETTER} or {WORSE}: p < 0.05)"
        yield grid(lines, "rival", *(task.name for task in found.tasks))
    yield "Borda: the mean share of rivals that each one beats, over tasks, heads and shares"
    yield grid(((place, *pair) for place, pair in enumerate(found.borda.items(), 1)),
               "#place", "rival", "#beats")  # fmt: skip
    yield from reader_remarks(found)


def reader_remarks(found: Evaluation) -> Iterator[str]:
    """What a reader must know before believing the figures."""
    for model in found.twins:
        yield (
            f"{model} was trained on views after {found.as_of}, so a twin with the same settings "
            "that was trained on the views before it was judged in its place."
        )
    for task in found.leaking:
        yield f"LEAKING: aggregates all but solve {task}, so it does not count: look at its labels."
    shuffled = ", ".join(f"{task} {score:.3f}" for task, score in found.shuffled.items())
    yield f"With shuffled labels: {shuffled}."
    yield from found.notes


def heads_and_shares(found: Evaluation) -> list[tuple[str, float]]:
    seen = {(r.head, r.label_share) for r in found.results if r.population == ALL_USERS}
    return sorted(seen, key=lambda pair: (pair[0] != "logistic", pair[1]))


def rivals_of(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(row.result.rival for row in rows))


def score_lines(found: Evaluation, head: str, share: float, population: str) -> Iterator[list[str]]:
    rows = {
        (row.result.rival, row.result.task): row
        for row in found.rows
        if (row.result.head, row.result.label_share) == (head, share)
        and row.result.population == population
        and not row.result.stale_days
    }
    for rival in rivals_of(rows.values()):
        yield [rival, *(_cell(rows.get((rival, task.name))) for task in found.tasks)]


def _cell(row: Row | None) -> str:
    """The mean and its deviation, with a sign where it differs from the judged model's."""
    if row is None:
        return ""
    sign = ""
    if row.p_value < SIGNIFICANT_P:
        sign = WORSE if row.difference > 0 else BETTER
    return f"{row.result.mean:.3f} {row.result.deviation:.3f}{sign}"


def as_json(found: Evaluation) -> str:
    """The whole run; rows in the order of the cells, so that two runs of a seed are equal."""
    return json.dumps(
        {
            "evaluation_id": found.evaluation_id,
            "as_of": found.as_of.isoformat(),
            "model_id": found.model_id,
            "trained_again": found.twins,
            "settings": asdict(found.settings),
            "tasks": {task.name: task.doc for task in found.tasks},
            "rows": [
                {
                    **asdict(row.result),
                    "mean": row.result.mean,
                    "deviation": row.result.deviation,
                    "difference": row.difference,
                    "p_value": row.p_value,
                }
                for row in found.rows
            ],
            "borda": found.borda,
            "leaking": found.leaking,
            "shuffled": found.shuffled,
            "notes": found.notes,
            "code_version": code_version(),
        },
        indent=1,
    )
