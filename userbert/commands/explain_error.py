"""Say what the code of an error means, and what mends it.

userbert explain-error UB-301
userbert help UB-301
userbert explain-error             every code with its title

docs/troubleshooting.md has the same entries, and docs/runbook.md the way through a night.
"""

from typing import Annotated

import typer

from contracts.terminal.error_codes import code_explanation, error_codes
from contracts.terminal.printing import grid, print_parts


def main(
    code: Annotated[
        str | None, typer.Argument(metavar="CODE", help="As the error names it. [default: all]")
    ] = None,
) -> None:
    """Print one entry, or the list."""
    if code:
        print_parts(code_explanation(code))
        return
    rows = [(entry.code, entry.title) for entry in error_codes().values()]
    print_parts(grid(rows, "code", "kind of error"))
