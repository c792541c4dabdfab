"""The landing days of a run as days: their numbers, and those of the weeks before, from the lake.

Few views are handed to DuckDB, which takes a tenth of the time that Spark's stages would; of many,
Spark answers the same SQL.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.paths import Places
from contracts.tables import BROWSING_LOGS
from expectations.day_history import accepted_days, day_bounds, is_accepted, load_days
from expectations.days.comparison import HISTORY_DAYS, MIN_VIEWS, Judged, judge_day
from expectations.days.measures import (
    LOOKBACK_DAYS,
    VIEW_COLUMNS,
    DayFacts,
    Query,
    measure_days,
)
from expectations.days.questions import DUCKDB_MACROS, HELD_DAYS_SQL
from spark_jobs.ingest.landed_days import LandedDays
from spark_jobs.ingest.landing_files import landing_file_names
from spark_jobs.ingest.landing_frame import MAX_LINES
from spark_jobs.lake.lake import Lake

_MAX_DUCKDB_VIEWS = 1_000_000  # at some 150 bytes each, in the driver
_MAX_LATE_DAYS = 7  # that a view of the weeks before may have been late


def judge_landed(
    lake: Lake, places: Places, landed: LandedDays, new_views: DataFrame, found: DataFrame
) -> tuple[list[Judged], list[DayFacts]]:
    """What each day of the run is like beside the four weeks before it, and its facts.

    Days that have no folder are days without views, as whoever ran the ingest has said. What a
    person accepted is left out.
    """
    days = [day for day in landed.days if (places.landing / str(day)).is_dir()]
    kept = load_days(places, landed.days[0], landed.days[-1])
    views = _with_earlier_views(lake, landed, new_views)
    num_views = views.count()
    if not days or num_views < MIN_VIEWS:
        return [], []
    measured = _measure(views, days, kept, num_views)
    resent = _resent_lines(landed, found)
    facts = {day: _with_resent(measured[day], resent[day]) for day in days}
    history = measured | kept | facts
    accepted = {each.day: each for each in accepted_days(places)}
    judged = [each for day in days for each in judge_day(facts[day], history, day_bounds(places))]
    return [each for each in judged if not is_accepted(each, accepted)], list(facts.values())


def _with_earlier_views(lake: Lake, landed: LandedDays, new_views: DataFrame) -> DataFrame:
    """The run's views, and those of other landing days that users and titles may be known from."""
    first = landed.days[0] - timedelta(days=LOOKBACK_DAYS)
    oldest = first - timedelta(days=_MAX_LATE_DAYS)  # whole partitions before it are not read
    earlier = lake.read_or_empty(BROWSING_LOGS).where(
        (F.col("event_date") >= F.lit(oldest))
        & F.col("landing_day").between(first, landed.days[-1])
        & ~F.expr(landed.span)
    )
    return new_views.select(*VIEW_COLUMNS).unionByName(earlier.select(*VIEW_COLUMNS))


def _measure(
    views: DataFrame, days: Sequence[date], kept: dict[date, DayFacts], num_views: int
) -> dict[date, DayFacts]:
    """The facts of `days`, and of the days of the four weeks before them that none are kept of."""
    if num_views > _MAX_DUCKDB_VIEWS:
        return _measure_by(_spark_query(views), views, days, kept)
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for macro in DUCKDB_MACROS:
            connection.execute(macro)
        connection.register("day_views", views.toArrow())
        return _measure_by(lambda sql: connection.execute(sql).fetchall(), views, days, kept)


def _measure_by(
    query: Query, views: DataFrame, days: Sequence[date], kept: dict[date, DayFacts]
) -> dict[date, DayFacts]:
    held = [day for (day,) in query(HELD_DAYS_SQL)]
    since = days[0] - timedelta(days=HISTORY_DAYS)
    missing = [day for day in held if day not in kept and since <= day <= days[-1]]
    return measure_days(query, {*days, *missing})


def _spark_query(views: DataFrame) -> Query:
    views.createOrReplaceTempView("day_views")
    return lambda sql: [tuple(row) for row in views.sparkSession.sql(sql).collect()]


def _resent_lines(landed: LandedDays, found: DataFrame) -> Counter[date]:
    """By day, the duplicates of views that landed on another day."""
    number = F.expr(f"place div {MAX_LINES}").alias("number")
    first = F.expr(f"if(first < 0, -1, first div {MAX_LINES})").alias("first_number")
    rows = found.select(number, first).groupBy("number", "first_number").count().collect()
    day_of = {part.file: part.landing_day for part in landed.parts}
    days = [day_of[file] for file in landing_file_names(landed.parts)]
    resent: Counter[date] = Counter()
    for row in rows:
        earlier = row["first_number"]
        if earlier < 0 or days[earlier] != days[row["number"]]:
            resent[days[row["number"]]] += row["count"]
    return resent


def _with_resent(facts: DayFacts, num_resent: int) -> DayFacts:
    share = num_resent / max(facts.numbers["views"] + num_resent, 1)
    return replace(facts, numbers={**facts.numbers, "resent_share": share})
