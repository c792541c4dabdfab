"""What people read of a backfill: its plan, as a grid and sentences, and the days there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table as Grid

from contracts.paths import Places
from contracts.terminal.printing import grid

if TYPE_CHECKING:  # Spark takes seconds to start, and `--help` needs none
    from spark_jobs.backfill.days import Day
    from spark_jobs.backfill.plan import BackfillPlan
    from spark_jobs.lake.lake import Lake

_MIB = 1 << 20


def plan_grid(made: BackfillPlan) -> Grid:
    rows = (
        (
            day.as_of,
            day.users,
            _held(day.sequences, day.sequences_differ),
            _held(day.vectors, day.vectors_differ),
            day.sequences_to_write + day.vectors_to_write,
            _remark(day, made),
        )
        for day in made.days
    )
    return grid(rows, "as of", "#users", "#sequences", "#vectors", "#to write", "")


def _held(there: int, differ: int) -> str:
    return f"{there:,}" + (f" ({differ:,} differ)" if there and differ else "")


def _remark(day: Day, made: BackfillPlan) -> str:
    remarks = ["being written by another run"] if day.as_of in made.busy else []
    if not day.users:
        remarks.append("nobody had a view on the day before")
        if day.vectors:
            remarks.append(f"{day.vectors:,} vectors of nobody active are left there")
    elif day.finished:
        remarks.append("finished")
    return "; ".join(remarks)


def plan_words(made: BackfillPlan) -> Iterator[str]:
    todo = made.unfinished
    yield (
        f"{len(todo)} of {len(made.days)} days to write: {made.rows:,} rows, about "
        f"{made.bytes / _MIB:,.1f} MiB and {_span(made.seconds)} by one process ({made.source})"
    )
    if early := made.before_training_ended:
        yield (
            f"{len(early)} days, {early[0]} to {early[-1]}, are before {made.trained_before}, to "
            f"where {made.model_id} was trained: their vectors use no later view, but the training "
            "had seen views from after them. Serve them; do not judge the model by them"
        )


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} minutes"


def status_grid(lake: Lake, places: Places) -> Grid:
    """How many vectors of which days each model has, and which are served."""
    from contracts.tables import PUBLISHED_EMBEDDINGS, USER_EMBEDDINGS
    from spark_jobs.backfill.day_locks import DayLocks
    from spark_jobs.backfill.days import num_vectors

    locks = DayLocks(places.root / "backfill")
    vectors = num_vectors(lake, USER_EMBEDDINGS)
    served = num_vectors(lake, PUBLISHED_EMBEDDINGS)
    models = sorted({model for model, _ in vectors})
    rows = []
    for day in sorted({day for _, day in vectors}):
        counts = [
            f"{vectors.get((model, day), 0):,}" + (" served" if (model, day) in served else "")
            for model in models
        ]
        rows.append((day, *counts, "being written" if locks.is_taken(day) else ""))
    return grid(rows, "as of", *models, "")
