"""Files of settings, read."""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from contracts.errors import BadInput

Rule = tuple[str, Callable[[object], bool]]  # what a value must be in words, and whether it is


def read_toml(path: Path) -> dict[str, Any]:
    """The values in `path`; BadInput names the file and what is wrong with it."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read: {error}") from error


def broken_rules(values: Mapping[str, object], rules: Mapping[str, Rule]) -> list[str]:
    """What is wrong with settings: names without a rule, and values that break theirs."""
    wrong = [f"there is no setting {name}" for name in values if name not in rules]
    return wrong + [
        f"{name} is {values[name]!r}; it must be {rule}"
        for name, (rule, is_right) in rules.items()
        if name in values and not is_right(values[name])
    ]


def is_count(value: object) -> bool:
    """Whether it is a whole number of 0 or more; true and false are none."""
    return type(value) is int and value >= 0
