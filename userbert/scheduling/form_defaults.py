"""What the forms of the DAGs are filled in with: the newest days that make sense."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

from airflow.sdk import Param

from contracts.paths import Places


def _landing_days(places: Places) -> list[date]:
    """The days that have a landing folder, oldest first."""
    return sorted(_days(places))


def newest_as_of(places: Places) -> date:
    """The day after the newest landing day; today (UTC) if nothing has landed."""
    days = _landing_days(places)
    return days[-1] + timedelta(days=1) if days else datetime.now(UTC).date()


def first_landing_day(places: Places) -> date:
    days = _landing_days(places)
    return days[0] if days else newest_as_of(places) - timedelta(days=1)


def last_landing_day(places: Places) -> date:
    return newest_as_of(places) - timedelta(days=1)


def day_param(day: date, title: str, help: str) -> Param:
    """A form's field for a day, filled in with `day`; the form shows `help` below it."""
    return Param(str(day), type="string", format="date", title=title, description=help)


def _days(places: Places) -> Iterator[date]:
    for path in places.landing.glob("????-??-??"):
        try:
            yield date.fromisoformat(path.name)
        except ValueError:
            continue  # some other folder
