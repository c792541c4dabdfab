"""What people read of a backfill: its plan, as a grid and sentences, and the days there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table as Grid

from contracts.paths import Places
from contracts.terminal.printing import grid

if TYPE_CHECKING:  # Spark takes seconds to start, and `--help` needs none
    from spark_jobs.backfill.consequences import PromotionSwitch
    from spark_jobs.backfill.day import Day
    from spark_jobs.backfill.plan import BackfillPlan
    from spark_jobs.backfill.price import Price
    from spark_jobs.lake.lake import Lake

_MIB, _GIB = 1 << 20, 1 << 30
_MAX_NAMED = 3  # names of one kind that a sentence gives


def plan_grid(made: BackfillPlan) -> Grid:
    rows = (
        (
            day.as_of,
            day.users,
            _held(day.sequences, day.sequences_differ),
            _held(day.vectors, day.vectors_differ),
            day.rows_to_write,
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
    return "; ".join([*remarks, *_why(made.reasons.get(str(day.as_of), {}))])


def _why(reasons: dict[str, int]) -> Iterator[str]:
    """Why a day would be written, in words."""
    from spark_jobs.backfill.day import WRITE_REASONS

    for name, users in reasons.items():
        is_of_all = name in ("missing", "other_model")
        yield WRITE_REASONS[name] if is_of_all else f"{WRITE_REASONS[name]} ({users:,} users)"


def plan_words(made: BackfillPlan) -> Iterator[str]:
    todo, price = made.unfinished, made.price
    yield (
        f"{len(todo)} of {len(made.days)} days to write: {made.rows:,} rows, about "
        f"{price.bytes / _MIB:,.1f} MiB, {_time_words(price)} by one process and "
        f"{price.peak_bytes / _GIB:.1f} GiB of memory ({made.source})"
    )
    if early := made.before_training_ended:
        yield (
            f"{len(early)} days, {early[0]} to {early[-1]}, are before {made.trained_before}, to "
            f"where {made.model_id} was trained: their vectors use no later view, but the training "
            "had seen views from after them. Serve them; do not judge the model by them"
        )
    if made.switch:
        yield from _switch_words(made.switch)
    for each in made.dependents:
        yield f"{each.kind} ({_some(each.names)}): {each.what_happens}"


def _time_words(price: Price) -> str:
    """The time on a machine as busy as this one, and the part that no other work changes."""
    of_cpu = f" ({_span(price.cpu_seconds)} of CPU time)" if price.cpu_seconds else ""
    return _span(price.seconds) + of_cpu


def _switch_words(switch: PromotionSwitch) -> Iterator[str]:
    now = f"{switch.days_now:,} days and {switch.rows_now:,} rows of {switch.champion}"
    yield (
        "a promotion would then switch readers "
        + (f"from {now} " if switch.champion else "")
        + f"to {switch.days_then:,} days and {switch.rows_then:,} rows"
        + (f", and embed {switch.more_users:,} more users first" if switch.more_users else "")
        + _space_words(switch)
    )
    if switch.missing_days:
        days = _some([str(day) for day in switch.missing_days])
        yield f"it would be refused: {len(switch.missing_days)} published days are lacking ({days})"


def _space_words(switch: PromotionSwitch) -> str:
    if not switch.champion:
        return ""
    if switch.space_now == switch.space_then:
        return f"; the space stays {switch.space_now}"
    return f"; the space changes from {switch.space_now} to {switch.space_then}"


def _some(names: list[str]) -> str:
    more = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


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
