"""A run as the Markdown page that stands in docs/results."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict

from contracts.provenance import code_version
from downstream.judging.cells import ALL_USERS, COLD_USERS, SEEN_EARLY
from downstream.judging.evaluation import Evaluation
from downstream.judging.summary import SIGNIFICANT_P, Row
from downstream.output.report import (
    BETTER,
    WORSE,
    heads_and_shares,
    reader_remarks,
    score_lines,
)


def as_markdown(found: Evaluation) -> str:
    return "\n".join(_page(found)) + "\n"


def _page(found: Evaluation) -> Iterator[str]:
    yield f"# Evaluation {found.evaluation_id}\n"
    yield f"Judged model: `{found.model_id}`, as of {found.as_of}. Code: `{code_version()}`. "
    yield f"Settings: `{json.dumps(asdict(found.settings))}`\n"
    yield (
        "A cell is the mean over splits and its deviation: ROC AUC, of numbers the rank "
        f"correlation. `{BETTER}` marks a rival that is ahead of the judged model and `{WORSE}` "
        "one that is behind, at p below 0.05.\n"
    )
    yield from (
        f"- {task.name}: {task.doc} ({len(task.users):,} users, {task.metric})"
        for task in found.tasks
    )
    yield ""
    yield from (f"- {remark}" for remark in reader_remarks(found))
    yield "\n## Borda\n"
    yield from _table(
        ["rival", "share of rivals beaten"], ([r, f"{p:.3f}"] for r, p in found.borda.items())
    )
    columns = heads_and_shares(found)
    yield "\n## Tasks on which the judged model is ahead, level and behind\n"
    heads = ["rival", *(f"{head}, {share:.0%}" for head, share in columns)]
    yield from _table(heads, _standings(found.rows, found.model_id, columns))
    names = [task.name for task in found.tasks]
    for head, share in columns:
        yield f"\n## {head}, {share:.0%} of the labels\n"
        yield from _table(["rival", *names], score_lines(found, head, share, ALL_USERS))
    yield f"\n## Cold users (fewer than {found.settings.cold_below_views} views), logistic\n"
    share = max(found.settings.label_shares)
    yield from _table(["rival", *names], score_lines(found, "logistic", share, COLD_USERS))
    yield "\n## Staleness: the same labels by older vectors, logistic\n"
    ages = sorted({0, *found.settings.stale_days})
    yield from _table(["task", "rival", *(f"{age} days" for age in ages)], _aging(found, ages))


def _standings(
    rows: Iterable[Row], model_id: str, columns: Sequence[tuple[str, float]]
) -> Iterator[list[str]]:
    """For each rival and column of the tables how many tasks are `ahead-level-behind`."""
    counts: dict[str, Counter[tuple[str, float, str]]] = defaultdict(Counter)
    for row in rows:
        result = row.result
        if result.population != ALL_USERS or result.rival == model_id:
            continue
        side = "level"
        if row.p_value < SIGNIFICANT_P:
            side = "ahead" if row.difference > 0 else "behind"
        counts[result.rival][result.head, result.label_share, side] += 1
    for rival, found in counts.items():
        yield [
            rival,
            *(
                "-".join(str(found[head, share, side]) for side in ("ahead", "level", "behind"))
                for head, share in columns
            ),
        ]


def _aging(found: Evaluation, ages: Sequence[int]) -> Iterator[list[str]]:
    """For each task and rival the mean by vectors of each age."""
    means: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for result in found.results:
        if result.population == SEEN_EARLY:
            means[result.task, result.rival][result.stale_days] = result.mean
    for (task, rival), by_age in means.items():
        yield [task, rival, *(f"{by_age[age]:.3f}" if age in by_age else "" for age in ages)]


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(line)} |" for line in lines)
