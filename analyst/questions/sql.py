"""SQL over the lake's tables by DuckDB: each table is a view of its own name, and read-only.

userbert sql "SELECT as_of, count(*) FROM published_embeddings GROUP BY as_of ORDER BY as_of"

`user_embeddings_latest` is each user's newest vector under the champion, and
`user_embeddings_as_of(DATE '2017-06-28')` each user's newest of that day or an earlier one; a
second argument names another model. Spark's vector functions (`vector_cosine_similarity`, ...) go
by the same names. docs/sql-cookbook.md has queries to start from.
"""

import argparse

import duckdb
from rich.console import Console
from rich.table import Table as Grid

from analyst.lake_access.open_lake import open_lake
from contracts.errors import BadInput


def arg_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("query", help="one SELECT")
    parser.add_argument("--csv", action="store_true", help="comma-separated, for programs")
    return parser


def main(query: str, csv: bool) -> None:
    lake = open_lake()
    try:
        answer = lake.sql(query)
    except duckdb.Error as error:
        tables = ", ".join(lake.views())
        raise BadInput(f"DuckDB cannot run this: {error}\nthe tables are: {tables}") from error
    if answer is None:
        raise BadInput("this is no SELECT: the lake is read-only here")
    if csv:
        print(answer.df().to_csv(index=False), end="")  # noqa: T201
        return
    grid = Grid(*answer.columns)
    for row in answer.fetchall():
        grid.add_row(*map(_short, row))
    Console().print(grid)


def _short(value: object) -> str:
    """A vector as its first three numbers."""
    if isinstance(value, list) and len(value) > 8:
        return f"[{', '.join(f'{item:.4g}' for item in value[:3])}, … {len(value)} in all]"
    return str(value)
