"""Is a model fit to be the champion? The thresholds, each with its reason, in one place."""

import math
from collections.abc import Iterator, Mapping

from model.task_registry import METRICS

ACCURACIES = tuple(METRICS)  # of the tasks, each measured against chance
COUNTS = METRICS  # the measure that counts the answers of an accuracy

# A collapsed model gives the same vector to all: every answer is a tie, and a tie is a miss. One
# that learned nothing is at chance. Fit models are far above, so chance itself is the line.
# The effective rank is about the number of directions that users differ in. Models that trained
# well have tens; one direction is a line, on which neighbours mean little.
LEAST_RANK = 4.0
# At chance, 0.2, thirty answers are all wrong once in 800 times; of fewer, luck may make anything,
# and an accuracy of no answers is told as 0.
ENOUGH_ANSWERS = 30
ENOUGH_PAIRS = 100  # fewer held-out users span few directions themselves; then the rank is free
# Both models answer the same questions, so two standard errors of a difference are about the
# noise that a lucky or unlucky seed makes. Worse than that is worse.
STANDARD_ERRORS = 2.0

Measures = Mapping[str, float]


def faults(new: Measures, champion: Measures | None) -> list[str]:
    """All that speaks against `new`, in words; empty when it is fit.

    `champion` was measured on the same held-out users; None when there is no champion.
    """
    found = [*_collapsed(new), *_at_chance(new)]
    return found if champion is None else [*found, *_worse(new, champion)]


def _collapsed(new: Measures) -> Iterator[str]:
    rank = new.get("effective_rank", math.nan)
    least = LEAST_RANK if new.get("matched_pairs", 0) >= ENOUGH_PAIRS else 0.0
    if not rank > least:  # NaN is no rank
        yield f"collapsed: effective rank {rank:.2f}, more than {least:g} is asked"


def _at_chance(new: Measures) -> Iterator[str]:
    for task in ACCURACIES:
        accuracy, chance = new.get(f"{task}_accuracy", math.nan), new.get(f"{task}_chance", 0.2)
        if not accuracy > chance and new.get(COUNTS[task], math.inf) >= ENOUGH_ANSWERS:
            yield f"{task} accuracy {accuracy:.3f} is not above chance, {chance:.3f}"


def _worse(new: Measures, champion: Measures) -> Iterator[str]:
    for task in ACCURACIES:
        ours, theirs = new.get(f"{task}_accuracy", math.nan), champion[f"{task}_accuracy"]
        if not ours >= theirs - noise(theirs, new.get(COUNTS[task], 0.0)):
            yield f"{task} accuracy {ours:.3f} is worse than the champion's, {theirs:.3f}"


def noise(accuracy: float, answers: float) -> float:
    """What two equal models may differ by, of `answers` questions each."""
    return STANDARD_ERRORS * math.sqrt(2 * accuracy * (1 - accuracy) / max(answers, 1.0))


def in_words(new: Measures, champion: Measures | None, against: str) -> str:
    """Why a fit model is fit."""
    told = [
        f"{task} accuracy {new[f'{task}_accuracy']:.3f}"
        + (f" of {answers:.0f} answers alone" if answers < ENOUGH_ANSWERS else "")
        for task in ACCURACIES
        for answers in [new.get(COUNTS[task], math.inf)]
    ]
    if champion:
        told = [
            f"{words} ({against}: {champion[f'{task}_accuracy']:.3f})"
            for words, task in zip(told, ACCURACIES, strict=True)
        ]
    return ", ".join([*told, f"effective rank {new['effective_rank']:.1f}"])
