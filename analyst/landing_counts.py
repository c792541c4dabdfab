"""How many lines the landing files hold, counted from the files without parsing their lines."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

from contracts.landing_settings import read_settings
from spark_jobs.ingest.formats import LandingFormat, landing_format
from spark_jobs.ingest.landing_files import landing_file_name
from spark_jobs.ingest.parsing.packed_files import DamagedFile


def lines_by_file(landing: Path) -> Iterator[tuple[date, str, int]]:
    """(day that a folder is named for, path of a file below `landing`, its lines or rows).

    A CSV's header is no line. A file that cannot be read is one. Each folder is there with 0 lines
    and no file.
    """
    form = landing_format(read_settings(landing / "settings.toml"))
    for folder in day_folders(landing):
        day = date.fromisoformat(folder.name)
        yield day, "", 0  # so that an empty folder counts, too
        for path in _visible_files(folder):
            yield day, landing_file_name(path, landing), _num_lines(form, path)


def day_folders(landing: Path) -> list[Path]:
    """The folders that are named for a day; none where there is no landing folder."""
    return sorted(filter(_is_day, landing.iterdir())) if landing.is_dir() else []


def _num_lines(form: LandingFormat, path: Path) -> int:
    try:
        return form.count(path)
    except DamagedFile:
        return 1


def _is_day(folder: Path) -> bool:
    try:
        date.fromisoformat(folder.name)
    except ValueError:
        return False
    return folder.is_dir()


def _visible_files(folder: Path) -> Iterator[Path]:
    """Hidden files and folders are somebody's copy in progress."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden:
            yield path
