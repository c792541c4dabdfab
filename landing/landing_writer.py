"""Writing landing files: a folder a day, the settings that say how to read them, whole files only.

Readers leave out names that begin with a dot or a lower dash, so a file is written under such a
name and renamed when it is whole: nobody ever reads half of one.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from contracts.errors import BadInput

_SETTINGS_FILE = "settings.toml"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A hidden path to write to, which becomes `path` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield hidden
        hidden.rename(path)
    finally:
        hidden.unlink(missing_ok=True)


def day_folder(landing: Path, day: date) -> Path:
    return landing / day.isoformat()


def write_settings(landing: Path, *, about: str, format: str, columns: Mapping[str, str]) -> None:
    """Say how the files of `landing` are to be read: times in ISO form, UTC where they name none.

    `columns` maps our names to those of the files. A landing folder has one form of file, so
    settings that are there already and differ raise `BadInput`.
    """
    text = _settings_text(about, format, columns)
    path = landing / _SETTINGS_FILE
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise BadInput(
            f"{path} describes other logs than these ({about}): a landing folder holds logs of "
            "one form. Remove the folder, or name another root by --out or USERBERT_DATA"
        )
    with whole_file(path) as hidden:
        hidden.write_text(text, encoding="utf-8")


def _settings_text(about: str, format: str, columns: Mapping[str, str]) -> str:
    top = {"format": format, "time_zone": "UTC", "time_format": "iso"}
    lines = [f"# {about}"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in top.items()]
    lines += ["", "[columns]  # ours = theirs"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in columns.items()]
    return "\n".join(lines) + "\n"
