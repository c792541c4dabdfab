"""One day of a backfill: what it holds, why it would be written, and what writing it cost."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from spark_jobs.lake.commits import Commit
from spark_jobs.spark.process_cost import ProcessCost

# Why a day would be written, by the name that `plan --json` has it by.
WRITE_REASONS = {
    "missing": "nothing of it is there yet",
    "other_model": "the vectors that are there are of other models",
    "views_changed": "views landed late, or were erased",
    "users_came": "are due now and have no sequence",
    "users_left": "are no longer due",
    "vectors_missing": "have a sequence and no vector of this model",
    "vectors_behind": "have a vector of an earlier sequence",
}


@dataclass(frozen=True)
class Day:
    """What one day holds under one model, compared with what it should hold."""

    as_of: date
    users: int  # active before it, or held beyond those: the rows that each table should have
    sequences: int  # rows that user_sequences has
    sequences_differ: int  # users whose sequence is missing, another one, or of nobody active
    vectors: int  # rows that user_embeddings has under the model
    vectors_differ: int  # users whose vector is missing, of another sequence, or of nobody active
    sequences_missing: int = 0  # users who are due and have none
    sequences_left: int = 0  # of users who are not due
    vectors_missing: int = 0
    vectors_left: int = 0

    @property
    def finished(self) -> bool:
        """Nothing to write. A day on which nobody was active has nothing to write either."""
        return not self.users or not (self.sequences_differ or self.vectors_differ)

    @property
    def sequences_to_write(self) -> int:
        return 0 if self.finished or not self.sequences_differ else self.users

    @property
    def vectors_to_write(self) -> int:
        return 0 if self.finished or not self.vectors_differ else self.users

    @property
    def rows_to_write(self) -> int:
        return self.sequences_to_write + self.vectors_to_write

    def reasons(self, other_models_have_vectors: bool) -> dict[str, int]:
        """Why it would be written: a name of `WRITE_REASONS`, and the number of users."""
        if self.finished:
            return {}
        return {name: users for name, users in self._causes(other_models_have_vectors) if users}

    def _causes(self, other_models_have_vectors: bool) -> Iterator[tuple[str, int]]:
        if not (self.sequences or self.vectors or other_models_have_vectors):
            yield "missing", self.users
            return
        came = self.sequences_missing
        changed = self.sequences_differ - came - self.sequences_left
        yield "views_changed", changed
        yield "users_came", came
        yield "users_left", max(self.sequences_left, self.vectors_left)
        if not self.vectors:
            yield ("other_model" if other_models_have_vectors else "vectors_missing"), self.users
            return
        yield "vectors_missing", max(0, self.vectors_missing - came)
        behind = self.vectors_differ - self.vectors_missing - self.vectors_left
        yield "vectors_behind", max(0, behind - changed)


@dataclass(frozen=True)
class JobCost:
    """One nightly job of a day: what it wrote, and what that took."""

    commit: Commit
    taken: ProcessCost


@dataclass(frozen=True)
class FilledDay:
    """A day that a backfill has finished. No costs: another process had finished it."""

    day: Day
    costs: tuple[JobCost, ...]
    seconds: float
    peak_bytes: int  # resident at most while it was written
    is_first: bool  # that the process has written, and by which it warmed up
    survey: ProcessCost  # of all days, by which the run began

    @property
    def commits(self) -> tuple[Commit, ...]:
        return tuple(cost.commit for cost in self.costs)
