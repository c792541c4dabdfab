"""SQL over the lake's tables by DuckDB: each table is a view of its own name, and read-only.

userbert sql "SELECT as_of, count(*) FROM published_embeddings GROUP BY as_of ORDER BY as_of"

`user_embeddings_latest` is each user's newest vector under the champion, and
`user_embeddings_as_of(DATE '2017-07-01')` each user's newest of that day or an earlier one; a
second argument names another model. Spark's vector functions (`vector_cosine_similarity`, ...) go
by the same names. docs/sql-cookbook.md has queries to start from.

A query is one SELECT and sees the lake's tables alone: it reads no other file and writes none.
The tables that a query names are compared with their checksums first, each file once a day.
"""

from typing import Annotated

import duckdb
import typer

from analyst.lake_access.open_lake import OpenLake, open_lake
from analyst.lake_access.sql_guard import lock_to_tables, must_be_one_select
from analyst.output.answers import print_json
from contracts.errors import BadInput
from contracts.tables import PUBLISHED_EMBEDDINGS, TABLES, Table
from contracts.terminal.csv_cells import plain_cell
from contracts.terminal.printing import grid, print_parts

_VIEWS_OF_PUBLISHED = ("user_embeddings_latest", "user_embeddings_as_of")
_MAX_LIST_ITEMS = 8  # of a list that is shown whole
_FIRST_ITEMS = 3  # of a longer one


def main(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="One SELECT.")],
    json: Annotated[
        bool, typer.Option("--json", help="Print the rows as JSON objects, for programs.")
    ] = False,
    csv: Annotated[
        bool, typer.Option("--csv", help="Print comma-separated values, for programs.")
    ] = False,
) -> None:
    if json and csv:
        raise BadInput("say --json or --csv, not both")
    with open_lake() as lake:
        lake.check_tables(*_named_tables(query.lower()))
        lock_to_tables(lake.connection, lake.data_files())
        try:
            _print_rows(select_rows(lake, query), json, csv)
        except duckdb.Error as error:
            lake.name_damage(error)
            raise BadInput(_explained(lake, error)) from error


def _named_tables(query: str) -> list[Table]:
    """A table whose name stands in a text of the query is among them, too."""
    is_published = any(view in query for view in _VIEWS_OF_PUBLISHED)
    return [
        table
        for table in TABLES
        if table.name in query or (is_published and table is PUBLISHED_EMBEDDINGS)
    ]


def select_rows(lake: OpenLake, query: str) -> duckdb.DuckDBPyRelation:
    must_be_one_select(lake.connection, query)
    return lake.sql(query)


def _print_rows(rows: duckdb.DuckDBPyRelation, json: bool, csv: bool) -> None:
    if json:
        print_json([dict(zip(rows.columns, row, strict=True)) for row in rows.fetchall()])
    elif csv:
        frame = rows.df()
        for name in frame.select_dtypes("object"):
            frame[name] = frame[name].map(plain_cell)
        print(frame.to_csv(index=False), end="")  # noqa: T201
    else:
        cells = [[_short(value) for value in row] for row in rows.fetchall()]
        print_parts(grid(cells, *rows.columns))


def _explained(lake: OpenLake, error: duckdb.Error) -> str:
    return f"DuckDB cannot run this: {error}\nthe tables are: {', '.join(lake.views())}"


def _short(value: object) -> str:
    """A value as text, and of a vector its first three numbers."""
    if isinstance(value, list) and len(value) > _MAX_LIST_ITEMS:
        first = ", ".join(_item(item) for item in value[:_FIRST_ITEMS])
        return f"[{first}, … {len(value)} in all]"
    return str(value)


def _item(item: object) -> str:
    return f"{item:.4g}" if isinstance(item, float) else str(item)
