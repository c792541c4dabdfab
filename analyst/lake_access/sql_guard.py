"""What a query may do: read the lake's tables by one SELECT, and nothing else.

Two guards, of which each alone keeps files from being written:

- `must_be_one_select` judges the statement as DuckDB's parser reads it, before any of it runs;
- `lock_to_tables` takes every file from the connection but the data files of the lake's tables,
  locks its configuration, and loads no further extension.
"""

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import duckdb

from contracts.errors import BadInput
from contracts.storage.sql_literal import sql_literal

# All that a FROM clause may call. DuckDB has some hundred more table functions: most of those that
# take text read a file, a Delta log or a query out of it.
_TABLE_FUNCTIONS = frozenset({"generate_series", "range", "unnest", "user_embeddings_as_of"})

_REFUSED = (
    "nothing was run: `userbert sql` takes one SELECT over the lake's tables. For anything else "
    "open the tables with DuckDB itself"
)


def lock_to_tables(connection: duckdb.DuckDBPyConnection, data_files: Iterable[str]) -> None:
    """Leave `connection` no file but `data_files`, and no way back.

    DuckDB still spills large sorts, into a folder of its own that it removes.
    """
    spill = f"{tempfile.gettempdir()}/userbert-sql-{os.getpid()}"
    paths = ", ".join(map(sql_literal, data_files))
    connection.execute(
        f"""SET temp_directory = {sql_literal(spill)};
        SET allowed_paths = [{paths}];
        SET python_enable_replacements = false;
        SET autoload_known_extensions = false;
        SET autoinstall_known_extensions = false;
        SET allow_community_extensions = false;
        SET enable_external_access = false;
        SET lock_configuration = true"""
    )


def must_be_one_select(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    """Raise `BadInput` unless `query` is one SELECT that calls no function which reads files.

    Only SELECT can be serialized, and serializing parses without running. `extract_statements`
    would not do: it opens the file that `PRAGMA import_database` names.
    """
    # As a literal: to look at a parameter DuckDB imports pandas, which takes half a second.
    statement = f"SELECT json_serialize_sql({sql_literal(query)}::VARCHAR)"
    found = connection.execute(statement).fetchone()
    assert found is not None
    parsed = json.loads(found[0])
    if parsed["error"]:
        if parsed["error_type"] == "parser":
            raise BadInput(f"DuckDB cannot parse this: {parsed['error_message']}")
        raise BadInput(
            f"this is no SELECT (PIVOT needs its values, as in ON x IN (1, 2)); {_REFUSED}"
        )
    if (number := len(parsed["statements"])) != 1:
        raise BadInput(f"there are {number} statements; {_REFUSED}")
    if foreign := sorted(set(_table_functions(parsed)) - _TABLE_FUNCTIONS):
        raise BadInput(f"a query may not read from {', '.join(foreign)}; {_REFUSED}")


def _table_functions(node: Any) -> Iterator[str]:
    """The name of every function that is called in a FROM clause, at any depth."""
    if isinstance(node, dict):
        if node.get("type") == "TABLE_FUNCTION":
            yield node["function"]["function_name"].lower()
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _table_functions(child)
