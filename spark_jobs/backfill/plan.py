"""What a backfill would write now and why, its price, and what comes of it. It writes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from contracts.paths import Places
from contracts.tables import USER_EMBEDDINGS, USER_SEQUENCES
from spark_jobs.backfill.consequences import Dependent, PromotionSwitch, dependents_of, switch_to
from spark_jobs.backfill.cost_record import read_costs
from spark_jobs.backfill.day import Day
from spark_jobs.backfill.day_locks import DayLocks
from spark_jobs.backfill.days import bytes_a_row, num_vectors, survey_days
from spark_jobs.backfill.price import Price, PriceList, price_by_record, rehearse_day
from spark_jobs.lake.lake import Lake
from spark_jobs.spark.process_cost import ProcessCost, measure_processes
from spark_jobs.tables.models import Model, model_folder


@dataclass(frozen=True)
class BackfillPlan:
    """What a run would do now, and what it would cost this machine."""

    model_id: str
    days: list[Day]
    reasons: dict[str, dict[str, int]]  # day -> why it would be written -> users
    busy: list[date]  # another backfill is writing them
    before_training_ended: list[date]
    trained_before: date
    rows: int  # of both tables, exactly
    price: Price  # about, of one process
    source: str  # where the price is from
    switch: PromotionSwitch | None  # what a promotion would change for readers; None: it is served
    dependents: list[Dependent]  # what was made of these days, and follows them or does not

    @property
    def unfinished(self) -> list[Day]:
        return [day for day in self.days if not day.finished]


def make_plan(
    lake: Lake,
    places: Places,
    model: Model,
    days: Sequence[date],
    in_new_process: bool = True,
) -> BackfillPlan:
    """Look at `days`; no table, file or log is written.

    The price is that of a run in a process of its own, or in this one.
    """
    with measure_processes() as survey:  # that the run takes once more
        found = survey_days(lake, model.model_id, days)
    vectors = num_vectors(lake, USER_EMBEDDINGS)
    with_others = {day for model_id, day in vectors if model_id != model.model_id}
    locks = DayLocks(places.root / "backfill")
    todo = [day for day in found if not day.finished]
    price, source = Price(0.0, 0, 0), "nothing to write"
    if todo:
        price_list = _price_list(lake, places, model, todo, survey)
        price, source = price_list.of(todo, in_new_process), price_list.source
    return BackfillPlan(
        model_id=model.model_id,
        days=found,
        reasons={str(day.as_of): day.reasons(day.as_of in with_others) for day in todo},
        busy=[day for day in days if locks.is_taken(day)],
        before_training_ended=[day for day in days if day < model.trained_before],
        trained_before=model.trained_before,
        rows=sum(day.rows_to_write for day in todo),
        price=price,
        source=source,
        switch=switch_to(lake, model, todo, vectors),
        dependents=dependents_of(lake, places, model, [day.as_of for day in todo]),
    )


def _price_list(
    lake: Lake, places: Places, model: Model, todo: Sequence[Day], survey: ProcessCost
) -> PriceList:
    """By the record of earlier days, or else a rehearsal."""
    a_row = {table.name: bytes_a_row(lake, table) for table in (USER_SEQUENCES, USER_EMBEDDINGS)}
    if by_record := price_by_record(read_costs(places), model.model_id, a_row, survey):
        return by_record
    largest = max(todo, key=lambda day: day.users)
    return rehearse_day(lake, model_folder(places, model), largest.as_of, a_row, survey)
