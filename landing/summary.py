"""What a user sees of landing files that were made: a table."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path

from contracts.terminal.printing import grid, print_parts


def print_summary(
    title: str, facts: Mapping[str, object], root: Path, first: date, last: date, *flags: str
) -> None:
    """Print what was made below `root`, and the command that ingests it, with `flags`."""
    ingest = " ".join((f"userbert browsing-logs --from-day {first} --to-day {last}", *flags))
    made = grid(facts.items(), "what", "figure", title=title)
    print_parts(made, f"next: USERBERT_DATA={root} {ingest}")
