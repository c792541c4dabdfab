"""The code of an error: which kind it is, by its class and by the module that raised it.

error_codes.toml is the one list of codes. A raise names no code, so that a new one needs none: it
belongs to the kind of its class in its module.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from contracts.errors import BadInput, UserbertError

WRONG_WORDS = "UB-101"  # words that the command line does not understand
MISSING_LIBRARY = "UB-105"
MISSING_LANDING_DAY = "UB-801"
LATE_RUN = "UB-807"
INTERRUPTED_RUN = "UB-902"
UNFORESEEN_ERROR = "UB-999"


@dataclass(frozen=True, kw_only=True)
class ErrorCode:
    """One kind of error, and what a person does about it."""

    code: str  # UB-301
    title: str
    means: str  # what has happened, and what has not
    look: str  # how to see more
    mend: str
    call: str  # whom, and when
    raised_by: tuple[str, ...] = field(default=())  # MODULES:CLASS

    @property
    def group(self) -> str:
        """The hundred that it belongs to: 3 of UB-301."""
        return self.code.removeprefix("UB-")[0]


@cache
def _content() -> Mapping[str, Mapping[str, object]]:
    source = resources.files("contracts.terminal").joinpath("error_codes.toml")
    return tomllib.loads(source.read_text(encoding="utf-8"))


@cache
def error_codes() -> Mapping[str, ErrorCode]:
    """Every kind of error by its code, in order."""
    entries = {code: dict(entry) for code, entry in _content().items() if code != "groups"}
    return {
        code: ErrorCode(code=code, **{**entry, "raised_by": tuple(entry["raised_by"])})  # type: ignore[arg-type]
        for code, entry in sorted(entries.items())
    }


def group_titles() -> Mapping[str, str]:
    """What the errors of a hundred are about."""
    return {number: str(title) for number, title in _content()["groups"].items()}


def code_of(error: UserbertError) -> str:
    """The code of an error that was raised."""
    return code_for([each.__name__ for each in type(error).__mro__], error.raised_in)


def code_for(class_names: Iterable[str], module: str) -> str:
    """The code of a class, which comes first, as a module raises it, or UNFORESEEN_ERROR."""
    for name in class_names:
        fitting = [
            (len(modules), code)
            for code, entry in error_codes().items()
            for modules, _, raised in (each.partition(":") for each in entry.raised_by)
            if raised == name and f"{module}.".startswith(f"{modules}." if modules else "")
        ]
        if fitting:
            return max(fitting)[1]
    return UNFORESEEN_ERROR


def code_explanation(code: str) -> str:
    """The entry of a code as text; its number alone is enough, in any case of letters."""
    wanted = f"UB-{code.upper().removeprefix('UB').removeprefix('-')}"
    entry = error_codes().get(wanted)
    if entry is None:
        known = ", ".join(error_codes())
        raise BadInput(f"there is no error code {code}; there are {known}")
    return (
        f"{entry.code}: {entry.title}\n\n{entry.means}\n\n"
        f"To see more:    {entry.look}\nWhat mends it:  {entry.mend}\nWhom to call:   {entry.call}"
    )
