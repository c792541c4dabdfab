"""The landing files of some days, cut into the parts that tasks read."""

import os
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

from contracts.errors import BadInput
from contracts.instants import day_named
from contracts.landing_settings import LandingSettings
from spark_jobs.ingest.formats import landing_format
from spark_jobs.ingest.parsing.packed_files import DamagedFile
from spark_jobs.ingest.parsing.parsed_lines import Part

_HOW_TO_GO_ON = (
    "mend the file, move it out of the landing folder, or let landing/settings.toml say "
    'damaged_files = "refuse"'
)


def landing_parts(
    landing: Path, days: Iterable[date], settings: LandingSettings, allow_missing_days: bool
) -> list[Part]:
    """The files of each day's folder and those below it, cut into parts.

    Names that start with a dot or an underscore are left out. A day without a folder is
    `BadInput` unless `allow_missing_days`; an empty folder is a day without views. A file that
    cannot be cut is a part with `damage`.
    """
    days = list(days)
    missing = [str(day) for day in days if not (landing / str(day)).is_dir()]
    if missing and not allow_missing_days:
        raise BadInput(
            f"{landing} has no folder for {', '.join(missing)}: wait for the files, make an empty "
            "folder for a day without views, or pass --allow-missing-days"
        )
    if settings.symlinks == "refuse":
        _stop_if_linked(landing, days)
    parts = [
        part
        for day in days
        for path in sorted((landing / str(day)).rglob("*"))
        if path.is_file() and not _is_hidden(path.relative_to(landing))
        for part in _parts_of(day, path, landing_file_name(path, landing), settings)
    ]
    stop_if_damaged({part.file: part.damage for part in parts if part.damage}, landing, settings)
    return parts


def _stop_if_linked(landing: Path, days: Iterable[date]) -> None:
    """A link may lead to any file that this process can read, and its lines would be published."""
    for day in days:
        folder = landing / str(day)
        for path in (folder, *sorted(folder.rglob("*"))):
            if path.is_symlink() and not _is_hidden(path.relative_to(landing)):
                raise BadInput(
                    f"{path} is a symbolic link: put the file itself there, or let "
                    'landing/settings.toml say symlinks = "follow"'
                )


def landing_file_name(path: Path, landing: Path) -> str:
    """A file's path below the landing folder, as tables hold it. Linux takes any bytes for a name;
    those that are no UTF-8 are written as \\xff."""
    return os.fsencode(path.relative_to(landing)).decode(errors="backslashreplace")


def _parts_of(day: date, path: Path, file: str, settings: LandingSettings) -> list[Part]:
    try:
        return list(landing_format(settings).split(day, path, file))
    except DamagedFile as error:
        return [Part(day, path, file, 0, 0, 1, 0, damage=error.cause)]


def stop_if_damaged(damages: dict[str, str], landing: Path, settings: LandingSettings) -> None:
    """Raise `BadInput` with each damaged file and what is wrong with it, unless the settings have
    such files refused."""
    if damages and settings.damaged_files == "stop":
        named = "; ".join(f"{landing / file}: {cause}" for file, cause in sorted(damages.items()))
        raise BadInput(f"cannot be read: {named}. To go on, {_HOW_TO_GO_ON}")


def parts_of_all_days(landing: Path, settings: LandingSettings) -> list[Part]:
    """The files of every folder that is named for a day."""
    days = (day_named(path.name) for path in sorted(landing.glob("*-*-*")) if path.is_dir())
    return landing_parts(landing, (day for day in days if day), settings, True)


def landing_file_names(parts: Iterable[Part]) -> list[str]:
    """Every file once, by day, then by name; its place here is its number."""
    return [file for _, file in sorted({(part.landing_day, part.file) for part in parts})]


def by_file(parts: Iterable[Part]) -> dict[str, list[Part]]:
    """The parts of each file, in the order of its lines."""
    found: dict[str, list[Part]] = {}
    for part in sorted(parts, key=lambda part: part.first_line):
        found.setdefault(part.file, []).append(part)
    return found


def _is_hidden(path: Path) -> bool:
    return any(name.startswith((".", "_")) for name in path.parts)


def lines_with_users(
    part: Part, settings: LandingSettings
) -> Iterator[tuple[int, str, str | None]]:
    """Each line of a part: its number, the line as rejected_logs would keep it, and its user, which
    is None where the line cannot be parsed."""
    form = landing_format(settings)
    users: dict[int, str | None] = {}
    for batch in form.parse(part):
        values = batch.columns["user_id"].to_pylist()
        is_broken = [False] * len(values) if batch.errors is None else batch.errors.is_valid()
        for number, user, broken in zip(
            batch.line_numbers.tolist(), values, is_broken, strict=True
        ):
            users[number] = None if broken else user or ""
    for number, raw in form.raw_lines(part):
        yield number, raw, users.get(number)
