"""What a model's vectors give away about people, as a section of its card."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.paths import Places
from contracts.storage.atomic_write import read_json


def privacy_file(places: Places, model_id: str) -> Path:
    """Where `userbert models privacy` leaves its figures."""
    return places.evaluations / "privacy" / f"{model_id}.json"


def read_privacy(places: Places, model_id: str) -> Mapping[str, Any]:
    """The figures; none before they were measured."""
    found: Mapping[str, Any] = read_json(privacy_file(places, model_id))
    return found


def privacy_lines(measured: Mapping[str, Any]) -> Iterator[str]:
    """Markdown; nothing before anything was measured."""
    if not measured:
        return
    yield from ("", "## Privacy", "")
    yield f"`userbert models privacy`, as of {measured['as_of']}; the interval of 95 % behind each."
    yield from ("", "| question | figure | chance |", "|---|---|---|")
    yield from (
        f"| {each.question} | {each.figure} | {each.chance:.4g} |"
        for each in privacy_figures(measured)
    )


@dataclass(frozen=True)
class PrivacyFigure:
    """A row for people."""

    question: str
    figure: str  # with its interval
    chance: float  # what guessing gives


def privacy_figures(measured: Mapping[str, Any]) -> Iterator[PrivacyFigure]:
    """The main figures of a measurement; none before anything was measured."""
    for row in measured.get("reidentified", ()):
        if row["group"] == "held out":
            yield PrivacyFigure(
                f"a held-out user's vector finds the one of {measured['half_days']} days before "
                f"among {row['candidates']:,}: {row['vectors']}, {row['compared_by']}",
                _with_interval(row["top_1"]),
                1 / row["candidates"],
            )
    for row in measured.get("membership", ()):
        question = f"was the user trained on? {row['sees']}, head {row['head']} (AUC)"
        yield PrivacyFigure(question, _with_interval(row["auc"]), 0.5)
    for row in measured.get("leaks", ()):
        question = f"{row['label']} by {row['vectors']}, {row['head']} ({row['metric']})"
        yield PrivacyFigure(question, _with_interval(row["score"]), row["chance"])


def _with_interval(found: Mapping[str, float]) -> str:
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
