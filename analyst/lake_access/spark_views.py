"""The lake's tables and the analyst's views in a Spark session, by the names DuckDB has them by."""

from typing import TYPE_CHECKING

from analyst.lake_access.open_lake import table_exists
from analyst.lake_access.views import LATEST_VIEW, as_of_view
from contracts.paths import Places
from contracts.tables import MODELS, PUBLISHED_EMBEDDINGS, TABLES, USER_EMBEDDINGS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def register_views(spark: "SparkSession", places: Places | None = None) -> None:
    """Make a temporary view of each table that exists, and the views of `views.py`."""
    from pyspark.sql import functions as F

    places = places or Places.from_environment()
    there = [table for table in TABLES if table_exists(places.lake, table)]
    for table in there:
        frame = spark.read.format("delta").load(f"{places.lake}/{table.name}")
        for column in table.gained_columns(frame.columns):
            value = F.expr(column.default) if column.default else F.lit(None)
            frame = frame.withColumn(column.name, value.cast(column.type))
        frame.createOrReplaceTempView(table.name)
    if PUBLISHED_EMBEDDINGS in there:
        spark.sql(f"CREATE OR REPLACE TEMPORARY VIEW user_embeddings_latest AS {LATEST_VIEW}")
    if {PUBLISHED_EMBEDDINGS, USER_EMBEDDINGS} <= set(there):
        columns = ", ".join(f"{column.name} {column.type}" for column in USER_EMBEDDINGS.columns)
        query = as_of_view(has_models=MODELS in there)
        spark.sql(
            "CREATE OR REPLACE TEMPORARY FUNCTION user_embeddings_as_of"
            f"(day DATE, model STRING DEFAULT NULL) RETURNS TABLE({columns}, space_id STRING) "
            f"RETURN {query}"
        )
