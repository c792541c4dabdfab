"""Settings in a TOML file, checked: every mistake is named at once, with the file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from contracts.errors import BadInput
from contracts.storage.toml_files import read_toml


class TomlSettings(BaseModel):
    """A file of settings, or one of its tables. Unknown names and other types are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @classmethod
    def checked(cls, values: Mapping[str, Any], source: object) -> Self:
        """The settings in `values`; BadInput names every mistake and `source`."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            mistakes = "; ".join(_mistake_text(mistake) for mistake in error.errors())
            raise BadInput(f"{source}: {mistakes}") from error

    @classmethod
    def read(cls, path: Path) -> Self:
        return cls.checked(read_toml(path), path)


def _mistake_text(mistake: Mapping[str, Any]) -> str:
    name = ".".join(map(str, mistake["loc"]))
    if mistake["type"] == "extra_forbidden":
        return f"there is no setting {name}"
    message = str(mistake["msg"]).removeprefix("Value error, ")
    return f"{name} is {mistake['input']!r}: {message}" if name else message
