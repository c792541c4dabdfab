"""published_embeddings as Feast sees it.

A feature view belongs to one model and is named for it, because Feast cannot delete a row online:
under one name, vectors of the old model would stay for every user whom the new one has not
embedded. Readers ask for a feature service:

    user_embeddings               the champion's; a promotion points it at another view
    user_embeddings_MODEL_ID      pinned: gone, and so an error, once another model is published
"""

import re
from datetime import timedelta
from typing import Any

from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.data_format import DeltaFormat
from feast.types import Array, Float32, Float64, Int32, Int64, String, UnixTimestamp

from contracts.tables import PUBLISHED_EMBEDDINGS

SERVICE = "user_embeddings"
TIME = "as_of_time"  # the feature's time: the first instant of as_of
ENTITY = "user_id"
TYPES = {
    "array<float>": Array(Float32),
    "bigint": Int64,
    "double": Float64,
    "int": Int32,
    "string": String,
    "timestamp": UnixTimestamp,
}

user = Entity(
    name="user",
    join_keys=[ENTITY],
    value_type=ValueType.STRING,
    description="who viewed, by the id that the logs give",
)


def feature_names() -> list[str]:
    """Every column but the user, the feature's time, and the day, which that time is."""
    return [name for name in PUBLISHED_EMBEDDINGS.names if name not in (ENTITY, TIME, "as_of")]


def fields() -> list[Field]:
    return [
        Field(name=c.name, dtype=TYPES[c.type], description=c.doc)
        for c in PUBLISHED_EMBEDDINGS.columns
        if c.name in feature_names()
    ]


def view_name(model_id: str) -> str:
    """A model_id as a name that every store takes."""
    return f"{SERVICE}_{re.sub(r'[^0-9A-Za-z]', '_', model_id)}"


def file_source(name: str, path: str, model_id: str) -> FileSource:
    """The Delta folder, as DuckDB reads it."""
    delta, told = DeltaFormat(), tags(model_id)
    return FileSource(name=name, path=path, file_format=delta, timestamp_field=TIME, tags=told)


def spark_source(name: str, path: str, model_id: str) -> Any:
    """The Delta folder, as Spark reads it."""
    from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource

    query = f"SELECT * FROM delta.`{path}`"
    return SparkSource(name=name, query=query, timestamp_field=TIME, tags=tags(model_id))


SOURCES = {"duckdb": file_source, "spark": spark_source}  # by the offline store's type


def view(path: str, model_id: str, offline: str = "duckdb") -> FeatureView:
    """The view of `path`, the Delta folder, while it holds `model_id`'s rows.

    Without a time to live: a user who has been away keeps the newest vector there is, in the past
    as online, where Feast applies none.
    """
    name = view_name(model_id)
    source = SOURCES[offline](name, path, model_id)
    return FeatureView(
        name=name,
        entities=[user],
        ttl=timedelta(0),
        schema=fields(),
        source=source,
        description=PUBLISHED_EMBEDDINGS.doc,
        tags=tags(model_id),
    )


def services(of: FeatureView, model_id: str) -> tuple[FeatureService, FeatureService]:
    """The champion's, and the one that pins the model."""
    doc = f"vectors of {model_id}; compare them with one another only"
    return (
        FeatureService(name=SERVICE, features=[of], description=doc, tags=tags(model_id)),
        FeatureService(name=of.name, features=[of], description=doc, tags=tags(model_id)),
    )


def tags(model_id: str) -> dict[str, str]:
    return {"model_id": model_id}
