"""A lake of a few rows that tests write without Spark, in the schema of the contracts."""

import json
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from deltalake import write_deltalake
from duckdb_extensions import import_extension

from contracts.limits import EMBEDDING_WIDTH
from contracts.tables import LAYOUT_VERSION, TABLES
from contracts.vectors import own_space

TYPES = {
    "string": pa.string(),
    "bigint": pa.int64(),
    "int": pa.int32(),
    "double": pa.float64(),
    "float": pa.float32(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
    "boolean": pa.bool_(),
}
BY_NAME = {table.name: table for table in TABLES}


def arrow_type(spark_type):
    if spark_type.startswith("array<"):
        return pa.list_(arrow_type(spark_type[6:-1]))
    return TYPES[spark_type]


def arrow_schema(table):
    return pa.schema([(c.name, arrow_type(c.type), c.nullable) for c in table.columns])


def write(places, name, rows):
    """Append rows (dicts) to a table; columns that a row does not name are filled in."""
    table = BY_NAME[name]
    rows = [{c.name: row.get(c.name, filler(c)) for c in table.columns} for row in rows]
    folder = Path(f"{places.lake}/{name}")
    is_new = not folder.exists()
    write_deltalake(
        str(folder),
        pa.Table.from_pylist(rows, schema=arrow_schema(table)),
        partition_by=list(table.partition_by) or None,
        mode="append",
    )
    if is_new:
        record_contract(folder / "_delta_log" / f"{0:020}.json", table)


def record_contract(commit, table):
    """Say that today's contract made the table, which has no CHECKs: delta-rs cannot say either."""
    actions = [json.loads(line) for line in commit.read_text().splitlines()]
    for action in actions:
        if "metaData" in action:
            action["metaData"]["configuration"] |= {
                "userbert.layoutVersion": str(LAYOUT_VERSION),
                "userbert.contract": table.fingerprint,
            }
    commit.write_text("".join(f"{json.dumps(action)}\n" for action in actions))


def filler(column):
    if column.nullable:
        return None
    empty = {
        "string": "",
        "bigint": 0,
        "int": 0,
        "double": 0.0,
        "boolean": False,
        "date": date(2026, 1, 1),
    }
    return [] if column.type.startswith("array") else empty.get(column.type, datetime(2026, 1, 1))


def vector(*numbers):
    """256 numbers: these, and then zeros."""
    return np.pad(np.array(numbers, np.float32), (0, EMBEDDING_WIDTH - len(numbers))).tolist()


def embedding(user, as_of, numbers, model="m1", **more):
    """A row of user_embeddings and published_embeddings."""
    midnight = datetime(as_of.year, as_of.month, as_of.day)
    return {
        "model_id": model,
        "space_id": own_space(model),
        "as_of": as_of,
        "as_of_time": midnight,
        "user_id": user,
        "embedding": vector(*numbers),
        "norm": float(np.linalg.norm(numbers)),
        "num_views": 1,
        "last_view_time": midnight - timedelta(hours=1),
        **more,
    }


def publish(places, rows):
    """Rows of the champion, in both tables of embeddings and in the history, since 02:00."""
    rows = [{**row, "written_at": row["as_of_time"] + timedelta(hours=2)} for row in rows]
    write(places, "user_embeddings", rows)
    write(places, "published_embeddings", rows)
    write(places, "published_history", rows)


def views(user, as_of, *title_ids):
    """A row of user_sequences: one view a minute up to the last minute before `as_of`."""
    end = datetime(as_of.year, as_of.month, as_of.day)
    times = [end - timedelta(minutes=ago) for ago in range(len(title_ids), 0, -1)]
    return {
        "as_of": as_of,
        "user_id": user,
        "title_ids": list(title_ids),
        "event_times": times,
        "num_views": len(title_ids),
        "last_view_time": times[-1],
        "sequence_hash": hash(title_ids),
    }


def duckdb_rows(folder, columns):
    """The table's rows as DuckDB reads them, sorted."""
    import_extension("delta")
    connection = duckdb.connect()
    connection.execute("LOAD delta")
    return connection.execute(
        f"SELECT {columns} FROM delta_scan('{folder}') ORDER BY ALL"
    ).fetchall()
