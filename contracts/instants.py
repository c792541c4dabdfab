"""Days and silences in microseconds, as the views' times are counted: since 1970, UTC; and the days
that folders are named for."""

from datetime import date

from contracts.limits import SESSION_GAP

DAY_MICROSECONDS = 86_400_000_000
SESSION_GAP_MICROSECONDS = int(SESSION_GAP.total_seconds() * 1_000_000)


def midnight_microseconds(day: date) -> int:
    """The first instant of a UTC day."""
    return (day - date(1970, 1, 1)).days * DAY_MICROSECONDS


def day_named(name: str) -> date | None:
    """The day that a folder is named for; None for another name."""
    try:
        return date.fromisoformat(name)
    except ValueError:
        return None
