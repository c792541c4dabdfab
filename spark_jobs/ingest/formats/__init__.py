"""The formats of landing files. A module of this folder is one format, and is all that one takes.

The module's `LANDING_FORMAT` is a class with the `name` that landing/settings.toml knows it by.
"""

from collections.abc import Collection, Iterator
from datetime import date
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import ClassVar, Protocol

from contracts.errors import BadInput
from contracts.landing_settings import LandingSettings
from spark_jobs.ingest.parsing.parsed_lines import LineBatch, Part


class LandingFormat(Protocol):
    """Reads and rewrites the files of one format. Whatever cannot be read raises `DamagedFile`.

    Line numbers count from 1 and are the file's own: whichever parts it is cut into, the same line
    has the same number in all that follows.
    """

    name: ClassVar[str]

    def __init__(self, settings: LandingSettings) -> None: ...

    def split(self, day: date, path: Path, file: str) -> Iterator[Part]:
        """The parts of a file that may be read side by side; `file` is its path below landing/."""

    def parse(self, part: Part) -> Iterator[LineBatch]:
        """All lines of a part, each once, in any order."""

    def raw_lines(
        self, part: Part, wanted: Collection[int] | None = None
    ) -> Iterator[tuple[int, str]]:
        """Lines of a part by number, in order, as rejected_logs keeps them; all by default."""

    def user_of(self, raw: str) -> str | None:
        """The user of a line as rejected_logs keeps it; None where it does not say."""

    def erase(self, path: Path, out: Path, lines: Collection[int]) -> None:
        """Write the file to `out` without `lines`; a format of text keeps all other numbers."""

    def count(self, path: Path) -> int:
        """How many lines the file holds: an audit's own count, which parses as little as it can."""


@cache
def _formats() -> dict[str, type[LandingFormat]]:
    modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    return {module.LANDING_FORMAT.name: module.LANDING_FORMAT for module in modules}


def format_names() -> list[str]:
    """What `format` may be in landing/settings.toml."""
    return sorted(_formats())


def landing_format(settings: LandingSettings) -> LandingFormat:
    """The format that the settings name. Here alone it is chosen."""
    if settings.format not in _formats():
        raise BadInput(
            f"landing/settings.toml: format is {settings.format!r}; say one of "
            f"{', '.join(format_names())}"
        )
    return _formats()[settings.format](settings)
