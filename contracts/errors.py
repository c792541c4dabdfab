"""What a person can do something about: `userbert` prints it in one line, without a traceback."""

import sys
from collections.abc import Iterator


def on_one_line(text: str) -> str:
    """A text of the data in a message: what breaks a line or drives a terminal is escaped."""
    shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return "".join(shown)


def error_causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those that it was raised from or during."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


class UserbertError(Exception):
    """Says what is wrong, where, and what to do. `exit_code` tells a scheduler which kind it is.

    Its code (UB-301) follows from its class and from `raised_in`, the module that made it:
    contracts/terminal/error_codes.toml.
    """

    exit_code = 1

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.raised_in = str(sys._getframe(1).f_globals.get("__name__", ""))


class BadInput(UserbertError, ValueError):
    """A setting, a flag or a file is not as it must be; trying again changes nothing."""

    exit_code = 2


class LayoutMismatch(BadInput):
    """A table of the lake is not as its contract declares it, and cannot be brought there."""


class GateFailed(UserbertError, ValueError):
    """A frame breaks an expectation of its table. Nothing was written."""

    exit_code = 3


class MissingTable(UserbertError, LookupError):
    """A table or model that a job needs has not been made yet."""

    exit_code = 4
