"""SQL over the lake's tables by DuckDB: each table is a view of its own name, and read-only.

userbert sql "SELECT as_of, count(*) FROM published_embeddings GROUP BY as_of ORDER BY as_of"

`user_embeddings_latest` is each user's newest vector under the champion. In a notebook:
`from userbert.sql import connect; lake = connect()`.
"""

import argparse
from pathlib import Path

import duckdb
from duckdb_extensions import import_extension
from rich.console import Console
from rich.table import Table as Grid

from contracts.errors import BadInput
from contracts.places import Places
from contracts.tables import PUBLISHED_EMBEDDINGS, TABLES

LATEST = f"""CREATE VIEW user_embeddings_latest AS
SELECT * FROM {PUBLISHED_EMBEDDINGS.name}
QUALIFY row_number() OVER (PARTITION BY user_id ORDER BY as_of DESC) = 1"""


def connect(places: Places | None = None) -> duckdb.DuckDBPyConnection:
    """A connection in which every table that exists is a view of its newest version."""
    lake = (places or Places.from_environment()).lake
    import_extension("delta")
    connection = duckdb.connect()
    connection.execute("LOAD delta; SET TimeZone = 'UTC'")
    for table in TABLES:
        folder = f"{lake}/{table.name}"
        if "://" in lake or (Path(folder) / "_delta_log").exists():
            connection.execute(f"CREATE VIEW {table.name} AS SELECT * FROM delta_scan('{folder}')")
            if table is PUBLISHED_EMBEDDINGS:
                connection.execute(LATEST)
    return connection


def arg_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("query", help="one SELECT")
    parser.add_argument("--csv", action="store_true", help="comma-separated, for programs")
    return parser


def main(query: str, csv: bool) -> None:
    connection = connect()
    try:
        answer = connection.sql(query)
    except duckdb.Error as error:
        tables = ", ".join(name for (name,) in connection.execute("SHOW TABLES").fetchall())
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
