"""The lake: damaged files, refused gates, holes between days, and the newest good day."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from contracts.errors import UserbertError
from contracts.paths import Places
from contracts.storage.damage import check_parquet_files
from contracts.storage.delta_reading import newest_partition_day, open_delta_table
from contracts.tables import BROWSING_LOGS, PUBLISHED_EMBEDDINGS, TABLES, USER_SEQUENCES, Table
from expectations.landing_gaps import gap_lines, missing_landing_days
from expectations.results import newest_readable
from userbert.doctor.finding import FAULT, FINE, NOTE, Finding


@dataclass(frozen=True)
class Days:
    """How far each part of the pipeline has come; None where nothing is there."""

    landed: date | None  # the newest landing folder
    ingested: date | None  # the newest day of browsing_logs
    sequences: date | None  # the newest as_of
    published: date | None  # the newest as_of

    @property
    def due(self) -> date | None:
        """The as_of day that a night after the newest landing day has."""
        return self.landed + timedelta(days=1) if self.landed else None


def known_days(places: Places) -> Days:
    return Days(
        max(_landing_days(places), default=None),
        _newest_part(places, BROWSING_LOGS, "event_date"),
        _newest_part(places, USER_SEQUENCES, "as_of"),
        _newest_part(places, PUBLISHED_EMBEDDINGS, "as_of"),
    )


def _landing_days(places: Places) -> Iterator[date]:
    for folder in places.landing.glob("????-??-??"):
        try:
            yield date.fromisoformat(folder.name)
        except ValueError:
            continue


def _newest_part(places: Places, table: Table, column: str) -> date | None:
    """None for a damaged table, too: its own check names the damage."""
    try:
        return newest_partition_day(f"{places.lake}/{table.name}", column)
    except UserbertError:
        return None


def check_lake(places: Places, days: Days) -> Iterator[Finding]:
    yield from _check_tables(places)
    yield from _check_gates(places)
    yield _check_holes(places)
    yield _check_newest_day(days)


def _check_tables(places: Places) -> Iterator[Finding]:
    """Logs and both ends of each data file; no page is read."""
    whole, versions = [], 0
    for table in TABLES:
        try:
            opened = open_delta_table(f"{places.lake}/{table.name}")
            if opened is None:
                continue
            if "://" not in places.lake:
                check_parquet_files(opened.file_uris())
        except UserbertError as error:
            yield Finding("tables", FAULT, str(error), "what the line says")
            continue
        whole.append(table.name)
        versions += opened.version() + 1
    if whole:
        yield Finding("tables", FINE, f"{len(whole)} are whole, in {versions} versions")
    else:
        yield Finding("tables", NOTE, f"there is none below {places.lake}", "userbert run")


def _check_gates(places: Places) -> Iterator[Finding]:
    """The newest result of each table."""
    passed = 0
    for table in TABLES:
        results, damaged = newest_readable(places.gates, table.name, 1)
        for path in damaged:
            yield Finding("gates", NOTE, f"{path} is damaged: it is no data", f"rm {path}")
        for result in results:
            passed += result.passed
            if not result.passed:
                yield Finding("gates", FAULT, result.line, "mend the input, then clear the task")
    yield Finding("gates", FINE, f"the newest results of {passed} tables have passed")


def _check_holes(places: Places) -> Finding:
    try:
        missing = missing_landing_days(places)
    except UserbertError:
        return Finding("days", NOTE, "not known while a table is damaged")
    if not missing:
        return Finding("days", FINE, "no landing day is missing between others")
    (line,) = gap_lines(missing)
    ingest = f"userbert browsing-logs --from-day {missing[0]} --to-day {missing[0]}"
    return Finding("days", NOTE, line, ingest)


def _check_newest_day(days: Days) -> Finding:
    if days.published is None:
        return Finding("newest good day", NOTE, "nothing is published yet")
    says = f"as of {days.published}, landed up to {days.landed}, ingested up to {days.ingested}"
    if days.due and days.published < days.due:
        return Finding("newest good day", NOTE, f"{says}: {days.due} is due", _night(days))
    return Finding("newest good day", FINE, says)


def _night(days: Days) -> str:
    """The nights that are missing, for the Airflow that runs."""
    assert days.published is not None
    first = days.published + timedelta(days=1)
    return (
        f"airflow backfill create --dag-id nightly --from-date {first} --to-date {days.due} "
        "--max-active-runs 1"
    )


def next_command(days: Days, has_champion: bool) -> str:
    """What to run where nothing is at fault; empty where nothing is due."""
    if days.landed is None:
        return "userbert run (the demo), or userbert init for files of your own"
    if days.ingested is None or not has_champion:
        return "userbert run"
    if days.published is None or (days.due and days.published < days.due):
        return _night(days) if days.published else "userbert run"
    return ""
