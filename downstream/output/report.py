"""A run as tables for people, as JSON for programs, and as Markdown for docs/results."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table as Grid

from contracts.provenance import code_version
from contracts.terminal.printing import grid
from downstream.judging.cells import ALL_USERS, COLD_USERS, SEEN_EARLY
from downstream.judging.evaluation import Evaluation
from downstream.judging.summary import SIGNIFICANT_P, Row

WORSE, BETTER = "-", "+"  # than the judged model, p below 0.05


def tables(found: Evaluation) -> Iterator[str | Grid]:
    """The summary that a person reads."""
    yield (
        f"{found.model_id} as of {found.as_of}: {len(found.tasks)} tasks, "
        f"{found.settings.splits} splits, labels of the next {found.settings.horizon_days} days"
    )
    for head, share in _columns(found):
        lines = _score_lines(found, head, share, ALL_USERS)
        yield f"{head}, {share:.0%} of the labels (mean, deviation; {BETTER} or {WORSE}: p < 0.05)"
        yield grid(lines, "rival", *(task.name for task in found.tasks))
    yield "Borda: the mean share of rivals that each one beats, over tasks, heads and shares"
    yield grid(((place, *pair) for place, pair in enumerate(found.borda.items(), 1)),
               "#place", "rival", "#beats")  # fmt: skip
    yield from _remarks(found)


def _remarks(found: Evaluation) -> Iterator[str]:
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


def _columns(found: Evaluation) -> list[tuple[str, float]]:
    seen = {(r.head, r.label_share) for r in found.results if r.population == ALL_USERS}
    return sorted(seen, key=lambda pair: (pair[0] != "logistic", pair[1]))


def _rivals(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(row.result.rival for row in rows))


def _score_lines(
    found: Evaluation, head: str, share: float, population: str
) -> Iterator[list[str]]:
    rows = {
        (row.result.rival, row.result.task): row
        for row in found.rows
        if (row.result.head, row.result.label_share) == (head, share)
        and row.result.population == population
        and not row.result.stale_days
    }
    for rival in _rivals(rows.values()):
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


def as_markdown(found: Evaluation) -> str:
    return "\n".join(_markdown(found)) + "\n"


def _markdown(found: Evaluation) -> Iterator[str]:
    yield f"# Evaluation {found.evaluation_id}\n"
    yield f"Judged model: `{found.model_id}`, as of {found.as_of}. Code: `{code_version()}`. "
    yield f"Settings: `{json.dumps(asdict(found.settings))}`\n"
    yield from (f"- {task.name}: {task.doc} ({len(task.users):,} users)" for task in found.tasks)
    yield ""
    yield from (f"- {remark}" for remark in _remarks(found))
    names = [task.name for task in found.tasks]
    for head, share in _columns(found):
        yield f"\n## {head}, {share:.0%} of the labels\n"
        yield from _markdown_table(["rival", *names], _score_lines(found, head, share, ALL_USERS))
    yield f"\n## Cold users (fewer than {found.settings.cold_below_views} views), logistic\n"
    share = max(found.settings.label_shares)
    lines = _score_lines(found, "logistic", share, COLD_USERS)
    yield from _markdown_table(["rival", *names], lines)
    yield "\n## Staleness: the same labels by older vectors, logistic\n"
    yield from _markdown_table(["rival", "task", "days old", "mean"], _stale_lines(found))
    yield "\n## Borda\n"
    yield from _markdown_table(
        ["rival", "share of rivals beaten"], ([r, f"{p:.3f}"] for r, p in found.borda.items())
    )


def _stale_lines(found: Evaluation) -> Iterator[list[str]]:
    stale = [r for r in found.results if r.population == SEEN_EARLY]
    for r in sorted(stale, key=lambda r: (r.task, r.rival, r.stale_days)):
        yield [r.rival, r.task, str(r.stale_days), f"{r.mean:.3f} {r.deviation:.3f}"]


def _markdown_table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(line)} |" for line in lines)


def draw_picture(found: Evaluation, path: Path) -> None:
    """A panel a task: for each rival a dot at its mean and a line of one deviation to each side.

    Logistic head; filled dots are all labels, empty ones the smallest share.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    shares = max(found.settings.label_shares), min(found.settings.label_shares)
    rivals = _rivals(found.rows)[::-1]
    size = (3.2 * len(found.tasks) + 2, 0.34 * len(rivals) + 1.2)
    figure, panels = plt.subplots(1, len(found.tasks), sharey=True, squeeze=False, figsize=size)
    for panel, task in zip(panels[0], found.tasks, strict=True):
        panel.axvline(task.chance, color="0.8", linewidth=1)
        panel.set_title(f"{task.name} ({task.metric})", fontsize=9)
        for r in found.results:
            if (r.task, r.head, r.population) != (task.name, "logistic", ALL_USERS):
                continue
            if r.label_share in shares:
                is_all = r.label_share == shares[0]
                color = "tab:red" if r.rival == found.model_id else "tab:blue"
                panel.errorbar(
                    r.mean,
                    rivals.index(r.rival) + (0.12 if is_all else -0.12),
                    xerr=r.deviation,
                    fmt="o",
                    markersize=4,
                    color=color,
                    markerfacecolor=color if is_all else "white",
                )
    panels[0][0].set_yticks(range(len(rivals)), rivals, fontsize=8)
    figure.suptitle(f"{found.model_id} and its rivals as of {found.as_of}", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
