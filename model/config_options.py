"""The settings of a model and of its pre-training as options of a command."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import typer

from contracts.terminal.options import own_parameters, with_parameters
from model.config import BASE_MODELS, PRESETS, ModelConfig, PretrainConfig
from model.settings.ready_vectors import SET_BY_FILES

_Function = TypeVar("_Function", bound=Callable[..., Any])
_ENCODERS = ("behavior_encoder", "context_encoder", "aggregator")


def with_config_options(**defaults: object) -> Callable[[_Function], _Function]:
    """Give a command that takes `**settings` a typed option for each setting.

    The options are `--preset`, `--base-model` and one for each field of both dataclasses, which
    overrides the preset. `defaults` are values that differ from the preset's.
    """

    def decorate(function: _Function) -> _Function:
        options = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=defaults.get(name, "paper" if name == "preset" else None),
                annotation=annotation,
            )
            for name, annotation in _annotations().items()
        ]
        parameters = [*own_parameters(function), *options]
        parameters.sort(key=lambda each: each.default is not each.empty)
        return with_parameters(function, parameters)

    return decorate


def config_from_options(settings: Mapping[str, Any]) -> PretrainConfig:
    """The preset, then the base model, then each option that was given."""
    config = PRESETS[settings.get("preset") or "paper"]
    given = {name: value for name, value in settings.items() if value is not None}
    parts: dict[str, Any] = {}
    if base := given.get("base_model"):
        parts = _parts_of(BASE_MODELS[base])
    parts |= {each.name: given[each.name] for each in fields(ModelConfig) if each.name in given}
    rest = {each.name: given[each.name] for each in fields(PretrainConfig) if each.name in given}
    return replace(config, model=replace(config.model, **parts), **rest)


def _parts_of(base: ModelConfig) -> dict[str, Any]:
    """The encoders and the aggregator, and what else this base model sets."""
    values, plain = asdict(base), asdict(ModelConfig())
    return {
        name: value for name, value in values.items() if name in _ENCODERS or value != plain[name]
    }


def _annotations() -> dict[str, Any]:
    """The annotation of each option, in the order in which help shows them."""
    found: dict[str, Any] = {
        "preset": _choice(tuple(PRESETS), "--preset", "Settings to start from."),
        "base_model": _choice(
            tuple(BASE_MODELS), "--base-model", "Take the encoders and the aggregator of this one."
        ),
    }
    for owner in (ModelConfig, PretrainConfig):
        for name, hint in get_type_hints(owner, include_extras=True).items():
            if name != "model" and name not in SET_BY_FILES:
                found[name] = _option(name, *get_args(hint))
    return found


def _choice(names: tuple[str, ...], flag: str, help: str) -> Any:
    return Annotated[Literal[names] | None, typer.Option(flag, help=help)]


def _option(name: str, kind: Any, doc: str) -> Any:
    """An option without a default of its own, since the preset has one."""
    flag = f"--{name.replace('_', '-')}"
    help = f"{doc[0].upper()}{doc[1:]}."
    if kind is bool:
        flag = f"{flag}/--no-{flag[2:]}"
    if get_origin(kind) is tuple:
        if get_args(kind)[0] is int:
            days = typer.Option(flag, help=help, parser=_numbers, metavar="N,N")
            return Annotated[Any, days]
        names = typer.Option(flag, help=help, parser=_names, metavar="NAME,NAME")
        return Annotated[Any, names]
    return Annotated[kind | None, typer.Option(flag, help=help)]


def _names(text: str | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(text.split(",")) if isinstance(text, str) else text


def _numbers(text: str | tuple[int, ...]) -> tuple[int, ...]:
    if not isinstance(text, str):
        return text
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a list of whole numbers such as 7,28") from error
