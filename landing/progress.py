"""What a user sees of long work: a progress bar, and a table of what was made."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table


def progress_bar() -> Progress:
    """A bar on stderr, so that stdout holds results alone; nothing where stderr is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def print_summary(
    title: str, facts: Mapping[str, object], root: Path, first: date, last: date, *flags: str
) -> None:
    """Print what was made below `root`, and the command that ingests it, with `flags`."""
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in facts.items():
        text = f"{value:,}" if isinstance(value, int) else str(value)
        table.add_row(name, text)
    console = Console(soft_wrap=True)
    console.print(table)
    ingest = " ".join((f"userbert browsing-logs --from-day {first} --to-day {last}", *flags))
    console.print(f"next: USERBERT_DATA={root} {ingest}", highlight=False)
