"""Options that several commands share, each with one name, one form and one explanation."""

import inspect
import os
from collections.abc import Callable, Collection, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from contracts.errors import BadInput

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _parse_day(text: str | date) -> date:
    if isinstance(text, date):  # a parameter's default is parsed as well
        return text
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a day; write YYYY-MM-DD") from None


def day_option(name: str, help: str) -> Any:
    """An option that takes a calendar day."""
    return typer.Option(name, parser=_parse_day, metavar="DAY", help=help)


def day_argument(help: str) -> Any:
    """An argument that is a calendar day."""
    return typer.Argument(parser=_parse_day, metavar="DAY", help=help)


def days_between(
    first: date, last: date, options: tuple[str, str] = ("--from", "--to")
) -> list[date]:
    """Every day from `first` to `last`, both included; `options` are those that named the two."""
    if last < first:
        first_option, last_option = options
        raise BadInput(f"{last_option} {last} is before {first_option} {first}: swap them")
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def choice_option(name: str, choices: Collection[str], help: str) -> Any:
    """An option that takes one of `choices`, and completes them in a shell."""
    return typer.Option(
        name, parser=_one_of(choices), metavar="NAME", help=help, autocompletion=lambda: [*choices]
    )


def _one_of(choices: Collection[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise typer.BadParameter(f"{text!r} is not one of {', '.join(choices)}")
        return text

    return parse


_UTC_DAY = "UTC day, YYYY-MM-DD: views from before its first instant count."

AsOf = Annotated[date, day_option("--as-of", help=_UTC_DAY)]
AsOfOrNewest = Annotated[
    date | None, day_option("--as-of", help="UTC day, YYYY-MM-DD. [default: the newest day]")
]
FirstAsOf = Annotated[date | None, day_option("--from", help="The first as_of day.")]
LastAsOf = Annotated[date | None, day_option("--to", help="The last as_of day, included.")]
ModelId = Annotated[str, typer.Argument(metavar="MODEL_ID", help="The model's id.")]
ModelOrChampion = Annotated[
    str | None,
    typer.Option("--model", metavar="MODEL_ID", help="A registered model. [default: the champion]"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON, for programs.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print the main table as CSV, for programs.")]
UserFile = Annotated[
    Path | None,
    typer.Option(
        "--file",
        metavar="FILE",
        help="A list of more users: one id a line, or the column user_id of a CSV.",
    ),
]
ArePseudonyms = Annotated[
    bool,
    typer.Option(
        "--pseudonyms",
        help="The users are named by pseudonyms, as tables have them, and not by raw ids.",
    ),
]
LandingRoot = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FOLDER",
        help="The folder to write landing/ below. [default: the data root]",
    ),
]
NumProcesses = Annotated[
    int, typer.Option("--processes", help="Cells at the same time; 0: one for each core.")
]


def num_processes(asked: int) -> int:
    """`asked`, or as many as this process may use cores where that is 0."""
    if asked < 0:
        raise BadInput(f"--processes is {asked}; it must be 0 or more")
    return asked or len(os.sched_getaffinity(0))


def own_parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters of a command that takes `**options`, without these."""
    return [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for each in inspect.signature(function, eval_str=True).parameters.values()
        if each.kind is not inspect.Parameter.VAR_KEYWORD
    ]


def with_parameters(function: _Function, parameters: Sequence[inspect.Parameter]) -> _Function:
    """The command itself, which from now on shows these parameters, in this order."""
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {each.name: each.annotation for each in parameters}
    return function
