"""Every query of docs/sql-cookbook.md, in DuckDB and in Spark, over one small lake."""

import math
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from small_lake import embedding, publish, views, write

from analyst import open_lake
from analyst.lake_access.spark_views import register_views
from contracts.paths import Places

PAGE = (Path(__file__).parents[1] / "docs" / "sql-cookbook.md").read_text()
RECIPE = re.compile(r"^\*\*(.+?)\*\*(.*?)(?=^\*\*|^## |\Z)", re.DOTALL | re.MULTILINE)
QUERY = re.compile(r"^```sql ?(\w*)\n(.+?)^```$", re.DOTALL | re.MULTILINE)
FRIDAY, SATURDAY = date(2017, 6, 30), date(2017, 7, 1)  # the nights of `make run`


def recipes():
    """(title, {"duckdb": query, "spark": query}) of each recipe."""
    for title, body in RECIPE.findall(PAGE):
        found = dict(QUERY.findall(body))
        portable = found.get("")
        yield title, {engine: found.get(engine, portable) for engine in ("duckdb", "spark")}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Users 13 and 46 with vectors, 1467 active without one; a newer model knows 13 alone."""
    places = Places(tmp_path_factory.mktemp("cookbook"))
    publish(
        places,
        [
            embedding("13", FRIDAY, [1, 0], model="nrms-1"),
            embedding("46", FRIDAY, [0, 2], model="nrms-1"),
            embedding("13", SATURDAY, [3, 4], model="nrms-1"),
        ],
    )
    write(places, "user_embeddings", [embedding("13", FRIDAY, [7], model="nrms-2")])
    models = [("nrms-1", "champion", 1, "0.7"), ("nrms-2", "candidate", 2, "0.8")]
    write(
        places,
        "models",
        [
            {
                "model_id": model,
                "status": status,
                "created_at": datetime(2017, 6, day),
                "measures": f'{{"matching_accuracy": {measure}}}',
            }
            for model, status, day, measure in models
        ],
    )
    write(places, "titles", [{"title_id": n, "title": t, "words": [t]} for n, t in TITLES])
    write(places, "browsing_logs", [view(*facts) for facts in enumerate(VIEWS)])
    lines = [["blank title"], ["blank title", "blank user_id"]]
    write(places, "rejected_logs", [{"line": n + 1, "reasons": r} for n, r in enumerate(lines)])
    sessions = [
        {"user_id": u, "session_date": FRIDAY, "num_views": n} for u, n in (("13", 2), ("46", 5))
    ]
    write(places, "sessions", sessions)
    write(places, "user_sequences", [views("13", SATURDAY, 1, 2), views("1467", SATURDAY, 2, 1)])
    pairs = [{"user_id": user, "as_of": date(2017, 6, 29)} for user in ("13", "13", "46")]
    write(places, "sequence_pairs", pairs)
    return places


TITLES = ((1, "tea"), (2, "rain"))
VIEWS = (("13", 1), ("13", 2), ("13", 1), ("46", 1), ("1467", 2))


def view(number, facts):
    user, title_id = facts
    return {
        "event_date": FRIDAY,
        "log_id": number,
        "user_id": user,
        "event_time": datetime(2017, 6, 30, 10, number),
        "title_id": title_id,
        "title": dict(TITLES)[title_id],
        "landing_day": FRIDAY,
    }


@pytest.fixture(scope="module")
def engines(spark, places):
    """A function each, from a query to its rows."""
    lake = open_lake(places)
    register_views(spark, places)
    for name in lake.versions:  # read once: planning a read of Delta costs Spark more than a recipe
        table = spark.table(name)
        spark.createDataFrame(table.toArrow(), table.schema).createOrReplaceTempView(name)
    yield {
        "duckdb": lambda query: lake.sql(query).fetchall(),
        "spark": lambda query: [utc(row) for row in spark.sql(query).collect()],
    }
    for name in [row.tableName for row in spark.sql("show tables").collect() if row.isTemporary]:
        spark.catalog.dropTempView(name)


def utc(row):
    """Spark hands times over in the machine's own zone, and does not say so."""
    return [value.astimezone(UTC) if isinstance(value, datetime) else value for value in row]


def plain(value):
    """One spelling for what the two engines' Python clients spell differently."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, float | Decimal):
        return round(float(value), 6)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


@pytest.mark.parametrize(("title", "queries"), recipes(), ids=[title for title, _ in recipes()])
def test_a_recipe_runs_in_both_and_answers_alike(engines, title, queries):
    ours, theirs = (plain(engines[engine](query)) for engine, query in queries.items())
    assert ours, "an empty answer shows nothing"
    assert ours == theirs


def answer(engines, beginning):
    (queries,) = [queries for title, queries in recipes() if title.startswith(beginning)]
    return plain(engines["duckdb"](queries["duckdb"]))


def test_the_answers_are_those_that_the_small_lake_holds(engines):
    assert answer(engines, "The users nearest") == [["46", 0.8]]
    assert answer(engines, "Who moved most") == [["13", 0.4]]
    assert answer(engines, "The same under one model") == [["13", FRIDAY, 1, "space-nrms-2"]]
    assert answer(engines, "Users who viewed") == [["1467"]]
    assert answer(engines, "The last title") == [["13", "rain"], ["1467", "tea"]]
    assert [row[:4] for row in answer(engines, "Training rows")] == [
        ["13", datetime(2017, 6, 30, 9), 1, FRIDAY],
        ["13", datetime(2017, 7, 1), 0, SATURDAY],
        ["46", datetime(2017, 6, 1), 1, None],
    ]
    near = dict(answer(engines, "How near some users"))  # the mean of (3, 4) and (0, 2)
    assert near["46"] == pytest.approx(3 / math.hypot(1.5, 3), abs=1e-6)


def test_the_page_has_no_query_that_is_not_tested():
    tested = sum(len(QUERY.findall(body)) for _, body in RECIPE.findall(PAGE))
    assert tested == PAGE.count("```sql")
    assert len(list(recipes())) >= 12
    assert all(queries["duckdb"] and queries["spark"] for _, queries in recipes())
