"""Is a model fit to be the champion? The thresholds, each with its reason, in one place."""

import math
from collections.abc import Iterator, Mapping

from model.task_registry import METRICS

_ACCURACIES = tuple(METRICS)  # of the tasks, each measured against chance
_COUNTS = METRICS  # the measure that counts the answers of an accuracy

# A collapsed model gives the same vector to all: every answer is a tie, and a tie is a miss. One
# that learned nothing is at chance. Fit models are far above, so chance itself is the line.
# The effective rank is about the number of directions that users differ in. Models that trained
# well have tens; one direction is a line, on which neighbours mean little.
_LEAST_RANK = 4.0
# At chance, 0.2, thirty answers are all wrong once in 800 times; of fewer, luck may make anything,
# and an accuracy of no answers is recorded as 0.
_ENOUGH_ANSWERS = 30
_ENOUGH_PAIRS = 100  # fewer held-out users span few directions themselves; any rank will do then
# Both models answer the same questions, so two standard errors of a difference are about the
# noise that a lucky or unlucky seed makes. Worse than that is worse.
_STANDARD_ERRORS = 2.0
_FIT = "fit: "  # how the reason of a model begins that was judged fit

_Measures = Mapping[str, float]


def reasons_against(new: _Measures, champion: _Measures | None) -> list[str]:
    """All that is against promoting `new`, in words; empty when it is fit.

    `champion` was measured on the same held-out users; None when there is no champion.
    """
    found = [*_collapsed(new), *_at_chance(new)]
    return found if champion is None else [*found, *_worse(new, champion)]


def _collapsed(new: _Measures) -> Iterator[str]:
    rank = new.get("effective_rank", math.nan)
    least = _LEAST_RANK if new.get("matched_pairs", 0) >= _ENOUGH_PAIRS else 0.0
    if not rank > least:  # NaN is no rank
        yield f"collapsed: effective rank {rank:.2f}, more than {least:g} is needed"


def _at_chance(new: _Measures) -> Iterator[str]:
    for task in _ACCURACIES:
        accuracy, chance = new.get(f"{task}_accuracy", math.nan), new.get(f"{task}_chance", 0.2)
        if not accuracy > chance and new.get(_COUNTS[task], math.inf) >= _ENOUGH_ANSWERS:
            yield f"{task} accuracy {accuracy:.3f} is not above chance, {chance:.3f}"


def _worse(new: _Measures, champion: _Measures) -> Iterator[str]:
    for task in _ACCURACIES:
        ours, theirs = new.get(f"{task}_accuracy", math.nan), champion[f"{task}_accuracy"]
        if not ours >= theirs - _noise(theirs, new.get(_COUNTS[task], 0.0)):
            yield f"{task} accuracy {ours:.3f} is worse than the champion's, {theirs:.3f}"


def _noise(accuracy: float, answers: float) -> float:
    """What two equal models may differ by, of `answers` questions each."""
    return _STANDARD_ERRORS * math.sqrt(2 * accuracy * (1 - accuracy) / max(answers, 1.0))


def describe_fitness(new: _Measures, champion: _Measures | None, champion_id: str) -> str:
    """Why a fit model is fit; `is_fit_against` reads it."""
    parts = []
    for task in _ACCURACIES:
        part = f"{task} accuracy {new[f'{task}_accuracy']:.3f}"
        if (answers := new.get(_COUNTS[task], math.inf)) < _ENOUGH_ANSWERS:
            part += f" of only {answers:.0f} answers"
        if champion:
            part += f" ({champion_id}: {champion[f'{task}_accuracy']:.3f})"
        parts.append(part)
    return _FIT + ", ".join([*parts, f"effective rank {new['effective_rank']:.1f}"])


def is_fit_against(reason: str, champion_id: str) -> bool:
    """Whether a model's reason says that it was judged fit against this champion ("" for none)."""
    return reason.startswith(_FIT) and (not champion_id or f" ({champion_id}: " in reason)
