"""Users in landing files and refused lines, read line by line, as an ingest reads them."""

from collections.abc import Callable
from pathlib import Path

from contracts.landing_settings import LandingSettings, read_settings
from contracts.paths import Places
from contracts.user_lists import USER_COLUMN
from erasure.scan import FileSearch, Finding
from erasure.user_patterns import Users
from spark_jobs.ingest.formats import landing_format
from spark_jobs.ingest.landing_files import lines_with_users, parts_of_all_days
from spark_jobs.ingest.parsing.packed_files import DamagedFile
from spark_jobs.ingest.parsing.parsed_lines import Part


def landing_settings(places: Places) -> LandingSettings | None:
    """The settings of the landing files; None where nothing has landed yet."""
    path = places.landing / "settings.toml"
    return read_settings(path) if path.exists() else None


def user_columns(settings: LandingSettings | None) -> tuple[str, ...]:
    """What the user column is called: here, and in the landing files."""
    theirs = settings.columns["user_id"] if settings else USER_COLUMN
    last_step = theirs.split(".")[-1]  # of a path into values, the name that stands next to the id
    return tuple(dict.fromkeys([USER_COLUMN, theirs, last_step]))


def refused_line_test(settings: LandingSettings | None, users: Users) -> Callable[[str], bool]:
    """Whether a refused line is of one of `users`, or names one that cannot be mistaken."""
    form = landing_format(settings) if settings else None

    def names(raw: str) -> bool:
        user = form.user_of(raw) if form else None
        if user is None:
            return users.stand_apart_in(raw.encode())
        return users.has(user) or users.are_words_of(raw.encode())

    return names


def search_landing_files(places: Places, users: Users) -> FileSearch:
    """Looks through landing files, and leaves other files to the scan.

    Another user's page may name the user in its title: that is reported as a page's text.
    """
    settings = landing_settings(places)
    if settings is None:
        return lambda path: None
    parts: dict[Path, list[Part]] = {}
    for part in parts_of_all_days(places.landing, settings):
        parts.setdefault(part.path, []).append(part)

    def search(path: Path) -> list[Finding] | None:
        try:
            lines = [line for part in parts[path] for line in lines_with_users(part, settings)]
        except (DamagedFile, KeyError):  # then its bytes are looked through
            return None
        found = {}
        for line, raw, user in lines:
            text = raw.encode(errors="replace")
            is_theirs = users.stand_apart_in(text) if user is None else users.has(user)
            if is_theirs or users.are_words_of(text):
                found[is_theirs] = Finding(path, f"line {line}", page=not is_theirs)
        return list(found.values())

    return search
