"""Log files that hold several days, cut into the folder of each day's landing files.

userbert landing split exports/january.csv

Each line goes to the folder of the day of its view, in the time_zone of landing/settings.toml. A
line without a time that can be read goes with the line before it, and is refused there by the
ingest. The files that are named stay as they are.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from contracts.errors import BadInput
from contracts.landing_settings import LandingSettings, read_settings
from contracts.paths import Places
from contracts.storage.atomic_write import atomic_file, write_bytes
from contracts.terminal.printing import grid, print_parts
from spark_jobs.ingest.first_look.line_check import check_lines
from spark_jobs.ingest.formats import format_names, landing_format
from spark_jobs.ingest.parsing.text_files import text_lines, whole_file

_PACKED_NAMES = (".gz", ".bz2", ".xz", ".zst")  # a text is written as it is


def lines_of_days(path: Path, settings: LandingSettings) -> dict[date, set[int]]:
    """The numbers of a file's lines, by the day of their views."""
    zone = ZoneInfo(settings.time_zone)
    lines = sorted(check_lines(path, settings, None), key=lambda line: line.number)
    times = [line.time and line.time.astimezone(zone).date() for line in lines]
    day = next(filter(None, times), None)
    if day is None:
        raise BadInput(f"{path} has no line with a time: `userbert landing check` shows why")
    days: dict[date, set[int]] = defaultdict(set)
    for line, found in zip(lines, times, strict=True):
        day = found or day
        days[day].add(line.number)
    return days


def split_file(path: Path, landing: Path, settings: LandingSettings) -> dict[Path, int]:
    """Write the part of each day, and say how many lines it has."""
    days = lines_of_days(path, settings)
    targets = {day: landing / str(day) / _plain_name(path, settings) for day in sorted(days)}
    if there := [target for target in targets.values() if target.exists()]:
        raise BadInput(f"{there[0]} is there already: remove it, or give the file another name")
    if settings.format == "parquet":
        everything = set().union(*days.values())
        for day, target in targets.items():
            with atomic_file(target) as unfinished:
                landing_format(settings).erase(path, unfinished, everything - days[day])
    else:
        encoding, start = settings.csv.encoding, _header_of(path, settings)
        texts = dict(_texts_of(path, settings))
        for day, target in targets.items():
            lines = [*start, *(texts[number] for number in sorted(days[day]))]
            write_bytes(target, "".join(f"{line}\n" for line in lines).encode(encoding))
    return {target: len(days[day]) for day, target in targets.items()}


def _plain_name(path: Path, settings: LandingSettings) -> str:
    is_packed_text = settings.format != "parquet" and path.suffix in _PACKED_NAMES
    return path.stem if is_packed_text else path.name


def _texts_of(path: Path, settings: LandingSettings) -> Iterator[tuple[int, str]]:
    return landing_format(settings).raw_lines(whole_file(date.min, path, path.name))


def _header_of(path: Path, settings: LandingSettings) -> list[str]:
    """The lines before a CSV file's first record: the names of its columns."""
    if settings.format != "csv" or settings.csv.header:
        return []
    first = next((number for number, _ in _texts_of(path, settings)), 1)
    lines = text_lines(whole_file(date.min, path, path.name), settings.csv.encoding)
    return [line.text for line in itertools.takewhile(lambda line: line.number < first, lines)]


def main(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Log files, packed or not.")
    ],
) -> None:
    landing = Places.from_environment().landing
    settings = read_settings(landing / "settings.toml", format_names())
    written: list[tuple[Path, int]] = []
    for path in files:
        if not path.is_file():
            raise BadInput(f"{path} is no file: name log files")
        written += split_file(path, landing, settings).items()
    days = sorted({to.parent.name for to, _ in written})
    shown = grid([(str(to), lines) for to, lines in written], "file", "#lines")
    print_parts(shown, _next_step(days))


def _next_step(days: list[str]) -> str:
    if len(days) == 1:
        return f"All lines are of {days[0]}. A first look needs the lines of two days at least."
    return (
        f"{len(days)} days of landing files. Next, for a first look: userbert run --source landing "
        f"--first-day {days[0]} --last-day {days[-1]} --nights 1 --preset smoke"
    )
