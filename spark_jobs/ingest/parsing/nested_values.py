"""A column's name that is a path into values that hold others, as in `properties.title`.

A step names a key of an object, or the entry of a list whose "key" it is, as Google Analytics
exports its parameters: `event_params.page_title.string_value`.
"""

from collections.abc import Sequence
from typing import Any


def path_of(name: str, names: Sequence[str]) -> list[str]:
    """The steps of `name`; one step alone where `names`, those of the file, have it as it is."""
    return [name] if name in names or "." not in name else name.split(".")


def value_at(value: Any, path: Sequence[str]) -> Any:
    """What the path leads to from `value`; None where it leads nowhere."""
    for step in path:
        if isinstance(value, list):
            value = next((_value(entry) for entry in value if _key(entry) == step), None)
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def _key(entry: Any) -> Any:
    return entry.get("key") if isinstance(entry, dict) else None


def _value(entry: dict[str, Any]) -> Any:
    return entry.get("value")
