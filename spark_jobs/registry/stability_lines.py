"""How stable a model's vectors are, as a section of its card: neighbors kept, and staleness."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from contracts.paths import Places
from contracts.storage.atomic_write import read_json

_DOCS = {
    "kept_by_unchanged": "from one night to the next, among users without a new view",
    "kept_with_one_view": "with the newest view, by the vector without it",
    "kept_across_models": "that another training names too",
}


def stability_file(places: Places, model_id: str) -> Path:
    """Where `userbert models stability` leaves its figures."""
    return places.evaluations / "stability" / f"{model_id}.json"


def read_stability(places: Places, model_id: str) -> Mapping[str, Any]:
    """The figures; none before they were measured."""
    found: Mapping[str, Any] = read_json(stability_file(places, model_id))
    return found


def stability_lines(
    measured: Mapping[str, Any], stale: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Markdown; nothing before anything was measured."""
    if not measured and not stale:
        return
    yield from ("", "## Stability", "")
    if measured:
        yield (
            f"Of a user's 10 nearest among {measured['users']:,} users as of {measured['as_of']} "
            f"({measured['unchanged_users']:,} without a view on the day before), those kept:"
        )
        yield from ("", "| | kept |", "|---|---|")
        for name, doc in _DOCS.items():
            if measured.get(name) is not None:
                other = f" (`{measured['other_model']}`)" if name == "kept_across_models" else ""
                yield f"| {doc}{other} | {measured[name]:.1%} |"
    if stale:
        yield from ("", "Heads on vectors that are some days old at the cut:", "")
        yield from ("| task | days old | metric | mean | deviation |", "|---|---|---|---|---|")
    for row in stale:
        yield (
            f"| {row['task']} | {row['stale_days']} | {row['metric']} | {row['mean']:.3f} | "
            f"{row['deviation']:.3f} |"
        )
