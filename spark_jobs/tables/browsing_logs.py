"""Landing files to browsing_logs and rejected_logs: every line ends in one of the two.

A line is refused with all its reasons, or as the duplicate of a view that came first, by landing
day, then file, then line. A run is responsible for the landing days it names: it replaces their
rows in both tables, so running a day again, after a kill or after its files were mended, ends as
if it had run once. Views that arrive days late are simply lines of a later landing day.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date
from functools import partial
from typing import Annotated

import typer
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.landing_settings import read_settings
from contracts.paths import Places
from contracts.settings.pseudonyms import pseudonyms_of
from contracts.storage.landing_copy import fetch_landing
from contracts.tables import BROWSING_LOGS, REJECTED_LOGS
from contracts.terminal.options import day_option, days_between
from expectations.day_history import day_expectations, save_days
from expectations.days.comparison import Judged
from expectations.failure_message import commonest_reasons
from expectations.gate import run_gate
from expectations.suites import MAX_REFUSED_SHARE
from spark_jobs.ingest.duplicates import find_duplicates, with_duplicate_reason
from spark_jobs.ingest.event_time import check_time_format
from spark_jobs.ingest.formats import format_names
from spark_jobs.ingest.landed_days import LandedDays
from spark_jobs.ingest.landing_files import landing_parts, stop_if_damaged
from spark_jobs.ingest.landing_frame import MAX_LINES
from spark_jobs.ingest.parsing.parsed_lines import BLANK_LINE, DAMAGED_FILE
from spark_jobs.ingest.reason_kinds import AFTER_LANDING_DAY, NOBODYS_LINE
from spark_jobs.ingest.refused_lines import with_raw
from spark_jobs.ingest.shadowed_lines import bring_back, were_ingested_before
from spark_jobs.ingest.suppression_list import FORGOTTEN_USER, read_suppression_list
from spark_jobs.ingest.whole_days import judge_landed
from spark_jobs.lake.lake import Commit, Lake
from spark_jobs.lake.pseudonym_record import must_be_stored_by
from spark_jobs.spark.job_run import spark_job

# Duplicates up to which all of them are sent to every task, at 40 bytes each.
_MAX_BROADCAST = 1_000_000

DAY_OPTIONS = ("--from-day", "--to-day")
_Kinds = dict[tuple[str, ...], int]  # by the kinds of a line's reasons, how many lines


def _accepted_views(judged: DataFrame, found: DataFrame, is_spread: bool) -> DataFrame:
    """The good lines that are no duplicates. If they are spread over many files a day, those of a
    day are brought together, so that each day is one file or a few."""
    good = judged.where("reasons is null").join(found.select("place"), "place", "left_anti")
    good = good.select(BROWSING_LOGS.names)
    return good.hint("rebalance", "event_date") if is_spread else good


def rejected_lines(judged: DataFrame, found: DataFrame, landed: LandedDays) -> DataFrame:
    """The broken lines and the duplicates, whole."""
    files = landed.files(judged.sparkSession)
    bad = judged.where("reasons is not null").select("place", "reasons")
    bad = bad.unionByName(with_duplicate_reason(found, files))
    line = F.expr(f"place % {MAX_LINES}").alias("line")
    bad = bad.join(F.broadcast(files), F.expr(f"place div {MAX_LINES} = number"))
    bad = bad.select("landing_day", "file", line, "reasons")
    whole = with_raw(bad, landed.parts, landed.settings, landed.pseudonyms)
    return whole.select(REJECTED_LOGS.names).hint("rebalance", "landing_day")


def _count_kinds(judged: DataFrame) -> _Kinds:
    """How many lines have which kinds of reasons: of each reason what is before its details."""
    kinds = F.transform("reasons", lambda reason: F.substring_index(reason, " (", 1))
    rows = judged.groupBy(kinds.alias("kinds")).count().collect()
    return {tuple(row["kinds"] or ()): row["count"] for row in rows}


def _line_counts(kinds: _Kinds, num_duplicates: int, some_are_forgotten: bool) -> dict[str, float]:
    """Lines by what became of them; "refused: KIND" counts the lines with that reason.

    `refused` and `refused_share` leave out duplicates, the lines of forgotten users and those of
    nobody: neither a file that is sent twice nor one that still names them is a bad file. Where
    anybody was forgotten a blank line is taken for one that forgetting has emptied.
    """
    groups: Counter[str] = Counter()
    by_kind: Counter[str] = Counter()
    for reasons, count in kinds.items():
        group = _group_of(reasons, some_are_forgotten)
        groups[group] += count
        if group != "forgotten":
            by_kind.update(dict.fromkeys(reasons, count))
    lines_in = sum(kinds.values())
    counts: dict[str, float] = {
        "lines_in": lines_in,
        "accepted": groups["accepted"] - num_duplicates,
        "duplicates": num_duplicates,
        "forgotten": groups["forgotten"],
        "nobody": groups["nobody"],
        "refused": groups["refused"],
        "refused_share": groups["refused"] / max(lines_in, 1),
        "future_share": by_kind[AFTER_LANDING_DAY] / max(lines_in, 1),
    }
    return counts | {f"refused: {kind}": float(n) for kind, n in sorted(by_kind.items())}


def _group_of(reasons: tuple[str, ...], some_are_forgotten: bool) -> str:
    if not reasons:
        return "accepted"
    if FORGOTTEN_USER in reasons or (some_are_forgotten and BLANK_LINE in reasons):
        return "forgotten"
    return "nobody" if NOBODYS_LINE in reasons else "refused"


def _without_damaged_files(judged: DataFrame, landed: LandedDays, places: Places) -> DataFrame:
    """The lines, where a file that cannot be read is one refused line; `BadInput` if the settings
    let such a file stop the run."""
    is_mark = F.expr(f"place % {MAX_LINES} = 0")
    marks = judged.where(is_mark).dropDuplicates(["place"])
    number = F.expr(f"place div {MAX_LINES}")
    rows = marks.join(landed.files(judged.sparkSession), number == F.col("number")).collect()
    causes = {row["file"]: row["reasons"][0].partition(" (")[2][:-1] for row in rows}
    stop_if_damaged(causes, places.landing, landed.settings)
    others = judged.where(~number.isin([row["number"] for row in rows]))
    return others.unionByName(marks.withColumn("place", F.col("place") + 1))


def _earlier_views(lake: Lake, judged: DataFrame, span: str) -> DataFrame:
    """The views that landed outside `span`, of the days that the good ones of `judged` are of."""
    views = lake.read_or_empty(BROWSING_LOGS).where(f"not ({span})")
    if lake.version(BROWSING_LOGS) < 1:  # it is not there, or has only been created
        return views
    days = judged.where("reasons is null").select("event_date").distinct().collect()
    return views.where(F.col("event_date").isin([row["event_date"] for row in days]))


def ingest_days(lake: Lake, places: Places, landed: LandedDays) -> Commit:
    """Judge what `landed`, and write both tables, the views first.

    Nothing is written before both gates have passed. A kill between the two commits leaves
    rejected_logs behind; running again mends it. Safe to repeat.

    Lines are read and judged once, and kept until both tables are written.
    """
    judged = landed.judged_lines(lake.spark).persist()
    kinds, lines = _count_kinds(judged), judged
    if (DAMAGED_FILE,) in kinds:
        lines = _without_damaged_files(judged, landed, places)
        kinds = _count_kinds(lines)
    earlier = _earlier_views(lake, lines, landed.span)
    found = find_duplicates(lines, earlier, landed.num_shares).persist()
    num_duplicates = found.count()
    counts = _line_counts(kinds, num_duplicates, landed.forgotten is not None)
    few = F.broadcast(found) if num_duplicates <= _MAX_BROADCAST else found
    good = _accepted_views(lines, few, landed.is_spread)
    bad = rejected_lines(lines, found, landed)
    judged_days, facts = judge_landed(lake, places, landed, good, found)
    hard = day_expectations(each for each in judged_days if each.bound.is_hard)
    gate = partial(run_gate, places=places, run=landed.run_name, measures=counts)
    views = gate(good, BROWSING_LOGS, cached=landed.is_spread, of_the_run=hard)
    refusals = gate(bad, REJECTED_LOGS)
    _warn_of_days(judged_days)
    may_shadow = were_ingested_before(lake, landed)
    commit = lake.replace(views, landed.span, **landed.provenance)
    lake.replace(refusals, landed.span, **landed.provenance)
    save_days(places, facts)
    if may_shadow:
        bring_back(lake, places, landed, counts)
    found.unpersist()
    judged.unpersist()
    return commit


def main(
    from_day: Annotated[
        date, day_option(DAY_OPTIONS[0], help="The first landing day, YYYY-MM-DD.")
    ],
    to_day: Annotated[date, day_option(DAY_OPTIONS[1], help="The last landing day, YYYY-MM-DD.")],
    allow_missing_days: Annotated[
        bool,
        typer.Option(
            "--allow-missing-days", help="Take a day without a folder as a day without views."
        ),
    ] = False,
) -> None:
    places = Places.from_environment()
    days = days_between(from_day, to_day, DAY_OPTIONS)
    fetch_landing(places, days)
    settings = read_settings(places.landing / "settings.toml", format_names())
    pseudonyms = pseudonyms_of(settings, places)
    parts = landing_parts(places.landing, days, settings, allow_missing_days)
    with spark_job("browsing_logs") as (spark, tell):
        check_time_format(spark, settings)
        lake = Lake(spark, places.lake)
        must_be_stored_by(lake, pseudonyms)
        landed = LandedDays(days, parts, settings, read_suppression_list(places), pseudonyms)
        commit = lake.settle(BROWSING_LOGS, lambda: ingest_days(lake, places, landed))
        measures = lake.measures(BROWSING_LOGS)
        tell(commit, **measures)
        _warn_of_refused(measures)


def _warn_of_days(judged: Iterable[Judged]) -> None:
    for each in judged:
        if not each.is_within:  # and soft: the gate has let it through
            sys.stderr.write(f"warning: landing day {each.day}: {each}\n")


def _warn_of_refused(measures: Mapping[str, float]) -> None:
    """A line on stderr where the gate let a large share of refused lines pass, as they are few."""
    if measures.get("refused_share", 0) > MAX_REFUSED_SHARE:
        sys.stderr.write(
            f"warning: {measures['refused']:,.0f} of {measures['lines_in']:,.0f} lines are refused"
            f"{commonest_reasons(measures)}; they are too few to stop the day: see "
            "`userbert sql 'SELECT * FROM rejected_logs'`\n"
        )
