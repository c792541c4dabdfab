"""Each user's newest vector as memory-mapped arrays, kept until the table changes.

A table has its vectors by day, as Parquet; a search wants one matrix. The copy lies in
places.root/neighbours, one folder a (table, version, model, as_of), and may be deleted at any time.
"""

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb
import numpy as np

from analyst.vectors.model_space import Vectors, row_lengths
from contracts.errors import BadInput, MissingTable
from contracts.paths import Places
from contracts.storage.atomic_write import atomic_folder
from contracts.storage.mapped_arrays import new_mapped_array
from contracts.tables import MODELS, Table
from contracts.vectors import own_space

_MAX_SNAPSHOTS = 6  # snapshots; 500,000 vectors take half a gigabyte each
_BATCH_ROWS = 8192
_MAX_BUILDS = 3  # another process may remove a copy as stale before it is opened
_FACTS_FILE = "snapshot.json"  # written last
_ARRAYS = ("user_ids", "days", "matrix", "norms")


@dataclass(frozen=True)
class Snapshot:
    vectors: Vectors
    table: str
    version: int  # of the table
    folder: Path
    built: bool  # by this call; else it was there


@dataclass(frozen=True)
class Wanted:
    """What a snapshot is of. `model_id` None: the champion; `as_of` None: the newest day."""

    table: Table
    version: int
    model_id: str | None
    as_of: date | None

    @property
    def folder_name(self) -> str:
        model = quote(self.model_id or "champion", safe="")
        return f"{self.table.name},{self.version},{model},{self.as_of or 'newest'}"

    @property
    def condition(self) -> str:
        """SQL; its parameters are `parameters`."""
        model = "model_id = $model" if self.model_id else "true"
        return f"{model} AND as_of <= $day"

    @property
    def parameters(self) -> dict[str, object]:
        model = {"model": self.model_id} if self.model_id else {}
        return {"day": self.as_of or date.max, **model}


def open_snapshot(
    connection: duckdb.DuckDBPyConnection,
    places: Places,
    wanted: Wanted,
    check_source: Callable[[Table], None] = lambda table: None,
) -> Snapshot:
    """Open the snapshot, or make it where it is missing or damaged.

    `connection` has the table as a view of its version; `check_source` refuses a damaged table.
    """
    folder = places.neighbors / wanted.folder_name
    vectors = _load_snapshot(folder)
    built = vectors is None
    for _ in range(_MAX_BUILDS):
        if vectors is not None:
            break
        check_source(wanted.table)
        _build_snapshot(connection, wanted, folder)
        _remove_stale(places.neighbors, wanted)
        vectors = _load_snapshot(folder)
    else:
        raise BadInput(f"{folder} was damaged or removed each time that it was made")
    with suppress(FileNotFoundError):
        os.utime(folder)
    return Snapshot(vectors, wanted.table.name, wanted.version, folder, built)


def _load_snapshot(folder: Path) -> Vectors | None:
    """Map the arrays; nothing of the matrix is read before it is used.

    None where there is no copy that is whole. What is left of one is removed: it is only a copy.
    """
    try:
        facts = json.loads((folder / _FACTS_FILE).read_text())
        user_ids, days, matrix, norms = (_mapped(folder / f"{name}.npy") for name in _ARRAYS)
        as_of = date.fromisoformat(facts["as_of"])
        if not len(user_ids) == len(days) == len(matrix) == len(norms):
            raise ValueError("the arrays are of different lengths")
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        shutil.rmtree(folder, ignore_errors=True)
        return None
    vectors = Vectors(facts["model_id"], as_of, user_ids, days, matrix, facts["space_id"])
    vectors.__dict__["norms"] = norms
    return vectors


def _mapped(path: Path) -> Any:
    """Raises ValueError where the file is shorter than its header says."""
    return np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)


def _build_snapshot(connection: duckdb.DuckDBPyConnection, wanted: Wanted, folder: Path) -> None:
    """Make `folder` whole, or not at all. Memory is a batch and the user_ids, not the matrix."""
    try:
        with atomic_folder(folder) as building:
            model_id, as_of = _write_users(connection, wanted, building)
            _write_matrix(connection, wanted, building)
            facts = {
                "model_id": model_id,
                "space_id": space_of(connection, model_id),
                "as_of": str(wanted.as_of or as_of),
            }
            (building / _FACTS_FILE).write_text(json.dumps(facts) + "\n")
            if not (folder / _FACTS_FILE).exists():
                shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        if not (folder / _FACTS_FILE).exists():  # else another process was quicker
            raise
    finally:
        connection.execute("DROP TABLE IF EXISTS newest")


def space_of(connection: duckdb.DuckDBPyConnection, model_id: str) -> str:
    """The space of the model's vectors, by the table `models`; its own where that has no row."""
    tables = {name for (name,) in connection.execute("SHOW TABLES").fetchall()}
    if MODELS.name in tables:
        query = f"SELECT space_id FROM {MODELS.name} WHERE model_id = $model"
        if row := connection.execute(query, {"model": model_id}).fetchone():
            return str(row[0])
    return own_space(model_id)


def _write_users(
    connection: duckdb.DuckDBPyConnection, wanted: Wanted, building: Path
) -> tuple[str, date]:
    """Find each user's newest row, for the temporary table `newest`; the model and the last day."""
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE newest AS
        SELECT row_number() OVER (ORDER BY user_id) - 1 AS row, *
        FROM (
            SELECT user_id, max(as_of) AS as_of, arg_max(model_id, as_of) AS of_model
            FROM {wanted.table.name} WHERE {wanted.condition} GROUP BY user_id
        )""",
        wanted.parameters,
    )
    found = connection.execute(
        "SELECT array_agg(DISTINCT of_model ORDER BY of_model), max(as_of) FROM newest"
    ).fetchone()
    assert found is not None
    models, as_of = found
    if not models:
        raise _nothing(connection, wanted)
    if len(models) > 1:
        raise BadInput(f"{wanted.table.name} has vectors of two models, {' and '.join(models)}")
    newest = connection.execute("SELECT user_id, as_of FROM newest ORDER BY row").fetchnumpy()
    np.save(building / "user_ids.npy", np.asarray(newest["user_id"], np.str_))
    np.save(building / "days.npy", np.asarray(newest["as_of"], "datetime64[D]"))
    return models[0], as_of


def _write_matrix(connection: duckdb.DuckDBPyConnection, wanted: Wanted, building: Path) -> None:
    num_rows, num_written = len(np.load(building / "days.npy")), 0
    matrix = norms = np.empty((0, 0), np.float32)
    batches = connection.execute(
        f"""SELECT row, embedding FROM {wanted.table.name} AS all_days
        JOIN newest USING (user_id, as_of) WHERE {wanted.condition}""",
        wanted.parameters,
    ).fetch_record_batch(_BATCH_ROWS)
    for batch in batches:
        embeddings: Any = batch["embedding"]  # its type stubs know no lists
        part = embeddings.flatten().to_numpy().reshape(len(batch), -1)
        if not num_written:
            shapes = {"matrix": (num_rows, part.shape[1]), "norms": (num_rows,)}
            matrix, norms = (
                new_mapped_array(building / f"{name}.npy", shape, np.float32)
                for name, shape in shapes.items()
            )
        rows = batch["row"].to_numpy()
        matrix[rows], norms[rows] = part, row_lengths(part)
        num_written += len(rows)
    if num_written != num_rows:
        raise BadInput(
            f"{wanted.table.name} has {num_written:,} rows where its key allows {num_rows:,}"
        )


def _nothing(connection: duckdb.DuckDBPyConnection, wanted: Wanted) -> MissingTable:
    there = connection.execute(
        f"""SELECT model_id, min(as_of), max(as_of) FROM {wanted.table.name}
        GROUP BY model_id ORDER BY model_id"""
    ).fetchall()
    days = ", ".join(f"{model} from {first} to {last}" for model, first, last in there)
    return MissingTable(
        f"{wanted.table.name} has no vector of {wanted.model_id or 'the champion'} as of "
        f"{wanted.as_of or 'any day'}; it has {days or 'none at all'}. `userbert backfill plan` "
        "shows what it takes to fill days"
    )


def _remove_stale(where: Path, newest: Wanted) -> None:
    """Remove snapshots of the table's earlier versions, and all but those used last."""
    there = sorted(where.glob(f"*/{_FACTS_FILE}"), key=lambda path: -path.parent.stat().st_mtime)
    for place, path in enumerate(there):
        table, version, *_ = path.parent.name.split(",")
        stale = table == newest.table.name and int(version) < newest.version
        if stale or place >= _MAX_SNAPSHOTS:
            shutil.rmtree(path.parent, ignore_errors=True)
