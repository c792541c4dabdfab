"""Tables and lines for people, printed by one rule: data is text, and nothing of it is cut.

Text out of data (titles, user_ids, errors) is never markup: `[bold]`, `:x:` and terminal control
codes are printed as they are written. In a terminal a cell wraps at its blanks, never inside a key
or a number; in a file or a pipe each row is one line, however wide.
"""

import re
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as Grid
from rich.text import Text

_UNLIMITED = 1_000_000  # characters of a line
_WRAPPED_WIDTH = 24  # of a column of text, at least, where the terminal has no room for more

# C0 and C1 control codes but the line break, and what turns the direction of writing: a value that
# holds them could rewrite what the terminal shows of other values.
_CONTROL_CODES = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def grid(rows: Iterable[Any], *columns: str, title: str = "") -> Grid:
    """A table; a column whose name begins with `#` holds numbers, which are aligned right.

    A column whose values hold no blank (ids, days, numbers) does not wrap.
    """
    table = Grid(title=_plain_text(title) if title else None)
    cells = [[_plain_text(cell_text(value)) for value in row] for row in rows]
    for place, name in enumerate(columns):
        header = _plain_text(name.removeprefix("#"))
        column = [row[place] for row in cells]
        whole = not any(re.search(r"\s", cell.plain) for cell in column)
        longest = max(text.cell_len for text in (header, *column))
        table.add_column(
            header,
            justify="right" if name.startswith("#") else "left",
            no_wrap=whole,
            min_width=longest if whole else min(longest, _WRAPPED_WIDTH),
            overflow="fold",
        )
    for row in cells:
        table.add_row(*row)
    return table


def cell_text(value: object) -> str:
    """A value as a cell of a table shows it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return " · ".join(map(str, value))
    return "" if value is None else str(value)


def _plain_text(text: str) -> Text:
    """`text` as it is, with its control codes spelled out."""
    return Text(_CONTROL_CODES.sub(lambda found: repr(found[0])[1:-1], text))


def print_parts(*parts: str | Grid, stderr: bool = False) -> None:
    """Print lines and tables, in their order."""
    for part in parts:
        console = plain_console(stderr)
        if isinstance(part, str):
            console.print(_plain_text(part), soft_wrap=True)
        else:
            console.width = _width(console, part)
            console.print(part)


def plain_console(stderr: bool = False) -> Console:
    """A console on which no text is markup, for what needs more than lines: a bar, a spinner."""
    return _Console(highlight=False, markup=False, emoji=False, stderr=stderr)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to `run_command`, which ends every command."""
        raise BrokenPipeError


def _width(console: Console, table: Grid) -> int:
    """So wide that no key is cut; and where nobody reads it on a screen, that no cell wraps."""
    unlimited = console.options.update(max_width=_UNLIMITED)
    needed = Measurement.get(console, unlimited, table)
    return max(console.width, needed.minimum) if console.is_terminal else needed.maximum
