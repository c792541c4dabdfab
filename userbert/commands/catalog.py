"""List the tables of the lake with their columns and lineage, from the code: no lake is needed.

userbert catalog                      a line a table
userbert catalog sessions             the columns of one table
userbert catalog --html tables.html   a page to send around, which loads nothing
userbert catalog --markdown tables.md
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table as Grid

from contracts.errors import BadInput
from contracts.storage.atomic_write import write_text
from contracts.tables import TABLE_SOURCES, TABLES
from contracts.terminal.printing import grid, print_parts
from userbert.reference.catalog import catalog_html, catalog_markdown


def main(
    table: Annotated[
        str | None, typer.Argument(metavar="TABLE", help="Show the columns of this table.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write all as one HTML page.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write all as Markdown.")
    ] = None,
) -> None:
    """Print tables or columns, and write the pages that were asked for."""
    for path, text in ((html, catalog_html), (markdown, catalog_markdown)):
        if path is not None:
            _write(path, text())
    if html is None and markdown is None:
        print_parts(_columns(table) if table else _tables())


def _write(path: Path, text: str) -> None:
    if not path.absolute().parent.is_dir():
        raise BadInput(f"{path}: there is no folder {path.parent}")
    write_text(path, text)
    print_parts(f"wrote {path}")


def _tables() -> Grid:
    rows = [(t.name, t.doc, ", ".join(TABLE_SOURCES[t.name]), len(t.columns)) for t in TABLES]
    return grid(rows, "table", "a row is", "made from", "#columns")


def _columns(name: str) -> Grid:
    found = next((each for each in TABLES if each.name == name), None)
    if found is None:
        raise BadInput(f"there is no table {name}; there are {', '.join(TABLE_SOURCES)}")
    rows = [(c.name, c.type, "yes" if c.nullable else "no", c.doc) for c in found.columns]
    return grid(rows, "column", "type", "may be null", "meaning", title=found.doc)
