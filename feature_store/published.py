"""What published_embeddings holds now, by DuckDB: what Feast is made from and compared with."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
from duckdb_extensions import import_extension

from contracts.errors import BadInput, MissingTable
from contracts.paths import Places
from contracts.storage.checked_pages import check_pages_daily
from contracts.storage.damage import check_delta_log, check_parquet_files
from contracts.storage.delta_reading import open_delta_table
from contracts.storage.object_store import let_duckdb_read, reader_address
from contracts.tables import PUBLISHED_EMBEDDINGS, PUBLISHED_HISTORY
from feature_store.definitions import USER_KEY, feature_names
from feature_store.online_sqlite import UserRow


def table_path(places: Places) -> str:
    return reader_address(f"{places.lake}/{PUBLISHED_EMBEDDINGS.name}")


def history_path(places: Places) -> str:
    return reader_address(f"{places.lake}/{PUBLISHED_HISTORY.name}")


def has_history(places: Places) -> bool:
    """Whether the lake's publications record themselves; older code's did not."""
    path = history_path(places)
    return _exists(path)


def _exists(path: str) -> bool:
    if "://" in path:
        return open_delta_table(path) is not None
    return (Path(path) / "_delta_log").exists()


@dataclass(frozen=True)
class Published:
    """The table at one moment: every answer comes from the same Delta version."""

    path: str
    connection: duckdb.DuckDBPyConnection
    model_id: str
    space_id: str
    days: list[date]  # ascending

    @classmethod
    def open(cls, places: Places) -> "Published":
        path = table_path(places)
        if not _exists(path):
            raise MissingTable(
                f"the lake has no {PUBLISHED_EMBEDDINGS.name} ({path}): "
                "run `userbert published-embeddings --as-of DAY` first"
            )
        is_local = "://" not in path
        if is_local:
            check_delta_log(path)
        import_extension("delta")
        connection = duckdb.connect()
        connection.execute("LOAD delta; SET TimeZone = 'UTC'; SET threads = 2")
        let_duckdb_read(connection, path)
        if is_local:
            check_parquet_files(_data_files(connection, path))
        connection.execute(f"ATTACH '{path}' AS published (TYPE delta, PIN_SNAPSHOT)")
        _must_have_every_column(connection, path)
        found = connection.execute(
            "SELECT DISTINCT model_id, space_id, as_of FROM published ORDER BY as_of"
        ).fetchall()
        if not found:
            raise MissingTable(f"{path} has no rows: `userbert published-embeddings --as-of DAY`")
        # Its gate lets one model in, and so one space.
        ((model_id, space_id),) = {(model, space) for model, space, _ in found}
        return cls(path, connection, model_id, space_id, [day for *_, day in found])

    def check_pages(self, places: Places) -> None:
        """Raise `DamagedFile` if a page of the table is not what Spark wrote."""
        if "://" not in self.path:
            check_pages_daily(_data_files(self.connection, self.path), places)

    def users(self) -> list[str]:
        rows = self.connection.execute("SELECT DISTINCT user_id FROM published ORDER BY user_id")
        return [user for (user,) in rows.fetchall()]

    def user_rows(self) -> dict[str, UserRow]:
        """The day and the sequence_hash of each user's newest vector."""
        rows = self.connection.execute(
            "SELECT user_id, max(as_of), arg_max(sequence_hash, as_of) "
            "FROM published GROUP BY user_id"
        )
        return {user: (day, content) for user, day, content in rows.fetchall()}

    def newest_rows(self, limit: int) -> pa.Table:
        """The newest rows, as far as they are features, of `limit` users; others as of each day."""
        columns = ", ".join([USER_KEY, *feature_names()])
        rows = self.connection.execute(
            f"""WITH drawn AS (
                    SELECT user_id, max(as_of) AS as_of FROM published GROUP BY user_id
                    ORDER BY hash(concat(user_id, '{self.days[-1]}')), user_id LIMIT {limit})
                SELECT {columns} FROM published JOIN drawn USING (user_id, as_of)
                ORDER BY user_id"""
        )
        return rows.to_arrow_table()

    def newest_before(self, points: pd.DataFrame) -> list[tuple[int, list[float]] | None]:
        """(sequence_hash, embedding) of each point's newest vector then, in the order of `place`.

        None where the user has none yet. By SQL that nobody can mistake: Feast is held against it.
        """
        self.connection.register("points", points)
        known = """SELECT place, user_id, max(as_of_time) AS as_of_time
            FROM points JOIN published USING (user_id)
            WHERE as_of_time <= event_timestamp GROUP BY place, user_id"""
        rows = self.connection.execute(
            f"""SELECT place, sequence_hash, embedding
            FROM ({known}) JOIN published USING (user_id, as_of_time)"""
        ).fetchall()
        found = {place: (sequence, vector) for place, sequence, vector in rows}
        return [found.get(place) for place in points["place"]]


def _must_have_every_column(connection: duckdb.DuckDBPyConnection, path: str) -> None:
    """Feast asks for all columns of the contract; an older lake gains some with the next job."""
    held = connection.execute("SELECT * FROM published LIMIT 0").description
    lacking = set(PUBLISHED_EMBEDDINGS.names) - {name for name, *_ in held or []}
    if lacking:
        raise BadInput(
            f"{path} lacks {', '.join(sorted(lacking))}, since older code wrote it: `userbert "
            "published-embeddings --as-of DAY` of the newest day adds what is missing"
        )


def _data_files(connection: duckdb.DuckDBPyConnection, path: str) -> list[str]:
    rows = connection.execute("SELECT data_file FROM delta_list_files(?)", [path])
    return [file for (file,) in rows.fetchall()]
