"""Commands that are known by name and by one line, and imported only when they are called."""

import importlib
from typing import Any

from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from contracts.terminal.command_line import CONTEXT_SETTINGS, Command, build_command


class LazyCommand(TyperCommand):
    """A command whose module has `main`, or `app` if it is a group of commands."""

    def __init__(self, name: str, module: str, help: str) -> None:
        super().__init__(name, help=help, rich_markup_mode=None)
        self.module = module
        self.added: dict[str, Command] = {}  # commands of other modules in this one's group

    def add_command(self, command: Command) -> None:
        """Add a command of another module to the group that this one is."""
        self.added[command.name] = command

    def loaded(self) -> Command:
        """The command itself, after its module was imported."""
        module = importlib.import_module(self.module)
        app = getattr(module, "app", None)
        command: Command = get_command(app) if app else build_command(module.main, module.__doc__)
        command.name = self.name
        if not self.added:
            return command
        group = lazy_group(str(self.name), command.help)
        for each in (*command.commands.values(), *self.added.values()):
            group.add_command(each)
        return group

    def get_short_help_str(self, limit: int = 0) -> str:
        """The whole line, which the list of commands wraps rather than cuts."""
        return self.help or ""


class LazyGroup(TyperGroup):
    """A group of lazy commands. Help and completion of their names import none of them."""

    def get_short_help_str(self, limit: int = 0) -> str:
        return self.help or ""

    def resolve_command(self, context: Any, words: list[str]) -> tuple[Any, Any, list[str]]:
        name, command, rest = super().resolve_command(context, words)
        return name, command.loaded() if isinstance(command, LazyCommand) else command, rest


def lazy_group(name: str, help: str) -> LazyGroup:
    return LazyGroup(
        name=name,
        help=help,
        rich_markup_mode=None,
        no_args_is_help=True,
        context_settings=CONTEXT_SETTINGS,
    )
