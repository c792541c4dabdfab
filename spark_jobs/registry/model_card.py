"""A model's card, in Markdown: what it learned from, how, how well, and what to mind."""

import json
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from contracts.vectors import describe_blocks, own_space, vector_blocks
from model.objective.calibration import CALIBRATION_PREFIX
from spark_jobs.registry.calibration import calibration_lines
from spark_jobs.registry.privacy_lines import privacy_lines
from spark_jobs.registry.space_lines import ALIGNMENT_PREFIX, space_lines
from spark_jobs.registry.stability_lines import stability_lines
from spark_jobs.tables.models import Model


def model_card(
    model: Model,
    results: Sequence[Any] = (),
    stale: Sequence[Any] = (),
    stability: Mapping[str, Any] = MappingProxyType({}),
    privacy: Mapping[str, Any] = MappingProxyType({}),
    forgotten: Sequence[str] = (),
) -> str:
    """`results` and `stale` are the model's rows of `evaluations`, as of the cut and older ones.

    `forgotten` are the lines on users who were forgotten since the training.
    """
    sections = (
        *forgotten,
        *_downstream(results),
        *stability_lines(stability, stale),
        *privacy_lines(privacy),
    )
    return "\n".join(_lines(model, sections)) + "\n"


def _lines(model: Model, sections: Sequence[str]) -> Iterator[str]:
    inputs, measures = json.loads(model.inputs), json.loads(model.measures)
    yield f"# {model.model_id}"
    yield ""
    yield f"**{model.status}** since {model.status_changed_at:%Y-%m-%d %H:%M} UTC: "
    yield f"{model.status_reason}. Registered {model.created_at:%Y-%m-%d %H:%M} UTC."
    yield from ("", "## Data", "")
    yield f"- Views from before {model.trained_before} (UTC) alone; a tenth of the users held out."
    yield from (f"- `{table}` at Delta version {n}" for table, n in sorted(inputs.items()))
    yield f"- Vocabulary sha256 `{model.vocabulary_hash}`"
    yield from ("", "## Measures on held-out users", "", "| measure | value |", "|---|---|")
    yield from (
        f"| {name} | {value:,.4g} |"
        for name, value in sorted(measures.items())
        # These have sections of their own.
        if CALIBRATION_PREFIX not in name and not name.startswith(ALIGNMENT_PREFIX)
    )
    yield from space_lines(model.space_id, measures)
    yield from _blocks(json.loads(model.settings))
    yield from calibration_lines(measures)
    yield from sections
    yield from ("", "## Settings", "", "```json")
    yield json.dumps(json.loads(model.settings), indent=1, sort_keys=True)
    yield "```"
    yield from ("", "## Known limits", "")
    yield from (f"- {limit}" for limit in _limits(model))
    yield from ("", f"Weights: `{model.path}`. Code: `{model.code_version}`.")


def _blocks(settings: Mapping[str, Any]) -> Iterator[str]:
    """Where the blocks of a vector lie, so that a head can scale each by itself."""
    if blocks := vector_blocks(settings):
        yield from ("", "## Vector", "")
        yield (
            f"Blocks, as Python's slices: `{describe_blocks(blocks)}`. The first says how much, "
            "how often and how lately a user views, the second what. A head does best that scales "
            "each by itself."
        )


def _downstream(results: Sequence[Any]) -> Iterator[str]:
    """What frozen vectors are worth to a head with few labels."""
    if not results:
        return
    newest = results[0]
    yield from ("", "## Downstream tasks", "")
    yield f"Evaluation `{newest['evaluation_id']}`: vectors as of {newest['as_of']}, later labels."
    if newest["was_trained_again"]:
        yield (
            "A twin with the same settings, trained on the views before that day, was judged in "
            "the model's place."
        )
    yield from (
        "",
        "| task | head | labels | metric | mean | deviation |",
        "|---|---|---|---|---|---|",
    )
    for row in results:
        leaking = " (leaking)" if row["is_leaking"] else ""
        yield (
            f"| {row['task']}{leaking} | {row['head']} | {row['label_share']:.0%} | "
            f"{row['metric']} | {row['mean']:.3f} | {row['deviation']:.3f} |"
        )


def _limits(model: Model) -> Iterator[str]:
    yield (
        f"Its vectors as of days before {model.trained_before} come from a model that has seen "
        "later views: do not use them to measure how well it would have predicted those days."
    )
    yield (
        f"Its vectors compare with vectors of model_id `{model.model_id}` alone"
        + (
            "."
            if model.space_id == own_space(model.model_id)
            else ", and with those of other "
            f"models of `{model.space_id}` by whoever names the error of the alignment."
        )
    )
    yield "Words that its vocabulary lacks are one unknown word to it, the more so as time goes on."
    yield "A view says that a page was opened, not that it was liked."
    yield "A user_id may be several people, or one of several that a person has."
