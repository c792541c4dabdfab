"""What a backfill would write now, and how long it would take this machine. It writes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from contracts.paths import Places
from contracts.tables import USER_EMBEDDINGS, USER_SEQUENCES
from spark_jobs.backfill.day_locks import DayLocks
from spark_jobs.backfill.days import Day, bytes_a_row, survey_days
from spark_jobs.backfill.time_estimate import estimate_from_timings, read_timings, rehearse_day
from spark_jobs.lake.lake import Lake
from spark_jobs.tables.models import Model, model_folder


@dataclass(frozen=True)
class BackfillPlan:
    """What a run would do now, and how long it would take this machine."""

    model_id: str
    days: list[Day]
    busy: list[date]  # another backfill is writing them
    before_training_ended: list[date]
    trained_before: date
    rows: int  # of both tables, exactly
    bytes: int  # about
    seconds: float  # about, of one process
    source: str  # where the estimate is from

    @property
    def unfinished(self) -> list[Day]:
        return [day for day in self.days if not day.finished]


def make_plan(lake: Lake, places: Places, model: Model, days: Sequence[date]) -> BackfillPlan:
    """Look at `days`; no table, file or log is written."""

    found = survey_days(lake, model.model_id, days)
    locks = DayLocks(places.root / "backfill")
    todo = [day for day in found if not day.finished]
    seconds, source = _estimated_seconds(lake, places, model, todo)
    return BackfillPlan(
        model_id=model.model_id,
        days=found,
        busy=[day for day in days if locks.is_taken(day)],
        before_training_ended=[day for day in days if day < model.trained_before],
        trained_before=model.trained_before,
        rows=sum(day.sequences_to_write + day.vectors_to_write for day in todo),
        bytes=_bytes(lake, todo),
        seconds=seconds,
        source=source,
    )


def _estimated_seconds(
    lake: Lake, places: Places, model: Model, todo: Sequence[Day]
) -> tuple[float, str]:
    """The time that one process takes for `todo`, and where the estimate is from."""

    if not todo:
        return 0.0, "nothing to write"
    largest = max(todo, key=lambda day: day.users)
    estimate = estimate_from_timings(read_timings(places), model.model_id) or rehearse_day(
        lake, model_folder(places, model), largest.as_of
    )
    return estimate.seconds([(day.jobs, day.vectors_to_write) for day in todo]), estimate.source


def _bytes(lake: Lake, todo: Sequence[Day]) -> int:

    return round(
        sum(day.vectors_to_write for day in todo) * bytes_a_row(lake, USER_EMBEDDINGS)
        + sum(day.sequences_to_write for day in todo) * bytes_a_row(lake, USER_SEQUENCES)
    )
