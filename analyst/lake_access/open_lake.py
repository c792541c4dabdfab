"""The lake opened for questions: tables as DuckDB relations, embeddings as numpy matrices.

from analyst import open_lake; lake = open_lake()
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
from duckdb_extensions import import_extension

from analyst.lake_access.views import (
    LATEST_VIEW,
    VECTOR_FUNCTIONS,
    as_of_view,
)
from analyst.vectors.model_space import Vectors
from analyst.vectors.vector_cache import Snapshot, Wanted, open_snapshot
from contracts.errors import MissingTable
from contracts.paths import Places
from contracts.storage.checked_pages import check_pages_daily
from contracts.storage.damage import (
    check_delta_log,
    check_parquet_files,
    check_parquet_pages,
    job_command,
)
from contracts.storage.delta_reading import open_delta_table
from contracts.storage.model_folder import find_model_folder
from contracts.storage.object_store import let_duckdb_read, reader_address
from contracts.storage.sql_literal import sql_literal
from contracts.tables import MODELS, PUBLISHED_EMBEDDINGS, TABLES, USER_EMBEDDINGS, Table
from contracts.terminal.html_table import html_table

# DuckDB's name of each Spark type that a table has gained a column of.
_DUCKDB_TYPES = {"float": "FLOAT", "string": "VARCHAR"}
# DuckDB's errors of whoever wrote the query; no damage is behind them.
_QUERY_MISTAKES = (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException)


@dataclass(frozen=True)
class OpenLake:
    """Every table at the version it had when the lake was opened; open it again for newer ones.

    lake.user_sequences.df()                      # a table; also .arrow(), .filter(...)
    lake.sql("SELECT count(*) FROM sessions").fetchall()
    lake.embeddings(as_of=date(2017, 6, 28))      # Vectors: user_ids, and a (N, 256) matrix
    """

    places: Places
    connection: duckdb.DuckDBPyConnection
    versions: dict[str, int]  # the Delta version of each table that exists

    def views(self) -> list[str]:
        """The names that a query may say."""
        return [name for (name,) in self.connection.execute("SHOW TABLES").fetchall()]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.views()]

    def __getattr__(self, name: str) -> duckdb.DuckDBPyRelation:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self.views():
            raise AttributeError(f"the lake has no {name}; it has {', '.join(self.views())}")
        return self.connection.table(name)

    def _repr_html_(self) -> str:
        """How a notebook shows it: each table, its version, and what a row is."""
        docs = {table.name: table.doc for table in TABLES}
        rows = [(name, version, docs[name]) for name, version in self.versions.items()]
        return html_table([("table", "version", "a row is"), *rows])

    def has(self, *tables: Table) -> bool:
        return all(table.name in self.versions for table in tables)

    def __enter__(self) -> "OpenLake":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Close the connection. An error of DuckDB whose cause is a damaged file names the file."""
        try:
            if isinstance(error, duckdb.Error):
                self.name_damage(error)
        finally:
            self.connection.close()

    def name_damage(self, error: duckdb.Error) -> None:
        """Raise `DamagedFile` if `error` comes from a data file that is not whole."""
        if not isinstance(error, _QUERY_MISTAKES) and "://" not in self.places.lake:
            files = self.data_files()
            check_parquet_files(files)
            check_parquet_pages(files)

    def need(self, *tables: Table) -> None:
        for table in tables:
            if not self.has(table):
                raise MissingTable(
                    f"the lake has no {table.name} ({self.places.lake}/{table.name}): run the job "
                    f"that writes it, `{job_command(table.name)}`, or name the "
                    "right root by USERBERT_DATA"
                )

    def sql(self, query: str) -> duckdb.DuckDBPyRelation:
        return self.connection.sql(query)

    def data_files(self, *tables: Table) -> list[str]:
        """The Parquet files of these tables, or of all, at the versions that are open."""
        root = reader_address(self.places.lake)
        names = [table.name for table in tables] or list(self.versions)
        return [
            path
            for name in names
            for (path,) in self.connection.execute(
                "SELECT data_file FROM "
                f"delta_list_files({sql_literal(f'{root}/{name}')}, version={self.versions[name]})"
            ).fetchall()
        ]

    def embeddings(self, model_id: str | None = None, as_of: date | None = None) -> Vectors:
        """Each user's newest vector of `as_of` or earlier; of the champion unless a model is named.

        The matrix is memory-mapped from a copy below places.root/neighbours, made when first asked
        for and again when the table has changed.
        """
        return self.snapshot(model_id, as_of).vectors

    def snapshot(self, model_id: str | None = None, as_of: date | None = None) -> Snapshot:
        table = PUBLISHED_EMBEDDINGS if model_id is None else USER_EMBEDDINGS
        if model_id is None and not self.has(table):
            raise MissingTable(
                "no model's vectors are published: promote one (`userbert models promote`) and "
                "publish a day, or name a model (`userbert models list` tells of them)"
            )
        self.need(table)
        wanted = Wanted(table, self.versions[table.name], model_id, as_of)
        return open_snapshot(self.connection, self.places, wanted, self._check_pages)

    def model_folder(self, model_id: str) -> Path:
        """Where the files of a model lie, registered or not."""
        row = None
        if self.has(MODELS):
            query = "SELECT path FROM models WHERE model_id = $model"
            row = self.connection.execute(query, {"model": model_id}).fetchone()
        return find_model_folder(self.places.models, model_id, row[0] if row else None)

    def check_tables(self, *tables: Table) -> None:
        """Raise `DamagedFile` if a file of one of the tables is not what Spark wrote."""
        for table in filter(self.has, tables):
            self._check_pages(table)

    def _check_pages(self, table: Table) -> None:
        if "://" not in self.places.lake:
            check_pages_daily(self.data_files(table), self.places)

    def check_all_pages(self) -> None:
        """Raise `DamagedFile` if a page of any table is not what Spark wrote."""
        if "://" not in self.places.lake:
            check_parquet_pages(self.data_files())


def open_lake(places: Places | None = None) -> OpenLake:
    """The lake below `places`, or below the folder that USERBERT_DATA names."""
    places = places or Places.from_environment()
    root = reader_address(places.lake)
    there = [table for table in TABLES if table_exists(root, table)]
    if "://" not in root:
        for table in there:
            check_delta_log(f"{root}/{table.name}")
    import_extension("delta")
    connection = duckdb.connect()
    connection.execute("LOAD delta; SET TimeZone = 'UTC'")
    let_duckdb_read(connection, root)
    versions = {table.name: _newest_version(root, table) for table in there}
    for table in there:
        _add_table(connection, root, table, versions[table.name])
    _add_views(connection, versions)
    return OpenLake(places, connection, versions)


def _add_table(
    connection: duckdb.DuckDBPyConnection, root: str, table: Table, version: int
) -> None:
    """The table under its name. A column that it gains with the next job has its default till then,
    or is null."""
    folder = sql_literal(f"{root}/{table.name}")
    scan = f"SELECT * FROM delta_scan({folder}, version={version})"
    connection.execute(f"CREATE VIEW {table.name} AS {scan}")
    has = set(connection.table(table.name).columns)
    gained = [column for column in table.gained_columns(has) if column.type in _DUCKDB_TYPES]
    if gained:
        values = ", ".join(
            f"({c.default or 'NULL'})::{_DUCKDB_TYPES[c.type]} AS {c.name}" for c in gained
        )
        connection.execute(
            f"CREATE OR REPLACE VIEW {table.name} AS SELECT *, {values} FROM ({scan})"
        )


def _add_views(connection: duckdb.DuckDBPyConnection, versions: dict[str, int]) -> None:
    if PUBLISHED_EMBEDDINGS.name in versions:
        connection.execute(f"CREATE VIEW user_embeddings_latest AS {LATEST_VIEW}")
    if {PUBLISHED_EMBEDDINGS.name, USER_EMBEDDINGS.name} <= versions.keys():
        as_of = as_of_view(has_models=MODELS.name in versions)
        connection.execute(
            f"CREATE MACRO user_embeddings_as_of(day, model := NULL) AS TABLE {as_of}"
        )
    for ours, theirs in VECTOR_FUNCTIONS.items():
        connection.execute(f"CREATE MACRO {ours} AS {theirs}")


def table_exists(lake: str, table: Table) -> bool:
    folder = f"{lake}/{table.name}"
    if "://" in folder:
        return open_delta_table(folder) is not None
    return any((Path(folder) / "_delta_log").glob("*.json"))


def _newest_version(lake: str, table: Table) -> int:
    """Of a folder, the number of the newest file of its log: no more of the log is read."""
    folder = f"{lake}/{table.name}"
    if "://" in folder:
        opened = open_delta_table(folder)
        assert opened is not None  # its caller has asked whether it exists
        return int(opened.version())
    log = (Path(folder) / "_delta_log").glob("*.json")
    return max(int(path.stem) for path in log if path.stem.isdigit())
