"""The reference of commands: each command's own help, as `userbert COMMAND --help` prints it."""

from collections.abc import Iterator
from typing import Any

from contracts.terminal.command_line import CONTEXT_SETTINGS, Command
from userbert.cli import root_command


def commands_page() -> str:
    """Every command with its help, as Markdown. Imports all of them: five CPU seconds."""
    return "\n".join(
        [
            "# Commands\n\nWhat `userbert COMMAND --help` prints. Every command says what is "
            "wrong in one line, and its [exit code](../troubleshooting.md) says of which kind.\n",
            *_sections(root_command(), ["userbert"]),
        ]
    )


def _sections(command: Command, path: list[str], parent: Any = None) -> Iterator[str]:
    command = command.loaded() if hasattr(command, "loaded") else command
    context = command.context_class(
        command, info_name=path[-1], parent=parent, terminal_width=100, **CONTEXT_SETTINGS
    )
    yield f"{'#' * min(len(path) + 1, 4)} {' '.join(path)}\n"
    yield f"```text\n{command.get_help(context).rstrip()}\n```\n"
    for name, each in getattr(command, "commands", {}).items():
        yield from _sections(each, [*path, name], context)
