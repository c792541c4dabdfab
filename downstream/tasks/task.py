"""What a task is: labels of some users, and the metric that a score is judged by."""

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from contracts.errors import BadInput

Kind = Literal["binary", "classes", "labels", "number"]
MIN_OF_A_CLASS = 20  # users with and without a label; a column with fewer is left out
_MIN_USERS = 60  # labelled ones that a task needs


@dataclass(frozen=True, eq=False)
class Task:
    """Labels of n of the judged users.

    Shapes: n labelled users, K columns (1 for binary and number).
        users    (n,) int64 rows of `Views.user_ids`, ascending
        labels   (n, K) float64: 0 or 1, or a number
        columns  the name of each column
    """

    name: str
    kind: Kind
    users: NDArray[np.int64]
    labels: NDArray[np.float64]
    columns: tuple[str, ...]
    doc: str  # what a label says, in words

    @property
    def is_number(self) -> bool:
        return self.kind == "number"

    @property
    def metric(self) -> str:
        return "spearman" if self.is_number else "roc_auc"

    @property
    def chance(self) -> float:
        return 0.0 if self.is_number else 0.5

    @property
    def content(self) -> str:
        """A hash of the labels: a finished cell counts for the same labels only."""
        parts = (self.users.tobytes(), self.labels.tobytes(), repr((self.name, self.kind)).encode())
        return hashlib.sha256(b"".join(parts)).hexdigest()[:16]

    def judgeable(self) -> "Task":
        """The task without the columns of too few users; `BadInput` where nothing remains."""
        if len(self.users) < _MIN_USERS:
            raise BadInput(
                f"task {self.name} has labels of {len(self.users)} judged users, and the judge "
                f"needs {_MIN_USERS}: choose another day or leave the task out with --tasks"
            )
        if self.is_number:
            return self
        positives = self.labels.sum(axis=0)
        kept = np.minimum(positives, len(self.users) - positives) >= MIN_OF_A_CLASS
        if not kept.any():
            raise BadInput(
                f"task {self.name} has no label that {MIN_OF_A_CLASS} users have and "
                f"{MIN_OF_A_CLASS} do not: choose another day or leave it out with --tasks"
            )
        columns = tuple(np.array(self.columns)[kept].tolist())
        return Task(self.name, self.kind, self.users, self.labels[:, kept], columns, self.doc)
