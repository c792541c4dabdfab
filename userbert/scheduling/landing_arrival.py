"""When a landing day is complete, and how long a night waits for it (docs/airflow.md).

The rule is landing/arrival.toml; without that file, a day is complete when its folder is there.
"""

import logging
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Literal, Self

from pydantic import PositiveInt, model_validator

from contracts.landing_settings import ARRIVAL_FILE
from contracts.paths import Places
from contracts.storage.landing_copy import fetch_landing
from contracts.terminal.error_codes import MISSING_LANDING_DAY
from userbert.scheduling.toml_settings import TomlSettings

_logger = logging.getLogger(__name__)


class ArrivalSettings(TomlSettings):
    """The whole file."""

    complete_when: Literal["folder", "marker", "quiet"] = "folder"
    marker: str = "_SUCCESS"  # a file that is written into the day's folder last
    quiet_minutes: PositiveInt = 30  # without a change to any file of the day
    deadline_hours: PositiveInt = 12  # after the end of the day, UTC
    poll_minutes: PositiveInt = 5
    days_expected: bool = True  # false: no day comes by itself, as in a demo

    @model_validator(mode="after")
    def _marker_is_no_landing_file(self) -> Self:
        if not self.marker.startswith(("_", ".")) or "/" in self.marker:
            raise ValueError(
                f"marker is {self.marker!r}; a name that begins with _ or . is no landing file"
            )
        return self

    @classmethod
    def of(cls, places: Places) -> Self:
        path = places.landing / ARRIVAL_FILE
        return cls.read(path) if path.exists() else cls()


def missing_part(folder: Path, settings: ArrivalSettings, now: datetime) -> str:
    """What a landing day still lacks; empty if it is complete."""
    if not folder.is_dir():
        return f"there is no folder {folder}"
    if settings.complete_when == "marker" and not (folder / settings.marker).exists():
        return f"{folder} has no file {settings.marker}"
    if settings.complete_when == "quiet":
        newest = max(_modification_times(folder))
        if now - newest < timedelta(minutes=settings.quiet_minutes):
            return (
                f"{folder} was changed at {newest:%H:%M} UTC, less than "
                f"{settings.quiet_minutes} minutes ago"
            )
    return ""


def landing_deadline(day: date, settings: ArrivalSettings) -> datetime:
    """Until when a night waits for a landing day."""
    end_of_day = datetime.combine(day, time(), UTC) + timedelta(days=1)
    return end_of_day + timedelta(hours=settings.deadline_hours)


def _modification_times(folder: Path) -> Iterator[datetime]:
    for path in (folder, *folder.rglob("*")):
        yield datetime.fromtimestamp(path.stat().st_mtime, UTC)


def wait_for_landing_day(day: str) -> bool:
    """What the sensor asks: True if `day` is complete, False if it may still come.

    It fails at the deadline, and skips a day that nobody expects.
    """
    from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

    places, now = Places.from_environment(), datetime.now(UTC)
    landing_day = date.fromisoformat(day)
    fetch_landing(places, [landing_day])
    settings = ArrivalSettings.of(places)
    folder = places.landing / day
    missing = missing_part(folder, settings, now)
    if not missing:
        return True
    if not settings.days_expected:
        raise AirflowSkipException(
            f"{missing}, and {ARRIVAL_FILE} says that no day comes by itself"
        )
    if now >= (end := landing_deadline(landing_day, settings)):
        raise AirflowFailException(
            f"userbert nightly: {MISSING_LANDING_DAY}: the landing day {day} is not complete: "
            f"{missing}. The night waited until {end:%Y-%m-%d %H:%M} UTC. Put the files "
            "there and clear this task"
        )
    _logger.info("%s; the night waits until %s UTC", missing, f"{end:%Y-%m-%d %H:%M}")
    return False
