"""Writing landing files: a folder a day, the settings that say how to read them, whole files only.

Readers leave out names that begin with a dot or a lower dash, as the names of files do that
contracts/storage/atomic_write.py has not finished: nobody ever reads half of one.
"""

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from contracts.errors import BadInput
from contracts.landing_settings import ARRIVAL_FILE
from contracts.storage.atomic_write import write_text

_SETTINGS_FILE = "settings.toml"


def day_folder(landing: Path, day: date) -> Path:
    return landing / day.isoformat()


def write_settings(landing: Path, *, about: str, format: str, columns: Mapping[str, str]) -> None:
    """Say how the files of `landing` are to be read: times in ISO form, UTC where they name none.

    `columns` maps our names to those of the files. A landing folder has one form of file, so
    settings that are there already and differ raise `BadInput`. The days are all there are: unless
    the folder says otherwise, no night waits for another, and a day without a file is no fault.
    """
    text = _settings_text(about, format, columns)
    path = landing / _SETTINGS_FILE
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise BadInput(
            f"{path} describes other logs than these ({about}): a landing folder holds logs of "
            "one form. Remove the folder, or name another root by --out or USERBERT_DATA"
        )
    write_text(path, text)
    if not (arrival := landing / ARRIVAL_FILE).exists():
        write_text(arrival, "days_expected = false  # these logs end: no day comes by itself\n")


def _settings_text(about: str, format: str, columns: Mapping[str, str]) -> str:
    top = {"format": format, "time_zone": "UTC", "time_format": "iso"}
    lines = [f"# {about}"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in top.items()]
    lines += ["", "[columns]  # ours = theirs"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in columns.items()]
    return "\n".join(lines) + "\n"
