"""What landing files look like: landing/settings.toml, which says it once for all of them.

format = "jsonl"          # or "csv", "parquet"
time_zone = "UTC"         # of the times that carry no zone of their own
time_format = "iso"       # or "epoch_s", "epoch_ms", or a Spark datetime pattern

[columns]                 # ours = yours
user_id = "visitor"
event_time = "at"
title = "page_title"
host = "site"             # may be left out
log_id = "id"             # may be left out: then a view is known by all its facts
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

from contracts.errors import BadInput

FORMATS = ("jsonl", "csv", "parquet")
REQUIRED = ("user_id", "event_time", "title")
OPTIONAL = ("host", "log_id")


@dataclass(frozen=True, kw_only=True)
class LandingSettings:
    """How to read the landing files. `columns` maps our names to the names in the files."""

    format: str
    columns: Mapping[str, str]
    time_zone: str = "UTC"  # an IANA name
    time_format: str = "iso"  # ISO 8601, seconds or milliseconds since 1970, or a Spark pattern


def read_settings(path: Path) -> LandingSettings:
    """The settings in `path`, or `BadInput` with everything that is wrong with them."""
    told = _parse(path)
    if wrong := [*_wrong_values(told), *_wrong_columns(told.get("columns"))]:
        raise BadInput(
            f"{path} is not as contracts/landing_settings.py describes:\n" + "\n".join(wrong)
        )
    return LandingSettings(**told)


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(
            f"{path} is missing: it names the format, the time zone and the columns of the "
            'landing files; write it as the README\'s "Bring your own logs" shows'
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not TOML: {error}") from None


def _wrong_values(told: Mapping[str, object]) -> list[str]:
    known = LandingSettings.__dataclass_fields__
    wrong = [f"  {key}: unknown; say one of {', '.join(known)}" for key in told if key not in known]
    if told.get("format") not in FORMATS:
        wrong.append(f"  format: {_found(told, 'format')}; say one of {', '.join(FORMATS)}")
    if "time_zone" in told and told["time_zone"] not in available_timezones():
        wrong.append(
            f"  time_zone: {_found(told, 'time_zone')}; say an IANA name such as Europe/Paris"
        )
    if "time_format" in told and not (isinstance(told["time_format"], str) and told["time_format"]):
        wrong.append(
            f"  time_format: {_found(told, 'time_format')}; say iso, epoch_s, epoch_ms "
            "or a Spark datetime pattern such as dd/MM/yyyy HH:mm:ss"
        )
    return wrong


def _wrong_columns(columns: object) -> list[str]:
    if not isinstance(columns, dict):
        return [f"  columns: missing; add a table [columns] with {', '.join(REQUIRED)}"]
    wrong = [
        f'  columns.{name}: missing; add {name} = "the column\'s name in your files"'
        for name in REQUIRED
        if name not in columns
    ]
    for ours, theirs in columns.items():
        if ours not in REQUIRED + OPTIONAL:
            wrong.append(f"  columns.{ours}: unknown; say {', '.join(REQUIRED + OPTIONAL)}")
        elif not (isinstance(theirs, str) and theirs):
            wrong.append(f"  columns.{ours}: {theirs!r}; say the column's name as text")
    return wrong


def _found(told: Mapping[str, object], key: str) -> str:
    return f"found {told[key]!r}" if key in told else "missing"
