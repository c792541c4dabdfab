"""What a head loses that was fitted on an old model's vectors and is given a new model's.

A consumer who does not retrain has such a head. In each of the judge's splits the map is fitted to
the training users alone, so that no test user shapes the map or the head that judges it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from downstream.judging.cells import best_setting, task_score
from downstream.judging.heads import LINEAR_HEAD, Features, Floats
from downstream.judging.splits import Split, user_split
from downstream.tasks.task import Task
from model.inference.alignment import fit_rotation, turn_vectors

_Vectors = NDArray[np.float32]
_Scores = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class TwoModels:
    """Both models' vectors of the judged users, row beside row.

    Shapes: N users, D width, (N, D) each. A user without views by a day has zeros as of it.
    """

    new_at_fit: _Vectors  # as of the day of the map
    old_at_fit: _Vectors
    new_at_cut: _Vectors  # as of the day before the labels
    old_at_cut: _Vectors
    blocks: Mapping[str, slice]

    def rotation(self, left_out: NDArray[np.int64], users: NDArray[np.int64]) -> Floats:
        """(D, D) the map, fitted to all of `users` but those left out."""
        fit = np.setdiff1d(users, left_out)
        return fit_rotation(self.new_at_fit[fit], self.old_at_fit[fit], self.blocks)


@dataclass(frozen=True)
class CarriedHead:
    """Scores of one task, means over the splits."""

    task: str
    metric: str
    retrained: float  # the head fitted on the new model's vectors
    carried: float  # the old model's head on aligned vectors
    carried_unaligned: float  # the same on the new model's own vectors
    old: float  # the old model's head on its own vectors

    @property
    def loss(self) -> float:
        """What somebody loses who does not retrain."""
        return self.retrained - self.carried

    @property
    def loss_unaligned(self) -> float:
        return self.retrained - self.carried_unaligned

    def measures(self) -> dict[str, float]:
        """As a manifest holds them."""
        named = {
            "retrained": self.retrained,
            "carried": self.carried,
            "carried_unaligned": self.carried_unaligned,
            "old": self.old,
        }
        return {f"alignment_head_{self.task}_{name}": value for name, value in named.items()}


def carried_heads(
    models: TwoModels, fit_users: NDArray[np.int64], tasks: Sequence[Task], splits: int, seed: int
) -> Iterator[CarriedHead]:
    """Each task by the linear head with all labels; `fit_users` may shape the map."""
    for task in tasks:
        scores = [
            _split_scores(models, fit_users, task, user_split(len(task.users), seed, number), seed)
            for number in range(splits)
        ]
        means = np.nanmean(np.array(scores), axis=0).tolist()  # (S, 4) -> (4,)
        yield CarriedHead(task.name, task.metric, *means)


def _split_scores(
    models: TwoModels, fit_users: NDArray[np.int64], task: Task, split: Split, seed: int
) -> _Scores:
    rotation = models.rotation(task.users[split.test], fit_users)
    new, old = models.new_at_cut[task.users], models.old_at_cut[task.users]
    tested = (turn_vectors(new[split.test], rotation), new[split.test], old[split.test])
    of_old = _head_scores(task, old, split, tested, seed)
    (of_new,) = _head_scores(task, new, split, (new[split.test],), seed)
    return of_new, *of_old  # type: ignore[return-value]  # three of the old head


def _head_scores(
    task: Task, vectors: _Vectors, split: Split, tested: Sequence[_Vectors], seed: int
) -> list[float]:
    """The head of `vectors` is fitted once, and asked of each of `tested`: the test users' rows."""
    features = Features(np.concatenate([vectors, *tested]).astype(np.float64))
    setting = best_setting(LINEAR_HEAD, task, features, split.train, seed)
    asked = np.arange(len(vectors), len(features.values))  # the rows behind the head's own users
    labels = task.labels[split.train]
    predicted = LINEAR_HEAD.fit(setting, task.is_number, features, split.train, labels, asked, seed)
    parts = np.split(predicted, len(tested))
    return [task_score(task, task.labels[split.test], part) for part in parts]
