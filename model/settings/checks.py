"""What the settings classes share: checks that name every mistake, and what is written of them."""

import math
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from contracts.errors import BadInput


def refuse_mistakes(*mistakes: str | bool | int) -> None:
    """Raise BadInput that names all the mistakes, if there is one."""
    if found := [mistake for mistake in mistakes if isinstance(mistake, str)]:
        raise BadInput("; ".join(found))


def not_in_choices(config: Any) -> list[str]:
    choices = {
        name: get_args(kind)
        for name, kind in get_type_hints(type(config)).items()
        if get_origin(kind) is Literal
    }
    return [
        f"{name} is {getattr(config, name)!r}; choose {', '.join(map(str, names))}"
        for name, names in choices.items()
        if getattr(config, name) not in names
    ]


def not_finite(config: Any) -> list[str]:
    """The numbers that are nan or infinite: comparisons with a bound let them through."""
    values = {each.name: getattr(config, each.name) for each in fields(config)}
    return [
        f"{name} is {value}; it must be a finite number"
        for name, value in values.items()
        if isinstance(value, float) and not math.isfinite(value)
    ]


def not_positive(config: Any, names: str) -> list[str]:
    values = {name: getattr(config, name) for name in names.split()}
    return [
        f"{name} is {value}; it must be 1 or more" for name, value in values.items() if value < 1
    ]


def negative_values(config: Any, names: str) -> list[str]:
    values = {name: getattr(config, name) for name in names.split()}
    return [
        f"{name} is {value}; it must not be below 0" for name, value in values.items() if value < 0
    ]


def unknown_settings(owner: type[Any], values: Mapping[str, Any]) -> list[str]:
    known = {each.name for each in fields(owner)}
    return [f"{owner.__name__} has no field {name!r}" for name in values if name not in known]


def changed_settings(config: Any, owner: type[Any]) -> list[str]:
    """The names of `owner`'s settings that differ from their defaults in `config`."""
    return [each.name for each in fields(owner) if getattr(config, each.name) != each.default]


def written_settings(config: Any) -> dict[str, Any]:
    """The settings as a manifest holds them, and as the id of a model is computed from.

    A setting that `config`'s class inherits came after models had been trained. It is written only
    where it differs from its default, so a model that does without it keeps the id that it had.
    """
    later = {
        each.name: each.default
        for owner in type(config).__bases__
        if is_dataclass(owner)
        for each in fields(owner)
    }
    return {
        name: value
        for name, value in asdict(config).items()
        if name not in later or value != later[name]
    }


def with_tuples(owner: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` as JSON holds them, with the lists of `owner`'s tuples made tuples again."""
    hints = get_type_hints(owner)
    return {
        name: tuple(value) if get_origin(hints.get(name)) is tuple else value
        for name, value in values.items()
    }
