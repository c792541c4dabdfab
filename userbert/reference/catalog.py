"""The catalog: tables, columns and lineage out of contracts/tables.py, as Markdown and HTML."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from contracts.storage.damage import job_command
from contracts.tables import TABLE_SOURCES, TABLES, Table


def read_by(table: Table) -> list[str]:
    """The tables that are made from this one."""
    return [name for name, sources in TABLE_SOURCES.items() if table.name in sources]


def catalog_markdown() -> str:
    """Every table with its columns, as Markdown."""
    head = (
        "# Tables of the lake\n\nMade from `contracts/tables.py`. `userbert sql` reads all of "
        "them.\n\n| table | a row is | made from | read by |\n|---|---|---|---|\n"
    )
    rows = [
        f"| [{table.name}](#{table.name}) | {_cell(table.doc)} "
        f"| {', '.join(TABLE_SOURCES[table.name])} "
        f"| {', '.join(read_by(table)) or 'readers alone'} |"
        for table in TABLES
    ]
    return head + "\n".join([*rows, "", *(part for table in TABLES for part in _table_text(table))])


def catalog_html() -> str:
    """The same as one page without scripts, which loads nothing."""
    page = _templates().get_template("catalog.html.j2")
    return page.render(
        tables=TABLES, lineage=TABLE_SOURCES, read_by=read_by, job_command=job_command
    )


def _table_text(table: Table) -> Iterator[str]:
    yield f"## {table.name}\n\n{table.doc}\n"
    yield f"- Key: {', '.join(table.key)}"
    yield f"- Partitioned by: {', '.join(table.partition_by) or 'nothing'}"
    yield f"- Made from: {', '.join(TABLE_SOURCES[table.name])}, by `{job_command(table.name)}`\n"
    yield "| column | type | may be null | meaning |\n|---|---|---|---|"
    for column in table.columns:
        nullable = "yes" if column.nullable else "no"
        yield f"| {column.name} | {column.type} | {nullable} | {_cell(column.doc)} |"
    if table.checks:
        yield "\nOf each row holds:\n"
        yield from (f"- {name}: `{condition}`" for name, condition in table.checks)
    yield ""


def _cell(text: str) -> str:
    """`text` for a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
