"""Files of the data root that are older than the retention settings allow, a group a line.

What is found is looked up first and removed after it was listed, so that --dry-run says the same.
"""

import shutil
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from contracts.instants import day_named
from contracts.paths import Places
from contracts.settings.retention import RetentionSettings

_MIB = 1 << 20
_DAY_SECONDS = 86_400


@dataclass(frozen=True)
class Expired:
    """Files or folders that go, and why."""

    what: str
    paths: tuple[Path, ...]
    reason: str

    def __str__(self) -> str:
        files = [file for path in self.paths for file in _files_of(path)]
        size = sum(file.stat().st_size for file in files) / _MIB
        return f"{self.what}: {len(files):,} files, {size:,.1f} MiB go ({self.reason})"

    def remove(self) -> None:
        """Remove them; what is gone already is no error."""
        for path in self.paths:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def expired_files(
    places: Places, settings: RetentionSettings, ingested: Collection[date], today: date
) -> Iterator[Expired]:
    """All that goes today. `ingested` are the landing days that the lake has lines of."""
    yield from _landing_folders(places, settings.landing_days, ingested, today)
    aged = (
        ("Spark's event logs", _entries(places.event_logs), settings.event_logs_days),
        ("Airflow's task logs", _files_of(places.airflow / "logs"), settings.task_logs_days),
        ("gate results", _older_results(places), settings.gate_results_days),
        ("reports", _report_files(places), settings.reports_days),
    )
    for what, paths, days in aged:
        if days and (old := tuple(path for path in paths if _is_older(path, days))):
            yield Expired(what, old, f"older than {days} days")


def _landing_folders(
    places: Places, days: int, ingested: Collection[date], today: date
) -> Iterator[Expired]:
    """A line a day. A day that was never ingested stays: nothing else has its lines."""
    for folder in sorted(places.landing.glob("????-??-??")) if days else ():
        day = day_named(folder.name)
        if day and day < today - timedelta(days=days) and day in ingested:
            yield Expired(f"landing day {day}", (folder,), f"ingested, and older than {days} days")


def _entries(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.iterdir()) if folder.is_dir() else ()


def _older_results(places: Places) -> Iterator[Path]:
    """All results of each gate but the newest, which shows how the gate stands."""
    for folder in _entries(places.gates / "results"):
        by_age = sorted(_files_of(folder), key=lambda path: path.stat().st_mtime)
        yield from by_age[:-1]


def _report_files(places: Places) -> Iterator[Path]:
    """Those of single reports: the index is made anew with the next one."""
    for folder in _entries(places.reports):
        yield from _files_of(folder) if folder.is_dir() else ()


def _files_of(path: Path) -> Iterable[Path]:
    if path.is_file() or path.is_symlink():
        return [path]
    return sorted(each for each in path.rglob("*") if each.is_file())


def _is_older(path: Path, days: int) -> bool:
    """Of a folder, by its newest file: an application may still write its log."""
    newest = max((file.stat().st_mtime for file in _files_of(path)), default=path.stat().st_mtime)
    return newest < time.time() - days * _DAY_SECONDS
