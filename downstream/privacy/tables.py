"""A privacy card as tables for people, and as the page that stands in docs/results."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table as Grid

from contracts.terminal.printing import grid
from downstream.privacy.privacy_card import PrivacyCard

_Cells = Sequence[str]
# A title, what the figures mean, the names of the columns, and the rows.
_Section = tuple[str, str, _Cells, list[_Cells]]


def card_facts(card: PrivacyCard) -> dict[str, Any]:
    """The card for programs, with six digits of each number: the last bits of vectors may vary."""
    facts: dict[str, Any] = _rounded(asdict(card))
    return facts


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list | tuple) else value


def terminal_parts(card: PrivacyCard) -> Iterator[str | Grid]:
    """What a person reads on a screen."""
    yield (
        f"{card.model_id} as of {card.as_of}: {card.users:,} users; figures have their 95 % "
        "interval behind them"
    )
    for title, meaning, columns, rows in _sections(card):
        yield f"{title}: {meaning}"
        yield grid(rows, *columns)
    yield from card.notes


def markdown_page(card: PrivacyCard) -> str:
    """The same as Markdown."""
    return "\n".join(_markdown_lines(card)) + "\n"


def _markdown_lines(card: PrivacyCard) -> Iterator[str]:
    yield f"# Privacy card of {card.model_id}\n"
    yield (
        f"As of {card.as_of}, {card.users:,} users, seed {card.seed}, {card.splits} splits. "
        f"Code: `{card.code_version}`. Behind a figure stands its interval of 95 %."
    )
    for title, meaning, columns, rows in _sections(card):
        yield f"\n## {title}\n\n{meaning[0].upper()}{meaning[1:]}.\n"
        names = [name.removeprefix("#") for name in columns]
        yield f"| {' | '.join(names)} |\n|{'---|' * len(names)}"
        yield from (f"| {' | '.join(row)} |" for row in rows)
    if card.notes:
        yield ""
        yield from (f"- {note}" for note in card.notes)


def _sections(card: PrivacyCard) -> Iterator[_Section]:
    yield _reidentification(card)
    if card.membership:
        yield _membership(card)
    if card.leaks:
        yield _leaks(card)
    if card.noise:
        yield _noise(card)


def _reidentification(card: PrivacyCard) -> _Section:
    first = card.reidentified[0]
    top_1, top_10, median = first.chances
    return (
        "Re-identification",
        f"a user's vector of the newest {card.half_days} days searches its own among those of the "
        f"{card.half_days} days before, of {first.candidates:,} users; by chance {top_1:.4f} are "
        f"nearest, {top_10:.4f} among the ten nearest, and the median place is {median:,.0f}",
        ("vectors", "compared by", "users", "#number", "#nearest", "#ten nearest", "#median place"),
        [
            (
                *(each.vectors, each.compared_by, each.group, f"{each.users:,}"),
                *(str(each.top_1), str(each.top_10), each.median_rank.rounded()),
            )
            for each in card.reidentified
        ],
    )


def _membership(card: PrivacyCard) -> _Section:
    return (
        "Membership",
        "area under the curve of an attacker who tells users that were trained on from users that "
        "were held out; 0.5 is chance",
        ("attacker sees", "head", "#trained on", "#held out", "#AUC"),
        [
            (each.sees, each.head, f"{each.trained:,}", f"{each.held_out:,}", str(each.auc))
            for each in card.membership
        ],
    )


def _leaks(card: PrivacyCard) -> _Section:
    return (
        "Sensitive labels",
        "what the judge's heads make of vectors, fitted to seven tenths of the labelled users",
        ("label", "vectors", "head", "#users", "metric", "#score", "#chance"),
        [
            (
                *(each.label, each.vectors, each.head, f"{each.users:,}"),
                *(each.metric, str(each.score), f"{each.chance:g}"),
            )
            for each in card.leaks
        ],
    )


def _noise(card: PrivacyCard) -> _Section:
    tasks = list(card.noise[0].scores)
    return (
        "Noise",
        f"vectors of at most the length {card.clip:g} with the noise of `userbert export "
        f"--private`, delta {card.delta:g}; beside it the share of all users whose vectors of two "
        "periods find each other, and the linear head's score on each task with all labels",
        ("export", "#noise", "#shortened", "#cosine", "#nearest", "#ten nearest",
         *(f"#{name}" for name in tasks)),
        [
            (
                each.export,
                f"{each.noise_deviation:.3g}",
                *(
                    f"{value:.3f}"
                    for value in (each.shortened, each.cosine, each.top_1, each.top_10)
                ),
                *(f"{each.scores[name]:.3f}" for name in tasks),
            )
            for each in card.noise
        ],
    )  # fmt: skip
