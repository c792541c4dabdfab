"""Landing days between the first and the last that left no line in the lake: never ingested."""

from collections.abc import Iterable, Iterator
from datetime import date, timedelta

from contracts.landing_settings import are_days_expected
from contracts.paths import Places
from contracts.storage.delta_reading import arrow_dataset, open_delta_table
from contracts.tables import BROWSING_LOGS, REJECTED_LOGS

_MAX_NAMED = 10  # days that the line names


def missing_landing_days(places: Places) -> list[date]:
    """The days that neither browsing_logs nor rejected_logs has a line of, in order.

    A landing folder without one line leaves no row, so its day is named too. Where no day comes by
    itself (landing/arrival.toml), a day without a folder is a day without views. Memory is a batch
    of one column of dates.
    """
    days = set(_days_in(places.lake))
    if not days:
        return []
    first, num_days = min(days), (max(days) - min(days)).days
    missing = [day for n in range(1, num_days) if (day := first + timedelta(days=n)) not in days]
    if are_days_expected(places.landing):
        return missing
    return [day for day in missing if (places.landing / str(day)).is_dir()]


def _days_in(lake: str) -> Iterator[date]:
    import pyarrow.compute as pc

    for table in (BROWSING_LOGS, REJECTED_LOGS):
        path = f"{lake}/{table.name}"
        if (opened := open_delta_table(path)) is None:
            continue
        for batch in arrow_dataset(opened, path).to_batches(columns=["landing_day"]):
            yield from (day for day in pc.unique(batch.column("landing_day")).to_pylist() if day)


def gap_lines(missing: Iterable[date]) -> list[str]:
    """One line that names the days and the command for them; none where none is missing."""
    days = list(missing)
    if not days:
        return []
    named = ", ".join(map(str, days[:_MAX_NAMED])) + (" ..." if len(days) > _MAX_NAMED else "")
    noun = "landing day has" if len(days) == 1 else "landing days have"
    return [
        f"{len(days)} {noun} no line in the lake, between days that have: {named}. Ingest each by "
        f"`userbert browsing-logs --from-day {days[0]} --to-day {days[0]}`, and the jobs after it"
    ]
