"""What a user sees of long work: a progress bar, and a table of what was made."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from contracts.terminal.printing import grid, plain_console, print_parts


def progress_bar() -> Progress:
    """A bar on stderr, so that stdout holds results alone; nothing where stderr is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=plain_console(stderr=True),
    )


def print_summary(
    title: str, facts: Mapping[str, object], root: Path, first: date, last: date, *flags: str
) -> None:
    """Print what was made below `root`, and the command that ingests it, with `flags`."""
    ingest = " ".join((f"userbert browsing-logs --from-day {first} --to-day {last}", *flags))
    made = grid(facts.items(), "what", "figure", title=title)
    print_parts(made, f"next: USERBERT_DATA={root} {ingest}")
