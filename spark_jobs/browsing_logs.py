"""Landing files to browsing_logs and rejected_logs: every line ends in one of the two.

A line is refused with all its reasons, or as the duplicate of a view that came first, by landing
day, then file, then line. A run is responsible for the landing days it names: it replaces their
rows in both tables, so running a day again, after a kill or after its files were mended, ends as
if it had run once. Views that arrive days late are simply lines of a later landing day.
"""

import argparse
from collections import Counter
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from contracts.errors import BadInput
from contracts.landing import LandingSettings, read_settings
from contracts.places import Places
from contracts.tables import BROWSING_LOGS, REJECTED_LOGS
from expectations.gate import check
from spark_jobs import forgotten_users
from spark_jobs.event_time import check_time_format, event_time
from spark_jobs.lake import Commit, Lake
from spark_jobs.landing_lines import landing_lines, landing_parts
from spark_jobs.report import job
from spark_jobs.title_text import normalized, title_id

# What a line needs to end in one of the two tables, and nothing that makes the sort wider.
JUDGED = list(dict.fromkeys((*BROWSING_LOGS.names, *REJECTED_LOGS.names[:-1])))
FUTURE = "event_time after its landing day"
EARLIEST = "1990-01-01"  # the web's first year; a page view from before it is a broken clock


def judged_alone(lines: DataFrame, settings: LandingSettings) -> DataFrame:
    """Each line with its facts and with what is wrong with it, whatever the other lines are."""
    return with_reasons(with_facts(lines, settings), settings)


def with_facts(lines: DataFrame, settings: LandingSettings) -> DataFrame:
    """Add what browsing_logs holds of a line; null where the line does not tell."""
    facts = F.xxhash64("user_id", "event_time", "title", "host")
    own_id = F.xxhash64("log_id") if "log_id" in settings.columns else facts
    return (
        lines.withColumn("time_text", F.col("event_time"))
        .withColumn("event_time", event_time(F.col("event_time"), settings))
        .withColumn("event_date", F.to_date("event_time"))
        .withColumn("normalized", normalized(F.col("title")))
        .withColumn("title_id", title_id(F.col("normalized")))
        .withColumn("own_id", F.col("log_id"))
        .withColumn("log_id", own_id)
    )


def with_reasons(lines: DataFrame, settings: LandingSettings) -> DataFrame:
    """Add `reasons`: all that is wrong with the line itself, empty where nothing is."""
    told = F.concat(F.lit(" ("), F.substring("time_text", 1, 40), F.lit(")"))
    time, landed = F.col("event_time"), F.col("landing_day")
    wrong = {
        "blank user_id": _blank(F.col("user_id")),
        "blank title": F.coalesce(F.col("normalized"), F.lit("")) == "",
        "unreadable event_time": time.isNull(),
        FUTURE: F.col("event_date") > landed,
        f"event_time before {EARLIEST[:4]}": time < F.lit(EARLIEST).cast("timestamp"),
    }
    if "log_id" in settings.columns:
        wrong["blank log_id"] = _blank(F.col("own_id"))
    nothing = F.lit("")
    told_wrong = [
        F.when(when, F.concat(F.lit(why), F.coalesce(told, nothing) if "time" in why else nothing))
        for why, when in wrong.items()
    ]
    parsed = F.size("flaws") == 0
    reasons = F.when(parsed, F.array_compact(F.array(*told_wrong))).otherwise(F.col("flaws"))
    return lines.select(*JUDGED, reasons.alias("reasons"))


def _blank(text: Column) -> Column:
    return text.isNull() | (normalized(text) == "")


def without_duplicates(lines: DataFrame, earlier: DataFrame) -> DataFrame:
    """Add the reason "duplicate" to each good line whose log_id another one has first.

    First are the views of `earlier` (log_id, landing_day), which stand already; then lines go by
    landing_day, file and line. A broken line is nobody's duplicate, and nobody is its.
    """
    alone = F.xxhash64("landing_day", "file", "line")
    good = F.size("reasons") == 0
    stand = earlier.select("log_id", "landing_day", F.lit(True).alias("stands"))
    lines = (
        lines.withColumn("same", F.when(good, F.col("log_id")).otherwise(alone))
        .withColumn("good", good)
        .unionByName(
            stand.withColumns({"same": F.col("log_id"), "good": F.lit(True)}),
            allowMissingColumns=True,
        )
    )
    in_order = Window.partitionBy("good", "same").orderBy(
        F.desc_nulls_last("stands"), "landing_day", "file", "line"
    )
    return (
        lines.withColumn("first", F.first(F.struct("landing_day", "file", "line")).over(in_order))
        .withColumn("place", F.row_number().over(in_order))
        .where(F.col("stands").isNull())
        .withColumn("reasons", F.when(F.col("place") > 1, _duplicate()).otherwise(F.col("reasons")))
    )


def _duplicate() -> Column:
    here = F.format_string("duplicate (of %s, line %d)", "first.file", "first.line")
    landed = F.col("first.landing_day").cast("string")
    stands = F.format_string("duplicate (of a view that landed on %s)", landed)
    return F.array(F.when(F.col("first.file").isNull(), stands).otherwise(here))


def accepted(judged: DataFrame) -> DataFrame:
    """The good lines, those of a day side by side, so that each day is one file or a few."""
    good = judged.where(F.size("reasons") == 0).select(BROWSING_LOGS.names)
    return good.hint("rebalance", "event_date")


def rejected(judged: DataFrame) -> DataFrame:
    bad = judged.where(F.size("reasons") > 0).select(REJECTED_LOGS.names)
    return bad.hint("rebalance", "landing_day")


def measures(judged: DataFrame) -> dict[str, float]:
    """Lines by what became of them; "refused: KIND" counts the lines with that reason.

    `refused` and `refused_share` leave out duplicates and the lines of forgotten users: neither a
    file that is sent twice nor one that still names them is a bad file.
    """
    kinds = F.transform("reasons", lambda reason: F.substring_index(reason, " (", 1))
    counts = judged.groupBy(kinds.alias("kinds")).count().collect()
    lines_in = sum(row["count"] for row in counts)
    good = sum(row["count"] for row in counts if not row["kinds"])
    by_kind: Counter[str] = Counter()
    for row in counts:
        by_kind.update(dict.fromkeys(row["kinds"], row["count"]))
    duplicates = by_kind.pop("duplicate", 0)
    forgotten = by_kind.pop(forgotten_users.REASON, 0)
    refused = lines_in - good - duplicates - forgotten
    told: dict[str, float] = {
        "lines_in": lines_in,
        "accepted": good,
        "duplicates": duplicates,
        "forgotten": forgotten,
        "refused": refused,
        "refused_share": refused / max(lines_in, 1),
        "future_share": by_kind[FUTURE] / max(lines_in, 1),
    }
    return told | {f"refused: {kind}": float(n) for kind, n in sorted(by_kind.items())}


def earlier_views(lake: Lake, lines: DataFrame, span: str) -> DataFrame:
    """The views that landed outside `span`, of the days that the good ones of `lines` are of."""
    views = lake.read_or_empty(BROWSING_LOGS).where(f"not ({span})")
    if views.isEmpty():
        return views
    lines.persist()
    days = lines.where(F.size("reasons") == 0).select("event_date").distinct().collect()
    return views.where(F.col("event_date").isin([row["event_date"] for row in days]))


def ingest(lake: Lake, places: Places, lines: DataFrame, days: list[date]) -> Commit:
    """Judge the `lines` that landed on `days`, and write both tables, the views first.

    Nothing is written before both gates have passed. A kill between the two commits leaves
    rejected_logs behind; running again mends it. Safe to repeat.
    """
    # Not "between", which Delta 4.4 cannot resolve in a replaceWhere on a column of data.
    span = f"landing_day >= '{days[0]}' and landing_day <= '{days[-1]}'"
    judged = without_duplicates(lines, earlier_views(lake, lines, span)).persist()
    told = measures(judged)
    run = "_".join(dict.fromkeys((str(days[0]), str(days[-1]))))
    views = check(accepted(judged), BROWSING_LOGS, places=places, run=run, measures=told)
    refusals = check(rejected(judged), REJECTED_LOGS, places=places, run=run, measures=told)
    commit = lake.replace(views, span)
    lake.replace(refusals, span)
    judged.unpersist()
    lines.unpersist()
    return commit


def days_of(from_day: date, to_day: date) -> list[date]:
    if to_day < from_day:
        raise BadInput(f"--to-day {to_day} is before --from-day {from_day}")
    return [from_day + timedelta(days=n) for n in range((to_day - from_day).days + 1)]


def arg_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--from-day", required=True, type=date.fromisoformat, help="first landing day, YYYY-MM-DD")
    add("--to-day", required=True, type=date.fromisoformat, help="last landing day, YYYY-MM-DD")
    add("--allow-missing-days", action="store_true", help="a day without a folder had no views")
    return parser


def main(from_day: date, to_day: date, allow_missing_days: bool) -> None:
    places = Places.from_environment()
    settings = read_settings(places.landing / "settings.toml")
    days = days_of(from_day, to_day)
    parts = landing_parts(places.landing, days, settings, allow_missing_days)
    with job("browsing_logs") as (spark, tell):
        check_time_format(spark, settings)
        lake = Lake(spark, places.lake)
        forgotten = forgotten_users.read(places)
        lines = judged_alone(landing_lines(spark, parts, settings, forgotten), settings)
        commit = lake.settle(BROWSING_LOGS, lambda: ingest(lake, places, lines, days))
        tell(commit, **lake.measures(BROWSING_LOGS))
