"""published_embeddings as Feast sees it.

A feature view belongs to one model and is named for it, because Feast cannot delete a row online:
under one name, vectors of the old model would stay for every user whom the new one has not
embedded. Readers ask for a feature service:

    user_embeddings               the champion's; a promotion points it at another view
    user_embeddings_MODEL_ID      pinned: gone, and so an error, once another model is published
    user_embeddings_SPACE_ID      follows the champion within this space, and is gone after it
    user_embeddings_as_known      what was published when, of every model: offline alone, and asked
                                  with a model_id a row and `filter_by_created_timestamp=True`
"""

from datetime import timedelta
from typing import Any

from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.data_format import DeltaFormat
from feast.types import Array, Float32, Float64, Int32, Int64, String, UnixTimestamp

from contracts.storage.object_store import spark_address
from contracts.tables import (
    PUBLISHED_CONTENT,
    PUBLISHED_EMBEDDINGS,
    PUBLISHED_HISTORY,
    WRITTEN_AT,
    Column,
)
from contracts.vectors import CHAMPION_SERVICE, service_name

AS_KNOWN_SERVICE = f"{CHAMPION_SERVICE}_as_known"
TIME_COLUMN = "as_of_time"  # the feature's time: the first instant of as_of
USER_KEY = "user_id"
MODEL_KEY = "model_id"
_FEAST_TYPES = {
    "array<float>": Array(Float32),
    "bigint": Int64,
    "double": Float64,
    "float": Float32,
    "int": Int32,
    "string": String,
    "timestamp": UnixTimestamp,
}

USER_ENTITY = Entity(
    name="user",
    join_keys=[USER_KEY],
    value_type=ValueType.STRING,
    description="who viewed, by the id that the logs give",
)
MODEL_ENTITY = Entity(
    name="model",
    join_keys=[MODEL_KEY],
    value_type=ValueType.STRING,
    description="whose vectors are asked for, as they were known",
)


def feature_names() -> list[str]:
    """Every column but the user, the day, and the two times that Feast knows a feature by."""
    taken = (USER_KEY, TIME_COLUMN, WRITTEN_AT, "as_of")
    return [name for name in PUBLISHED_EMBEDDINGS.names if name not in taken]


def _feature_fields() -> list[Field]:
    return [_field(c) for c in PUBLISHED_EMBEDDINGS.columns if c.name in feature_names()]


def _field(column: Column) -> Field:
    return Field(name=column.name, dtype=_FEAST_TYPES[column.type], description=column.doc)


def _file_source(name: str, path: str, tags: dict[str, str]) -> FileSource:
    """The Delta folder, as DuckDB reads it."""
    return FileSource(name=name, path=path, file_format=DeltaFormat(), tags=tags, **_TIMES)


def _spark_source(name: str, path: str, tags: dict[str, str]) -> Any:
    """The Delta folder, as Spark reads it."""
    from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource

    return SparkSource(
        name=name, query=f"SELECT * FROM delta.`{spark_address(path)}`", tags=tags, **_TIMES
    )


# Feast's names of when a feature is of, and since when it is known.
_TIMES: dict[str, Any] = {
    "timestamp_field": TIME_COLUMN,
    "created_timestamp_column": WRITTEN_AT,
}
_SOURCES = {"duckdb": _file_source, "spark": _spark_source}  # by the offline store's type


def feature_view(path: str, model_id: str, offline: str = "duckdb") -> FeatureView:
    """The view of `path`, the Delta folder, while it holds `model_id`'s rows.

    Without a time to live: a user who has been away keeps the newest vector there is, in the past
    as online, where Feast applies none.
    """
    name = service_name(model_id)
    source = _SOURCES[offline](name, path, _model_tags(model_id))
    return FeatureView(
        name=name,
        entities=[USER_ENTITY],
        ttl=timedelta(0),
        schema=_feature_fields(),
        source=source,
        description=PUBLISHED_EMBEDDINGS.doc,
        tags=_model_tags(model_id),
    )


def as_known_view(path: str, offline: str = "duckdb") -> FeatureView:
    """The view of `path`, the folder of published_history; never online."""
    return FeatureView(
        name=AS_KNOWN_SERVICE,
        entities=[USER_ENTITY, MODEL_ENTITY],
        ttl=timedelta(0),
        schema=[_field(column) for column in PUBLISHED_CONTENT],
        source=_SOURCES[offline](AS_KNOWN_SERVICE, path, {}),
        description=PUBLISHED_HISTORY.doc,
        online=False,
    )


def as_known_service(of: FeatureView) -> FeatureService:
    doc = "vectors as they were known; ask with a model_id, and compare those of one alone"
    return FeatureService(name=AS_KNOWN_SERVICE, features=[of], description=doc)


def pinning_service(of: FeatureView, model_id: str, space_id: str) -> FeatureService:
    """The one that is of the model, and never of another."""
    return _service(of.name, of, model_id, space_id)


def following_services(
    of: FeatureView, model_id: str, space_id: str
) -> tuple[FeatureService, FeatureService]:
    """The champion's, and the one that follows the champion within its space."""
    names = (CHAMPION_SERVICE, service_name(space_id))
    of_champion, of_space = (_service(name, of, model_id, space_id) for name in names)
    return of_champion, of_space


def _service(name: str, of: FeatureView, model_id: str, space_id: str) -> FeatureService:
    doc = f"vectors of {model_id} in {space_id}; compare them with one another only"
    tags = {**_model_tags(model_id), "space_id": space_id}
    return FeatureService(name=name, features=[of], description=doc, tags=tags)


def _model_tags(model_id: str) -> dict[str, str]:
    return {"model_id": model_id}
