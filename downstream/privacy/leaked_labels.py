"""What vectors say of a user that is nobody's business: labels that are marked as sensitive.

The judge's heads are fitted to the labels of most labelled users and asked about the others.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from downstream.judging.cells import best_setting, task_score
from downstream.judging.heads import LINEAR_HEAD, TREE_HEAD, Features, Head
from downstream.judging.splits import interval_of_mean, user_split
from downstream.privacy.estimates import Estimate
from downstream.tasks.task import Task


@dataclass(frozen=True)
class Leak:
    """What one kind of vectors says of one label, by one head."""

    label: str
    doc: str  # what the label says, in words
    vectors: str
    head: str
    metric: str
    users: int  # who are labelled
    score: Estimate
    chance: float


def leaks_of(
    tasks: Sequence[Task],
    vectors: Mapping[str, NDArray[np.floating]],
    splits: int,
    seed: int,
) -> Iterator[Leak]:
    """Every label by every kind of vectors, (N, D) of all judged users, by both heads."""
    for task in tasks:
        for name, matrix in vectors.items():
            for head in (LINEAR_HEAD, TREE_HEAD):
                scores = scores_of_splits(head, task, matrix, splits, seed)
                yield Leak(
                    label=task.name,
                    doc=task.doc,
                    vectors=name,
                    head=head.name,
                    metric=task.metric,
                    users=len(task.users),
                    score=Estimate(float(scores.mean()), *interval_of_mean(scores)),
                    chance=task.chance,
                )


def scores_of_splits(
    head: Head, task: Task, matrix: NDArray[np.floating], splits: int, seed: int
) -> NDArray[np.float64]:
    """(splits,) the task's metric on the test users of the judge's splits, fitted to all others."""
    features = Features(np.asarray(matrix[task.users], np.float64))
    found = []
    for number in range(splits):
        split = user_split(len(task.users), seed, number)
        setting = best_setting(head, task, features, split.train, seed)
        labels = task.labels[split.train]
        predicted = head.fit(
            setting, task.is_number, features, split.train, labels, split.test, seed
        )
        found.append(task_score(task, task.labels[split.test], predicted))
    scores = np.array(found, np.float64)
    return np.asarray(scores[np.isfinite(scores)])
