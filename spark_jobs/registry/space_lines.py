"""The space of a model's vectors as a section of its card, out of its measures alone."""

from collections.abc import Iterator, Mapping

from contracts.vectors import SPACE_ANGLE

ALIGNMENT_PREFIX = "alignment_"
_HEAD_PREFIX = f"{ALIGNMENT_PREFIX}head_"
_SCORES = ("retrained", "carried", "carried_unaligned")
_DOCS = {
    "held_out_users": "users held out of the fit of the map",
    "cosine": "mean cosine of a user's vectors under both models",
    "cosine_unaligned": "the same without the map",
    "angle_degrees": "mean angle between them, in degrees",
    "activity_cosine": "mean cosine of the activity blocks",
    "preference_cosine": "mean cosine of the preference blocks",
    "neighbors_kept_10": "of a user's 10 nearest, those that both models name",
    "neighbors_found_10": "the same where the new vector asks among the old ones",
    "length_ratio": "length of the new vector over that of the old one (median)",
    "activity_length_ratio": "the same of the activity blocks",
    "preference_length_ratio": "the same of the preference blocks",
}


def space_lines(space_id: str, measures: Mapping[str, float]) -> Iterator[str]:
    """Markdown; of a model that was aligned with no other it only names the space."""
    yield from ("", "## Space", "", f"Its vectors live in `{space_id}`.")
    if SPACE_ANGLE not in measures:
        return
    yield (
        "They were turned into that of an earlier model by an orthogonal map: products of two "
        "vectors, losses, rankings and forecasts are those of the model before the map. From the "
        f"model that founded the space, a user's vector differs by {measures[SPACE_ANGLE]:.1f} "
        "degrees (means, summed along the alignments)."
    )
    yield from ("", "| against the model it was aligned with | value |", "|---|---|")
    for name, doc in _DOCS.items():
        if (measure := f"{ALIGNMENT_PREFIX}{name}") in measures:
            yield f"| {doc} | {measures[measure]:,.4g} |"
    yield from _head_lines(measures)


def _head_lines(measures: Mapping[str, float]) -> Iterator[str]:
    """What a consumer loses who does not retrain a head, a row for each of the judge's tasks."""
    end = f"_{_SCORES[0]}"
    tasks = [
        name.removeprefix(_HEAD_PREFIX).removesuffix(end)
        for name in sorted(measures)
        if name.startswith(_HEAD_PREFIX) and name.endswith(end)
    ]
    if not tasks:
        return
    yield from (
        "",
        "Linear heads that were fitted on the earlier model's vectors, on other users:",
        "",
        "| task | retrained | not retrained | without alignment | lost |",
        "|---|---|---|---|---|",
    )
    for task in tasks:
        scores = [measures[f"{_HEAD_PREFIX}{task}_{name}"] for name in _SCORES]
        cells = " | ".join(f"{score:.3f}" for score in scores)
        yield f"| {task} | {cells} | {scores[0] - scores[1]:+.3f} |"
