"""Lines that were refused for the sake of a view which is no longer there.

A view that stands in the files of two landing days is accepted on the day that was ingested first,
and refused as its duplicate on the other. When the first day is ingested again without the view,
the second day's line is brought back: it is read from its file once more, and becomes a view of its
own landing day. Each step may be repeated: a run that a kill ended is finished by the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.paths import Places
from contracts.tables import BROWSING_LOGS, REJECTED_LOGS
from expectations.gate import Passed, run_gate
from spark_jobs.ingest.duplicates import DUPLICATE_LINE, find_duplicates, with_duplicate_reason
from spark_jobs.ingest.landed_days import LandedDays
from spark_jobs.ingest.landing_files import landing_parts
from spark_jobs.ingest.landing_frame import MAX_LINES
from spark_jobs.lake.lake import Lake

_OF_DAY = rf"^{DUPLICATE_LINE} \(of (?:a view that landed on )?(\d{{4}}-\d\d-\d\d)"


def were_ingested_before(lake: Lake, landed: LandedDays) -> bool:
    """Whether the tables hold anything of the days, or a day has no file any more."""
    if lake.version(REJECTED_LOGS) < 1:  # it is not there, or has only been created
        return False
    if {part.landing_day for part in landed.parts} != set(landed.days):
        return True
    tables = (lake.read(table) for table in (BROWSING_LOGS, REJECTED_LOGS))
    return any(not table.where(landed.span).isEmpty() for table in tables)


def bring_back(lake: Lake, places: Places, landed: LandedDays, counts: Mapping[str, float]) -> int:
    """Accept the lines of other days whose view the days of `landed` have lost; how many."""
    refused = _refused_for(lake, landed)
    shadowed = _with_their_files(places, landed, refused)
    if not shadowed.parts:
        return 0
    files = shadowed.files(lake.spark)
    chosen = refused.join(F.broadcast(files), ["landing_day", "file"])
    chosen = chosen.select(F.expr(f"number * {MAX_LINES} + line").alias("place"))
    lines = shadowed.judged_lines(lake.spark).join(F.broadcast(chosen), "place", "left_semi")
    lines = lines.persist()
    views = lake.read(BROWSING_LOGS).select("event_date", "log_id", "landing_day")
    # A view of a line's own day and id is that line, which a run before this one has brought back.
    others = views.join(
        lines.select("log_id", "landing_day"), ["log_id", "landing_day"], "left_anti"
    )
    found = find_duplicates(lines, others, shadowed.num_shares).persist()
    good = lines.where("reasons is null").join(found, "place", "left_anti")
    num_back = _append(lake, places, landed, good.select(BROWSING_LOGS.names), counts)
    no_reason = F.lit(None).cast("array<string>").alias("reasons")
    new_reasons = with_duplicate_reason(found, files).unionByName(good.select("place", no_reason))
    new_reasons = new_reasons.join(F.broadcast(files), F.expr(f"place div {MAX_LINES} = number"))
    _mend_reasons(lake, places, landed, new_reasons, shadowed.days)
    found.unpersist()
    lines.unpersist()
    return num_back


def _refused_for(lake: Lake, landed: LandedDays) -> DataFrame:
    """(landing_day, file, line) of other days' duplicates of lines and views of `landed`."""
    of_day = F.regexp_extract(F.col("reasons")[0], _OF_DAY, 1)
    first, last = str(landed.days[0]), str(landed.days[-1])
    refused = lake.read(REJECTED_LOGS).where(f"not ({landed.span})")
    return refused.where(of_day.between(first, last)).select("landing_day", "file", "line")


def _with_their_files(places: Places, landed: LandedDays, refused: DataFrame) -> LandedDays:
    """The days of `refused` lines and those of their files that are still there."""
    rows = refused.select("landing_day", "file").distinct().collect()
    files = {row["file"] for row in rows}
    days: list[date] = sorted({row["landing_day"] for row in rows})
    parts = landing_parts(places.landing, days, landed.settings, allow_missing_days=True)
    parts = [part for part in parts if part.file in files]
    return replace(landed, days=days, parts=parts)


def _append(
    lake: Lake,
    places: Places,
    landed: LandedDays,
    views: DataFrame,
    counts: Mapping[str, float],
) -> int:
    """Add the views that the table does not hold yet."""
    num_views = 0

    def attempt() -> tuple[Passed, Mapping[str, object]] | None:
        nonlocal num_views
        known = lake.read(BROWSING_LOGS).select("event_date", "log_id")
        new = views.join(known, ["event_date", "log_id"], "left_anti").select(BROWSING_LOGS.names)
        passed = run_gate(
            new, BROWSING_LOGS, places=places, run=f"{landed.run_name}_back", measures=counts
        )
        num_views = int(passed.measures["rows"])
        return (passed, landed.provenance) if num_views else None

    lake.append_alone(BROWSING_LOGS, attempt)
    return num_views


def _mend_reasons(
    lake: Lake, places: Places, landed: LandedDays, new_reasons: DataFrame, days: list[date]
) -> None:
    """Take the lines without a new reason out of rejected_logs, and give the others theirs."""
    of_days = " or ".join(f"landing_day = date'{day}'" for day in days)
    line = F.expr(f"place % {MAX_LINES}").alias("line")
    changes = new_reasons.select("landing_day", "file", line, F.col("reasons").alias("new"))
    changes = changes.withColumn("is_changed", F.lit(True))
    rows = lake.read(REJECTED_LOGS).where(of_days)
    rows = rows.join(changes, ["landing_day", "file", "line"], "left")
    rows = rows.where("is_changed is null or new is not null")
    rows = rows.withColumn("reasons", F.coalesce("new", "reasons")).select(REJECTED_LOGS.names)
    run = f"{landed.run_name}_back"
    passed = run_gate(rows, REJECTED_LOGS, places=places, run=run)
    lake.replace(passed, of_days, **landed.provenance)
