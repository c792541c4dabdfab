"""settings.toml from a look at log files: format, dialect, encoding, columns, time format.

userbert init exports/january.csv
userbert init exports/*.jsonl --user-id visitor.id --force

Each guess is shown with its reason, and what the first lines become under it. The settings are
written to landing/settings.toml of the data root, from where the ingest reads them.
"""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from contracts.errors import BadInput
from contracts.landing_settings import LINE_ID, LandingSettings, checked_settings
from contracts.paths import Places
from contracts.storage.atomic_write import write_text
from contracts.terminal.printing import grid, print_parts
from spark_jobs.ingest.first_look.column_guess import ColumnGuess, guess_columns
from spark_jobs.ingest.first_look.file_guess import FileGuess, guess_file
from spark_jobs.ingest.first_look.line_check import first_lines
from spark_jobs.ingest.formats import format_names

_CHECKED_LINES = 1_000  # of each file, under the settings that were guessed
_DEFAULT_DIALECT = {"delimiter": ",", "quote": '"', "escape": "", "encoding": "utf-8", "header": ()}


def settings_text(file: FileGuess, columns: ColumnGuess, time_zone: str) -> str:
    """The TOML of settings.toml; of the dialect only what differs from the default is in it."""
    return "\n".join(_settings_lines(file, columns, time_zone)) + "\n"


def _settings_lines(file: FileGuess, columns: ColumnGuess, time_zone: str) -> Iterator[str]:
    yield "# Guessed by `userbert init`; docs/landing-files.md has all settings."
    yield f"format = {_toml(file.format)}"
    yield f"time_zone = {_toml(time_zone)}"
    yield f"time_format = {_toml(columns.time.format)}"
    yield "\n[columns]"
    yield from (f"{ours} = {_toml(theirs)}" for ours, theirs in columns.columns.items())
    dialect = {
        name: value
        for name, value in file.dialect.model_dump().items()
        if file.format == "csv" and value != _DEFAULT_DIALECT[name]
    }
    if dialect:
        yield "\n[csv]"
        yield from (f"{name} = {_toml(value)}" for name, value in dialect.items())


def _toml(value: str | tuple[str, ...]) -> str:
    """A basic string of TOML or a list of them, whose signs are those of JSON."""
    return json.dumps(value, ensure_ascii=False)


def _guesses(
    file: FileGuess, columns: ColumnGuess, time_zone: str, is_zone_named: bool
) -> Iterator[tuple[str, str, str]]:
    """Setting, value and why."""
    yield "format", file.format, file.reasons["format"]
    for name in ("delimiter", "quote", "escape", "encoding", "header"):
        if name in file.reasons:
            yield f"csv.{name}", _toml(getattr(file.dialect, name)), file.reasons[name]
    for ours, theirs in columns.columns.items():
        yield f"columns.{ours}", theirs, columns.reasons[ours]
    time = columns.time
    others = f"; {time.rival} would read other days" if time.rival else ""
    yield "time_format", time.format, f"it reads {time.share:.0%} of the values{others}"
    if is_zone_named:
        why = "you said so"
    elif columns.has_zones:
        why = "the times carry their zone, or are counted from 1970"
    else:
        why = "the times carry no zone, and nothing tells it: say it by --time-zone"
    yield "time_zone", time_zone, why


def _check(files: list[Path], rules: LandingSettings) -> Iterator[tuple[str, int, int, str]]:
    """Of each file the lines that were read, those that would be refused, and why the first."""
    for file in files:
        lines, _ = first_lines(file, rules, None, _CHECKED_LINES)
        refused = [line for line in lines if line.reasons]
        yield str(file), len(lines), len(refused), refused[0].reasons[0] if refused else ""


def main(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Log files of one form, packed or not.")
    ],
    user_id: Annotated[
        str | None, typer.Option("--user-id", metavar="COLUMN", help="Who viewed.")
    ] = None,
    event_time: Annotated[
        str | None, typer.Option("--event-time", metavar="COLUMN", help="When.")
    ] = None,
    title: Annotated[
        str | None, typer.Option("--title", metavar="COLUMN", help="What, in words.")
    ] = None,
    host: Annotated[str | None, typer.Option("--host", metavar="COLUMN", help="Where.")] = None,
    log_id: Annotated[
        str | None, typer.Option("--log-id", metavar="COLUMN", help="The line's own id.")
    ] = None,
    time_zone: Annotated[
        str | None,
        typer.Option("--time-zone", metavar="ZONE", help="Of times without a zone: Europe/Paris."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a settings.toml that is there.")
    ] = False,
) -> None:
    path = Places.from_environment().landing / "settings.toml"
    if path.exists() and not force:
        raise BadInput(f"{path} is there already: change it by hand, or replace it by --force")
    named = {"user_id": user_id, "event_time": event_time, "title": title, "host": host,
             LINE_ID: log_id}  # fmt: skip
    file = guess_file(files[0])
    columns = guess_columns(file, {ours: theirs for ours, theirs in named.items() if theirs})
    zone = time_zone or "UTC"
    text = settings_text(file, columns, zone)
    rules = checked_settings(tomllib.loads(text), "what was guessed", format_names())
    guesses = grid(_guesses(file, columns, zone, time_zone is not None), "setting", "value", "why")
    checked = grid(
        _check(files, rules), "file", "#lines read", "#refused", "why the first is refused"
    )
    write_text(path, text)
    print_parts(
        guesses,
        checked,
        f"{path} has these settings. Next: `userbert landing split FILE...` puts the lines of "
        "files into a folder for each day; `userbert landing check FILE` shows what becomes of one",
    )
