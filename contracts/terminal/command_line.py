"""A command is one function with typed options: how it is built, parsed and run.

Whatever goes wrong ends in one line on stderr and an exit code: 1 failed, 2 bad input, 3 a gate
refused, 4 a table or a model is missing, 130 interrupted. The line names the error's code (UB-301);
with --json it is a JSON object.
"""

import functools
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import typer
from typer.main import get_command

from contracts.errors import UserbertError
from contracts.terminal import error_codes
from contracts.terminal.damaged_file import damaged_file_named
from contracts.terminal.full_disk import full_disk_named
from contracts.terminal.lost_process import lost_process_named

CONTEXT_SETTINGS = {"max_content_width": 100, "help_option_names": ["-h", "--help"]}
_BAD_INPUT = 2
_ERASE_LINE = "\r\x1b[K"  # for terminals: back to the line's beginning, and nothing on it


class Interrupted(UserbertError):
    """Somebody stopped the command; the message says what is done and how to go on."""

    exit_code = 130  # as shells report a process that ended by Ctrl-C


Command = Any  # typer's own click is private, and its commands and groups share no public type


def command_group(doc: str | None) -> typer.Typer:
    """An empty group of commands that share a first word; `doc` is its help."""
    return typer.Typer(
        help=keep_line_breaks(doc),
        rich_markup_mode=None,
        no_args_is_help=True,
        add_completion=False,
        context_settings=CONTEXT_SETTINGS,
    )


def build_command(function: Callable[..., Any], doc: str | None, name: str = "main") -> Command:
    """The command of a function whose parameters are annotated as options; `doc` is its help."""
    app = command_group(doc)
    app.command(name, help=keep_line_breaks(doc), context_settings=CONTEXT_SETTINGS)(function)
    return get_command(app)


def keep_line_breaks(doc: str | None) -> str:
    """`doc` with the marks that keep its line breaks, which show commands one below another."""
    return "\n\n".join(f"\b\n{paragraph}" for paragraph in (doc or "").strip().split("\n\n"))


def parse_options(function: Callable[..., Any], words: Sequence[str]) -> dict[str, Any]:
    """The values that `words` give to the function's parameters.

    Raises TyperException if they do not fit.
    """

    @functools.wraps(function)
    def collect(**values: Any) -> dict[str, Any]:
        return values

    command = build_command(collect, doc=None)
    with command.make_context(function.__name__, list(words)) as context:
        return dict(command.invoke(context))


def run_command(command: Command, words: Sequence[str], name: str) -> int:
    """Run `command` on `words`; its exit code."""
    if f"_{name}_COMPLETE".upper() in os.environ:
        command(prog_name=name)  # typer answers the shell, and ends this process
    is_json = "--json" in words
    path = functools.partial(_command_path, command, words, name)
    try:
        with command.make_context(name, list(words)) as context:
            exit_code = _invoke(command, context)
        sys.stdout.flush()
    except typer.Exit as stop:
        return stop.exit_code
    except typer.TyperException as error:
        return _refuse_words(error, name, is_json)
    except UserbertError as error:
        failure = Failure(path(), error_codes.code_of(error), str(error), error.exit_code)
        return print_failure(failure, is_json)
    except (KeyboardInterrupt, typer.Abort):
        failure = Failure(path(), error_codes.INTERRUPTED_RUN, "interrupted", Interrupted.exit_code)
        return print_failure(failure, is_json)
    except BrokenPipeError:
        # The reader of our output ended first, as `head` does. Python would complain when it
        # flushes stdout at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return exit_code


def _invoke(command: Command, context: Any) -> int:
    with full_disk_named(), damaged_file_named(), lost_process_named():
        return int(command.invoke(context) or 0)


def _command_path(command: Command, words: Sequence[str], name: str) -> str:
    """`name` and those first words that name a command."""
    path = [name]
    for word in words:
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            break
        command = command.loaded() if hasattr(command, "loaded") else command
        path.append(word)
    return " ".join(path)


def _refuse_words(error: typer.TyperException, name: str, is_json: bool) -> int:
    """One line that names the mistake and the help; a group without a command shows its help."""
    context = getattr(error, "ctx", None)
    message = error.format_message().replace("Value error, ", "").rstrip(".")
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(f"{message}\n")
        return _BAD_INPUT
    path = context.command_path if context else name
    end = "" if message.endswith("?") else "."
    explained = f"{message}{end} `{path} --help` explains the options"
    return print_failure(
        Failure(path, error_codes.WRONG_WORDS, explained, error.exit_code), is_json
    )


@dataclass(frozen=True)
class Failure:
    """How a command ended that did not do what it was to do."""

    command: str
    code: str  # UB-301
    message: str
    exit_code: int

    @property
    def line(self) -> str:
        return f"{self.command}: {self.code}: {self.message}"


def print_failure(failure: Failure, is_json: bool = False) -> int:
    """Print the failure on stderr, for people or for programs; its exit code."""
    sys.stdout.flush()
    if is_json:
        sys.stderr.write(f"{json.dumps({'error': asdict(failure)}, ensure_ascii=False)}\n")
        return failure.exit_code
    # On a terminal Spark's progress bar may stand where the line begins, without a line break.
    before = _ERASE_LINE if sys.stderr.isatty() else ""
    sys.stderr.write(f"{before}{failure.line}\n")
    return failure.exit_code
