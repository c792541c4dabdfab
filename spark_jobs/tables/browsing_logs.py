"""Landing files to browsing_logs and rejected_logs: every line ends in one of the two.

A line is refused with all its reasons, or as the duplicate of a view that came first, by landing
day, then file, then line. A run is responsible for the landing days it names: it replaces their
rows in both tables, so running a day again, after a kill or after its files were mended, ends as
if it had run once. Views that arrive days late are simply lines of a later landing day.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial, reduce
from typing import Annotated

import numpy as np
import pyarrow as pa
import typer
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.errors import BadInput
from contracts.landing_settings import LandingSettings, read_settings
from contracts.options import day_option
from contracts.paths import Places
from contracts.tables import BROWSING_LOGS, REJECTED_LOGS
from expectations.gate import check
from spark_jobs.ingest import suppression_list
from spark_jobs.ingest.event_time import check_time_format, event_time
from spark_jobs.ingest.landing_frame import LINES, files_of, landing_frame, with_raw
from spark_jobs.ingest.landing_lines import Part, landing_parts
from spark_jobs.lake.lake import Commit, Lake
from spark_jobs.spark.job_run import job
from spark_jobs.transforms.title_text import normalized, title_id
from spark_jobs.transforms.user_batches import differs

FUTURE = "event_time after its landing day"
FEW = 2  # parts of a day that one task each may write beside one another
MANY = 1_000_000  # duplicates; so many are told to every task, at 40 bytes each
SHARE = 128 << 20  # bytes of landing files
LATER = ["place", "first", "first_day"]
EARLIEST = "1990-01-01"  # the web's first year; a page view from before it is a broken clock


@dataclass(frozen=True)
class Landed:
    """What a run is responsible for: the files of some landing days, and how they are read."""

    days: list[date]
    parts: list[Part]
    settings: LandingSettings
    forgotten: suppression_list.Forgotten | None = None

    @property
    def span(self) -> str:
        # Not "between", which Delta 4.4 cannot resolve in a replaceWhere on a column of data. And
        # dates, for Delta asks this of each row that it writes, and would read a text each time.
        first, last = self.days[0], self.days[-1]
        return f"landing_day >= date'{first}' and landing_day <= date'{last}'"

    @property
    def run(self) -> str:
        return "_".join(dict.fromkeys((str(self.days[0]), str(self.days[-1]))))

    @property
    def spread(self) -> bool:
        """Whether a day is in many files, or parts of one."""
        return len(self.parts) > FEW * len(self.days)

    @property
    def shares(self) -> int:
        """Tasks that compare all lines, so that each has a million or two."""
        return max(2, sum(part.weight for part in self.parts) // SHARE)

    def judged(self, spark: SparkSession) -> DataFrame:
        lines = landing_frame(spark, self.parts, self.settings, self.forgotten)
        return judged_alone(lines, self.settings)

    def files(self, spark: SparkSession) -> DataFrame:
        """(number, landing_day, file)."""
        days = {part.file: part.landing_day for part in self.parts}
        rows = [(n, days[file], file) for n, file in enumerate(files_of(self.parts))]
        return spark.createDataFrame(rows, "number bigint, landing_day date, file string")


def judged_alone(lines: DataFrame, settings: LandingSettings) -> DataFrame:
    """Each line with its facts and with what is wrong with it, whatever the other lines are.

    browsing_logs' columns, `place`, and `reasons`: all that is wrong, or null where nothing is.
    """
    return with_reasons(with_facts(lines, settings), settings)


def with_facts(lines: DataFrame, settings: LandingSettings) -> DataFrame:
    """Add what browsing_logs holds of a line; null where the line does not tell."""
    facts = F.xxhash64("user_id", "event_time", "title", "host")
    own_id = F.xxhash64("log_id") if "log_id" in settings.columns else facts
    time = F.coalesce("instant", event_time(F.col("event_time"), settings))
    return (
        lines.withColumn("time_text", F.col("event_time"))
        .withColumn("event_time", time)
        .withColumn("event_date", F.to_date("event_time"))
        .withColumn("normalized", F.coalesce("folded", normalized(F.col("title"))))
        .withColumn("title_id", title_id(F.col("normalized")))
        .withColumn("own_id", F.col("log_id"))
        .withColumn("log_id", own_id)
    )


def with_reasons(lines: DataFrame, settings: LandingSettings) -> DataFrame:
    """Add `reasons`: all that is wrong with the line itself, null where nothing is."""
    wrong = wrong_with(settings)
    text = F.substring(F.coalesce("time_text", F.col("event_time").cast("string")), 1, 40)
    told = F.coalesce(F.concat(F.lit(" ("), text, F.lit(")")), F.lit(""))
    told_wrong = [
        F.when(when, F.concat(F.lit(why), told) if "time" in why else F.lit(why))
        for why, when in wrong.items()
    ]
    # Arrays are built for the few lines that have a reason.
    bad = reduce(Column.__or__, wrong.values(), F.col("flaws").isNotNull())
    reasons = F.when(bad, F.coalesce("flaws", F.array_compact(F.array(*told_wrong))))
    return lines.select("place", *BROWSING_LOGS.names, reasons.alias("reasons"))


def wrong_with(settings: LandingSettings) -> dict[str, Column]:
    """By reason, whether it holds of a line; never null."""
    time, no = F.col("event_time"), F.lit(False)
    early = time < F.lit(EARLIEST).cast("timestamp")
    wrong = {
        "blank user_id": _blank(F.col("user_id")),
        "blank title": F.coalesce(F.col("normalized"), F.lit("")) == "",
        "unreadable event_time": time.isNull(),
        FUTURE: F.coalesce(F.col("event_date") > F.col("landing_day"), no),
        f"event_time before {EARLIEST[:4]}": F.coalesce(early, no),
    }
    if "log_id" in settings.columns:
        wrong["blank log_id"] = _blank(F.col("own_id"))
    return wrong


def _blank(text: Column) -> Column:
    """Whoever begins with a visible ASCII character, nearly all, is asked no regular expression."""
    seen = F.ascii(text).between(ord("!"), ord("~"))
    return text.isNull() | (~seen & (normalized(text) == ""))


def duplicates(lines: DataFrame, earlier: DataFrame, shares: int) -> DataFrame:
    """(place, first, first_day) of each good line whose log_id another one has first.

    First are the views of `earlier` (log_id, landing_day), which stand already, with their day as
    `first_day`; then lines go by `place`, with the place of the first as `first`. A broken line is
    nobody's duplicate, and nobody is its. Each of the `shares` that the ids are divided into must
    fit into memory, at 60 bytes a line.
    """
    no_day = F.lit(None).cast("date").alias("landing_day")
    good = lines.where("reasons is null").select("log_id", "place", no_day)
    stand = earlier.select("log_id", F.lit(-1).cast("bigint").alias("place"), "landing_day")
    return (
        good.unionByName(stand)
        .repartition(shares, "log_id")
        .mapInArrow(_later_ones, "place bigint, first bigint, first_day date")
    )


def _later_ones(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Of one partition. numpy sorts the numbers in a quarter of the time that Spark sorts rows.

    Only lines whose id another one has are put in order by their place too: of 20 M lines this
    stage took 9.6 task seconds when all were, and takes 6.7.
    """
    held = list(batches)
    if not held:
        return
    log_id, place, day = (column.to_numpy() for column in pa.Table.from_batches(held).columns)
    order = np.argsort(log_id)
    again = ~differs(log_id[order])
    shared = order[again | np.append(again[1:], False)]
    order = shared[np.lexsort((place[shared], log_id[shared]))]
    starts = np.flatnonzero(differs(log_id[order]))
    first = order[np.repeat(starts, np.diff(np.append(starts, len(order))))]
    later = np.flatnonzero(place[order] > place[first])
    columns = [place[order][later], place[first][later], day[first][later]]
    yield pa.RecordBatch.from_arrays([pa.array(each) for each in columns], LATER)


def with_reason(found: DataFrame, files: DataFrame) -> DataFrame:
    """(place, reasons) of `duplicates`; `files` has each file's number and name."""
    named = found.join(F.broadcast(files), F.expr(f"first div {LINES} = number"), "left")
    here = F.format_string("duplicate (of %s, line %d)", "file", F.expr(f"first % {LINES}"))
    day = F.col("first_day").cast("string")
    stands = F.format_string("duplicate (of a view that landed on %s)", day)
    reason = F.when(F.col("first") < 0, stands).otherwise(here)
    return named.select("place", F.array(reason).alias("reasons"))


def accepted(judged: DataFrame, found: DataFrame, spread: bool) -> DataFrame:
    """The good lines that are no duplicates. If they are `spread`, over many files a day, those
    of a day are brought together, so that each day is one file or a few."""
    good = judged.where("reasons is null").join(found.select("place"), "place", "left_anti")
    good = good.select(BROWSING_LOGS.names)
    return good.hint("rebalance", "event_date") if spread else good


def rejected(lines: DataFrame, found: DataFrame, landed: Landed) -> DataFrame:
    """The broken lines and the duplicates, whole."""
    files = landed.files(lines.sparkSession)
    bad = lines.where("reasons is not null").select("place", "reasons")
    bad = bad.unionByName(with_reason(found, files))
    line = F.expr(f"place % {LINES}").alias("line")
    bad = bad.join(F.broadcast(files), F.expr(f"place div {LINES} = number"))
    bad = bad.select("landing_day", "file", line, "reasons")
    whole = with_raw(bad, landed.parts, landed.settings)
    return whole.select(REJECTED_LOGS.names).hint("rebalance", "landing_day")


def measures(lines: DataFrame, num_duplicates: int) -> dict[str, float]:
    """Lines by what became of them; "refused: KIND" counts the lines with that reason.

    `refused` and `refused_share` leave out duplicates and the lines of forgotten users: neither a
    file that is sent twice nor one that still names them is a bad file.
    """
    kinds = F.transform("reasons", lambda reason: F.substring_index(reason, " (", 1))
    counts = lines.groupBy(kinds.alias("kinds")).count().collect()
    lines_in = sum(row["count"] for row in counts)
    good = sum(row["count"] for row in counts if not row["kinds"])
    by_kind: Counter[str] = Counter()
    for row in counts:
        by_kind.update(dict.fromkeys(row["kinds"] or (), row["count"]))
    forgotten = by_kind.pop(suppression_list.REASON, 0)
    refused = lines_in - good - forgotten
    told: dict[str, float] = {
        "lines_in": lines_in,
        "accepted": good - num_duplicates,
        "duplicates": num_duplicates,
        "forgotten": forgotten,
        "refused": refused,
        "refused_share": refused / max(lines_in, 1),
        "future_share": by_kind[FUTURE] / max(lines_in, 1),
    }
    return told | {f"refused: {kind}": float(n) for kind, n in sorted(by_kind.items())}


def earlier_views(lake: Lake, lines: DataFrame, span: str) -> DataFrame:
    """The views that landed outside `span`, of the days that the good ones of `lines` are of."""
    views = lake.read_or_empty(BROWSING_LOGS).where(f"not ({span})")
    if lake.version(BROWSING_LOGS) < 1:  # it is not there, or has only been created
        return views
    days = lines.where("reasons is null").select("event_date").distinct().collect()
    return views.where(F.col("event_date").isin([row["event_date"] for row in days]))


def ingest(lake: Lake, places: Places, landed: Landed) -> Commit:
    """Judge what `landed`, and write both tables, the views first.

    Nothing is written before both gates have passed. A kill between the two commits leaves
    rejected_logs behind; running again mends it. Safe to repeat.

    Lines are read and judged once, and kept until both tables are written.
    """
    judged = landed.judged(lake.spark).persist()
    found = duplicates(judged, earlier_views(lake, judged, landed.span), landed.shares).persist()
    num_duplicates = found.count()
    told = measures(judged, num_duplicates)
    few = F.broadcast(found) if num_duplicates <= MANY else found
    good = accepted(judged, few, landed.spread)
    bad = rejected(judged, found, landed)
    gate = partial(check, places=places, run=landed.run, measures=told)
    views, refusals = gate(good, BROWSING_LOGS, cached=landed.spread), gate(bad, REJECTED_LOGS)
    commit = lake.replace(views, landed.span)
    lake.replace(refusals, landed.span)
    found.unpersist()
    judged.unpersist()
    return commit


def days_of(from_day: date, to_day: date) -> list[date]:
    if to_day < from_day:
        raise BadInput(f"--to-day {to_day} is before --from-day {from_day}")
    return [from_day + timedelta(days=n) for n in range((to_day - from_day).days + 1)]


def main(
    from_day: Annotated[date, day_option("--from-day", help="The first landing day, YYYY-MM-DD.")],
    to_day: Annotated[date, day_option("--to-day", help="The last landing day, YYYY-MM-DD.")],
    allow_missing_days: Annotated[
        bool,
        typer.Option(
            "--allow-missing-days", help="Take a day without a folder as a day without views."
        ),
    ] = False,
) -> None:
    places = Places.from_environment()
    settings = read_settings(places.landing / "settings.toml")
    days = days_of(from_day, to_day)
    parts = landing_parts(places.landing, days, settings, allow_missing_days)
    with job("browsing_logs") as (spark, tell):
        check_time_format(spark, settings)
        lake = Lake(spark, places.lake)
        landed = Landed(days, parts, settings, suppression_list.read(places))
        commit = lake.settle(BROWSING_LOGS, lambda: ingest(lake, places, landed))
        tell(commit, **lake.measures(BROWSING_LOGS))
