"""Four checks of the judge itself: what must not be believed stops the run, or is reported."""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from contracts.errors import UserbertError
from downstream.judging.cells import Cell, Result, shuffled_score
from downstream.tasks.task import Task

_LEAK_SCORE = 0.98  # AUC, or rank correlation, that nothing from before the cut should reach
_MAX_SHUFFLED_ERRORS = 5.0  # a normal variable is beyond once in two million


class JudgeFailed(UserbertError):
    """A canary found that the figures cannot be believed. Nothing was recorded."""


def must_not_hold_labels(task: Task, rival: str, vectors: NDArray[np.floating]) -> None:
    """Raise `JudgeFailed` if one number of the vectors orders a task's labels almost perfectly."""
    found = _single_number_scores(task, np.asarray(vectors[task.users], np.float64))  # (K, D)
    if found.max(initial=0) >= _LEAK_SCORE:
        column, number = np.unravel_index(int(found.argmax()), found.shape)
        raise JudgeFailed(
            f"{rival} holds the label {task.columns[column]!r} of task {task.name}: number "
            f"{number} of the vector alone scores {found.max():.3f}. The vectors were made with "
            "knowledge of the labels; make them again from views before the cut"
        )


def _single_number_scores(task: Task, features: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each number of the vectors scores by itself, in either direction.

    Shapes: features (n, D); returns (K, D): AUC, or the size of the rank correlation.
    """
    ranks = rankdata(features, axis=0)  # (n, D)
    if task.is_number:
        centered = [each - each.mean(axis=0) for each in (rankdata(task.labels, axis=0), ranks)]
        norms = [np.linalg.norm(each, axis=0) for each in centered]  # (1,) and (D,)
        products = centered[0].T @ centered[1]  # (1, D)
        return np.asarray(np.abs(products / np.maximum(norms[0] * norms[1], 1e-9)))
    positives = task.labels.sum(axis=0)[:, None]  # (K, 1)
    negatives = len(task.labels) - positives
    auc = (task.labels.T @ ranks - positives * (positives + 1) / 2) / (positives * negatives)
    return np.asarray(np.maximum(auc, 1 - auc))


def must_be_chance_when_shuffled(cell: Cell) -> float:
    """The score with shuffled labels; `JudgeFailed` where it is not chance."""
    mean, errors = shuffled_score(cell)
    if abs(errors) > _MAX_SHUFFLED_ERRORS:
        raise JudgeFailed(
            f"with shuffled labels {cell.rival} scores {mean:.3f} on {cell.task.name}, "
            f"{abs(errors):.1f} errors from chance ({cell.task.chance:g}): the judge is broken"
        )
    return mean


def leaking_tasks(results: Sequence[Result], hand_made: Collection[str]) -> list[str]:
    """The tasks that hand-made numbers all but solve: their labels lie in the views before."""
    return sorted({r.task for r in results if r.rival in hand_made and _solves(r)})


def must_not_solve(results: Sequence[Result], leaking: Sequence[str]) -> None:
    """Raise `JudgeFailed` if a rival all but solves a task that aggregates do not."""
    for result in results:
        if _solves(result) and result.task not in leaking:
            raise JudgeFailed(
                f"{result.rival} scores {result.mean:.3f} on {result.task}, which aggregates do "
                "not reach: the label was planted in its vectors, or they have seen later views"
            )


def _solves(result: Result) -> bool:
    return result.population == "all" and result.mean >= _LEAK_SCORE
