"""Files of settings, read."""

import tomllib
from pathlib import Path
from typing import Any

from contracts.errors import BadInput


def read_toml(path: Path) -> dict[str, Any]:
    """The values in `path`; BadInput names the file and what is wrong with it."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read: {error}") from error
