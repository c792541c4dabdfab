"""What would become of the lines of a landing file, without Spark and without a lake.

userbert landing check data/landing/2026-01-31/views.jsonl

The file is read by the ingest's own readers, and each line is judged alone: duplicates and lines of
forgotten users are only found by the ingest, which sees all lines. Nothing is written.
"""

import json as jsonlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import typer

from contracts.errors import BadInput
from contracts.instants import day_named
from contracts.landing_settings import LINE_ID, OPTIONAL_COLUMNS, LandingSettings, read_settings
from contracts.paths import Places
from contracts.terminal.options import AsJson, day_option
from contracts.terminal.printing import grid, print_parts
from contracts.user_lists import trim_user_id
from spark_jobs.ingest.formats import format_names, landing_format
from spark_jobs.ingest.landing_files import stop_if_damaged
from spark_jobs.ingest.parsing.packed_files import DamagedFile
from spark_jobs.ingest.parsing.parsed_lines import BATCH_LINES, LineBatch, damage_mark
from spark_jobs.ingest.parsing.time_texts import can_read_pattern, instant_of
from spark_jobs.ingest.reason_kinds import (
    AFTER_LANDING_DAY,
    EARLIEST_TIME,
    NOBODYS_LINE,
    NUL_IN_USER,
    SHOWN_CHARACTERS,
    UNREADABLE_TIME,
)
from spark_jobs.transforms.plain_title import normalized_text

_SHOWN_LINES = 10


@dataclass(frozen=True)
class CheckedLine:
    """A line as the ingest would read it; `reasons` are why it would be refused."""

    number: int
    values: dict[str, str | None]  # by our name
    time: datetime | None
    reasons: tuple[str, ...]


def check_lines(path: Path, settings: LandingSettings, day: date | None) -> Iterator[CheckedLine]:
    """The lines of a file, judged as those of the landing `day`; without one, of any day.

    They come as the format reads them: nearly in order.
    """
    form = landing_format(settings)
    try:
        for part in form.split(day or date.max, path, path.name):
            for batch in form.parse(part):
                yield from _checked(batch, settings, day)
    except DamagedFile as error:
        stop_if_damaged({path.name: error.cause}, path.parent, settings)
        yield from _checked(damage_mark(error.cause), settings, day)


def first_lines(
    path: Path, settings: LandingSettings, day: date | None, limit: int
) -> tuple[list[CheckedLine], bool]:
    """The lines up to number `limit` in their order, and whether the file has no others."""
    found: list[CheckedLine] = []
    for line in check_lines(path, settings, day):
        if line.number > limit + 2 * BATCH_LINES:  # a format may give those of a batch in any order
            break
        found.append(line)
    kept = sorted((line for line in found if line.number <= limit), key=lambda line: line.number)
    return kept, len(kept) == len(found)


def _checked(
    batch: LineBatch, settings: LandingSettings, day: date | None
) -> Iterator[CheckedLine]:
    count = len(batch.line_numbers)
    nothing: list[Any] = [None] * count
    errors: list[Any] = nothing if batch.errors is None else batch.errors.to_pylist()
    columns = {name: values.to_pylist() for name, values in batch.columns.items()}
    instants = nothing if batch.instants is None else batch.instants.cast(pa.int64()).to_pylist()
    for row, number in enumerate(batch.line_numbers.tolist()):
        if reasons := errors[row]:
            yield CheckedLine(number, dict.fromkeys(columns), None, tuple(reasons))
            continue
        values = {name: texts[row] for name, texts in columns.items()}
        time = _time(values["event_time"], instants[row], settings)
        yield CheckedLine(number, values, time, tuple(_reasons(values, time, settings, day)))


def _time(text: str | None, micros: int | None, settings: LandingSettings) -> datetime | None:
    if micros is not None:
        return instant_of(str(micros), "epoch_us", "UTC")
    return None if text is None else instant_of(text, settings.time_format, settings.time_zone)


def _reasons(
    values: dict[str, str | None],
    time: datetime | None,
    settings: LandingSettings,
    day: date | None,
) -> Iterator[str]:
    """All that is wrong with a line that could be parsed, as line_reasons.py says it."""
    text = values["event_time"] or (f"{time:%Y-%m-%d %H:%M:%S}" if time else None)
    shown = "" if text is None else f" ({text[:SHOWN_CHARACTERS]})"
    user = values["user_id"] or ""
    yield from _reasons_of_user(user)
    if _is_blank(values["title"]):
        yield "blank title"
    if time is None:
        yield f"{UNREADABLE_TIME}{shown}"
    elif day is not None and time.astimezone(ZoneInfo(settings.time_zone)).date() > day:
        yield f"{AFTER_LANDING_DAY}{shown}"
    if time is not None and time.date() < EARLIEST_TIME:
        yield f"event_time before {EARLIEST_TIME.year}{shown}"
    if user.lower() in {trim_user_id(name).lower() for name in settings.nobody}:
        yield f"{NOBODYS_LINE} ({user})"
    if LINE_ID in settings.columns and _is_blank(values[LINE_ID]):
        yield "blank log_id"


def _reasons_of_user(user: str) -> Iterator[str]:
    if _is_blank(user):
        yield "blank user_id"
    if "\0" in user:
        yield NUL_IN_USER


def _is_blank(text: str | None) -> bool:
    return not normalized_text(text or "")


def settings_file(path: Path) -> Path:
    """settings.toml in the nearest folder above the file that has one, else the data root's."""
    above = (folder / "settings.toml" for folder in path.absolute().parents)
    return next(
        (each for each in above if each.is_file()),
        Places.from_environment().landing / "settings.toml",
    )


def _landing_day(path: Path) -> date | None:
    """The day that the nearest folder above the file is named for."""
    return next((day for each in path.absolute().parents if (day := day_named(each.name))), None)


def _summary(lines: list[CheckedLine]) -> dict[str, Any]:
    refused = [line for line in lines if line.reasons]
    kinds: dict[str, dict[str, Any]] = {}
    for line in refused:
        for reason in line.reasons:
            first = {"lines": 0, "first_line": line.number, "reason": reason}
            kinds.setdefault(reason.partition(" (")[0], first)["lines"] += 1
    return {
        "lines_read": len(lines),
        "refused": len(refused),
        "kinds": kinds,
        "lines": [_as_json(line) for line in lines[:_SHOWN_LINES]],
    }


def _as_json(line: CheckedLine) -> dict[str, Any]:
    time = line.time and f"{line.time:%Y-%m-%dT%H:%M:%S.%fZ}"
    return {"line": line.number, **line.values, "time": time, "reasons": list(line.reasons)}


def _tables(found: dict[str, Any], settings: LandingSettings) -> list[Any]:
    others = [name for name in (*OPTIONAL_COLUMNS, LINE_ID) if name in settings.columns]
    columns = ["user_id", "time", "title", *others]
    rows = [
        (line["line"], *(line[name] for name in columns), line["reasons"] or "accepted")
        for line in found["lines"]
    ]
    kinds = [
        (kind, facts["lines"], facts["first_line"], facts["reason"])
        for kind, facts in found["kinds"].items()
    ]
    shown = grid(
        rows, "#line", *columns, "becomes", title="the first lines, as the ingest reads them"
    )
    refusals = grid(kinds, "refused", "#lines", "#first line", "its reason")
    return [shown, *([refusals] if kinds else [])]


def main(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A landing file, packed or not.")],
    settings: Annotated[
        Path | None,
        typer.Option(
            "--settings",
            metavar="FILE",
            help="How to read it. [default: settings.toml in a folder above the file, else in the "
            "data root's landing folder]",
        ),
    ] = None,
    day: Annotated[
        date | None,
        day_option("--day", help="The landing day. [default: the folder's name]"),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", help="How many lines to read, from the first on.")
    ] = 100_000,
    json: AsJson = False,
) -> None:
    if not file.is_file():
        raise BadInput(f"{file} is no file: name one landing file")
    if limit < 1:
        raise BadInput(f"--limit is {limit}; it must be 1 or more")
    path = settings or settings_file(file)
    rules = read_settings(path, format_names())
    if not can_read_pattern(rules.time_format):
        raise BadInput(
            f"{path}: the times of time_format {rules.time_format!r} are read by Spark alone: "
            "ingest a day to see what becomes of it"
        )
    landing_day = day or _landing_day(file)
    lines, is_whole = first_lines(file, rules, landing_day, limit)
    found = _summary(lines)
    facts = {"file": str(file), "settings": str(path), "is_whole": is_whole,
             "landing_day": landing_day and str(landing_day)}  # fmt: skip
    if json:
        sys.stdout.write(jsonlib.dumps(facts | found, indent=1, ensure_ascii=False) + "\n")
        return
    print_parts(*_tables(found, rules), *_verdict(facts, found))


def _verdict(facts: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    read, refused = found["lines_read"], found["refused"]
    which = "all lines" if facts["is_whole"] else "the first lines (--limit)"
    yield f"{which} of {facts['file']} were read by {facts['settings']}: {read:,}"
    share = f" ({refused / read:.1%})" if read else ""
    yield f"judged alone, {read - refused:,} would be accepted and {refused:,}{share} refused"
    if facts["landing_day"] is None:
        yield "no folder above the file is named for a day: no time was compared with one (--day)"
