"""The table `models`: a row for each trained model, and which of them is the champion.

The jobs of the other tables ask this module whose vectors to make and to publish. What may happen
to a model's status is in spark_jobs/registry, above it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, dataclass, fields, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.errors import BadInput, MissingTable
from contracts.paths import Places
from contracts.storage.damage import check_data_file, check_delta_log
from contracts.storage.delta_reading import open_delta_table
from contracts.storage.model_folder import find_model_folder
from contracts.storage.object_store import let_duckdb_read, reader_address
from contracts.storage.sql_literal import sql_literal
from contracts.tables import MODELS, Table
from contracts.vectors import own_space

# Commands that only look, without Spark, import this module too: pyspark would take half a second.
if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from expectations.gate import Passed
    from spark_jobs.lake.lake import Commit, Lake


@dataclass(frozen=True)
class Model:
    """A row of `models`; times are aware, UTC."""

    model_id: str
    created_at: datetime
    status: str
    status_changed_at: datetime
    status_reason: str
    path: str
    trained_before: date
    settings: str
    inputs: str
    measures: str
    vocabulary_hash: str
    code_version: str
    space_id: str = ""  # empty: the model's own

    def __post_init__(self) -> None:
        object.__setattr__(self, "space_id", self.space_id or own_space(self.model_id))

    def with_status(self, status: str, reason: str) -> "Model":
        changed_at = datetime.now(UTC)
        return replace(self, status=status, status_reason=reason, status_changed_at=changed_at)


Models = Mapping[str, Model]  # by model_id
assert [field.name for field in fields(Model)] == MODELS.names


def load_models(lake: "Lake") -> dict[str, Model]:
    """All models, the oldest first; model_id breaks ties."""
    return _by_id(row.asDict() for row in lake.read_or_empty(MODELS).collect())


def read_models(places: Places) -> dict[str, Model]:
    """The same without Spark, in a fraction of a second, for commands that only look."""
    return _by_id(read_rows(places, MODELS))


def read_rows(places: Places, table: Table) -> list[dict[str, Any]]:
    """All rows of a small table, without Spark; none before its first write."""
    import duckdb
    from duckdb_extensions import import_extension

    import_extension("delta")
    path = reader_address(f"{places.lake}/{table.name}")
    if "://" not in path:
        if not any(Path(path, "_delta_log").glob("*.json")):
            return []
        check_delta_log(path)  # DuckDB reads a newest commit of 0 bytes as a table without rows
    elif open_delta_table(path) is None:
        return []
    with duckdb.connect() as connection:
        connection.execute("LOAD delta; SET TimeZone = 'UTC'")
        let_duckdb_read(connection, path)
        try:
            # DuckDB imports pandas, which takes half a second, to look at a parameter.
            literal = sql_literal(path)
            if "://" not in path:
                listed = f"SELECT data_file FROM delta_list_files({literal})"
                for (file,) in connection.execute(listed).fetchall():
                    check_data_file(Path(file))
            connection.execute(f"CREATE VIEW stored AS SELECT * FROM delta_scan({literal})")
            held = {name for name, *_ in connection.execute("DESCRIBE stored").fetchall()}
            gained = {c.name: c.default or "NULL" for c in table.gained_columns(held)}
            names = ", ".join(f"{gained[n]} AS {n}" if n in gained else n for n in table.names)
            rows = connection.execute(f"SELECT {names} FROM stored").fetchall()
        except duckdb.Error as error:
            reason = str(error).partition("\n")[0]
            raise BadInput(f"the table {table.name} in {path} cannot be read: {reason}") from None
    return [dict(zip(table.names, row, strict=True)) for row in rows]


def _by_id(rows: Iterable[Mapping[str, object]]) -> dict[str, Model]:
    models = sorted(map(_model, rows), key=lambda model: (model.created_at, model.model_id))
    return {model.model_id: model for model in models}


def _model(row: Mapping[str, object]) -> Model:
    """Spark gives times in this machine's own zone, without saying so."""
    aware = {k: v.astimezone(UTC) if isinstance(v, datetime) else v for k, v in row.items()}
    return Model(**aware)  # type: ignore[arg-type]


def change_models(
    lake: "Lake", places: Places, run: str, changed: Callable[[Models], Models]
) -> "Commit | None":
    """Write `changed` of all models in one commit, if it changes any.

    The whole table passes the gate and is replaced: whether a row is right depends on the others.
    """
    from expectations.gate import run_gate
    from spark_jobs.lake.lake import ALL_ROWS

    if changed(before := load_models(lake)) == before:
        return None

    def attempt() -> "tuple[Passed, str, dict[str, object]]":
        frame = _as_frame(lake, changed(load_models(lake)))
        return run_gate(frame, MODELS, places=places, run=run), ALL_ROWS, {}

    return lake.replace_alone(MODELS, attempt)


def _as_frame(lake: "Lake", models: Models) -> "DataFrame":
    return lake.spark.createDataFrame([astuple(m) for m in models.values()], MODELS.ddl)


def find_model(models: Models, model_id: str) -> Model:
    if model_id not in models:
        known = ", ".join(models) or "none"
        raise MissingTable(
            f"{model_id} is not registered (known: {known}): `userbert models register {model_id}` "
            "takes it from its folder, `userbert pretrain` makes one"
        )
    return models[model_id]


def settings_of_models(models: Models) -> dict[str, str]:
    """The JSON of each model's settings, by id."""
    return {model_id: model.settings for model_id, model in models.items()}


def champion_model(models: Models) -> Model | None:
    return next((m for m in models.values() if m.status == "champion"), None)


def champion_id_or_none(lake: "Lake") -> str | None:
    champion = champion_model(load_models(lake))
    return champion.model_id if champion else None


def load_champion(lake: "Lake") -> Model:
    """`MissingTable` when no model has been promoted yet."""
    champion = champion_model(load_models(lake))
    if champion is None:
        raise MissingTable(
            f"no model in {lake.path(MODELS)} is the champion yet: `userbert models list` shows "
            "the candidates, `userbert models judge MODEL_ID --promote` makes one the champion"
        )
    return champion


def champion_id(lake: "Lake") -> str:
    return load_champion(lake).model_id


def model_folder(places: Places, model: Model) -> Path:
    return find_model_folder(places.models, model.model_id, model.path)
