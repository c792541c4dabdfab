"""A model's card, in Markdown: what it learned from, how, how well, and what to mind."""

import json
from collections.abc import Iterator

from spark_jobs.tables.models import Model


def model_card(model: Model) -> str:
    return "\n".join(_lines(model)) + "\n"


def _lines(model: Model) -> Iterator[str]:
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
    yield from (f"| {name} | {value:,.4g} |" for name, value in sorted(measures.items()))
    yield from ("", "## Settings", "", "```json")
    yield json.dumps(json.loads(model.settings), indent=1, sort_keys=True)
    yield "```"
    yield from ("", "## Known limits", "")
    yield from (f"- {limit}" for limit in _limits(model))
    yield from ("", f"Weights: `{model.path}`. Code: `{model.code_version}`.")


def _limits(model: Model) -> Iterator[str]:
    yield (
        f"Its vectors as of days before {model.trained_before} come from a model that has seen "
        "later views: do not use them to measure how well it would have predicted those days."
    )
    yield f"Its vectors compare with vectors of model_id `{model.model_id}` alone."
    yield "Words that its vocabulary lacks are one unknown word to it, the more so as time goes on."
    yield "A view says that a page was opened, not that it was liked."
    yield "A user_id may be several people, or one of several that a person has."
