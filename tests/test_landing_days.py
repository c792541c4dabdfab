"""What an ingest of whole days does, beyond what a line alone says: tables, gates and reruns."""

import gzip
import json
from collections import Counter
from datetime import date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.errors import BadInput
from contracts.tables import BROWSING_LOGS, REJECTED_LOGS
from erasure.landing_files import erase_lines
from spark_jobs.ingest import shadowed_lines
from spark_jobs.ingest.landed_days import LandedDays
from spark_jobs.ingest.landing_files import landing_parts
from spark_jobs.ingest.suppression_list import add_users, read_suppression_list
from spark_jobs.lake.lake import Lake
from spark_jobs.tables.browsing_logs import ingest_days

DAY, NEXT, LAST = date(2026, 1, 31), date(2026, 2, 1), date(2026, 2, 2)
COLUMNS = {"user_id": "user", "event_time": "time", "title": "title"}


def line(user, time="2026-01-31T10:00:00Z", title="A page"):
    return json.dumps({"user": user, "time": time, "title": title})


def people(count, **more):
    return [line(f"u{n}", **more) for n in range(count)]


@pytest.fixture
def land(places):
    def write(day, name, lines):
        path = places.landing / str(day) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{each}\n" for each in lines))
        return path

    return write


@pytest.fixture
def run(lake, places):
    def ingest(*days, **more):
        from contracts.landing_settings import LandingSettings

        settings = LandingSettings(**{"format": "jsonl", "columns": COLUMNS} | more)
        parts = landing_parts(places.landing, days, settings, True)
        landed = LandedDays(list(days), parts, settings, read_suppression_list(places))
        lake.settle(BROWSING_LOGS, lambda: ingest_days(lake, places, landed))
        return settings, lake.measures(BROWSING_LOGS)

    return ingest


@pytest.fixture
def views(lake):
    def rows(*columns):
        found = lake.read(BROWSING_LOGS).select(*columns).orderBy(*columns).collect()
        return [tuple(row) for row in found]

    return rows


@pytest.fixture
def refusals(lake):
    def rows():
        found = lake.read(REJECTED_LOGS).orderBy("landing_day", "file", "line").collect()
        return [(str(row["landing_day"]), row["line"], *row["reasons"]) for row in found]

    return rows


def test_a_landing_day_ends_when_its_day_ends_in_the_settings_time_zone(land, run, views, refusals):
    """16:00 in Los Angeles is the next UTC day; 23:59 is the landing day's last minute."""
    times = [f"2026-01-31 {hour:02}:59:00" for hour in range(24)]
    land(DAY, "a.jsonl", [line("u1", time) for time in [*times, "2026-02-01 00:00:00"]])
    _, counts = run(DAY, time_zone="America/Los_Angeles")
    assert Counter(day for (day,) in views("event_date")) == {DAY: 16, NEXT: 8}
    assert counts["accepted"] == 24
    assert refusals() == [(str(DAY), 25, "event_time after its landing day (2026-02-01 00:00:00)")]


def test_forgetting_leaves_lines_that_no_gate_counts_as_refused(land, run, places, refusals):
    land(
        DAY, "a.jsonl", [*people(10), line("gone"), *[line("gone", title=str(n)) for n in range(9)]]
    )
    settings, _ = run(DAY)
    add_users(places, ["gone"], [])
    assert erase_lines(places.landing, settings, read_suppression_list(places)) == (10, 1)
    _, counts = run(DAY)
    assert (counts["lines_in"], counts["accepted"], counts["forgotten"]) == (20, 10, 10)
    assert counts["refused_share"] == 0
    assert {reason for *_, reason in refusals()} == {"blank line"}


def test_lines_of_nobody_are_refused_and_stop_no_day(land, run, refusals):
    nobody = "00000000-0000-0000-0000-000000000000"
    land(DAY, "a.jsonl", [line("Anonymous "), line(nobody), line("u1"), line("null")])
    _, counts = run(DAY, nobody=["anonymous", nobody, "null"])
    assert (counts["accepted"], counts["nobody"], counts["refused"]) == (1, 3, 0)
    assert [reason for *_, reason in refusals()] == [
        "user_id of nobody (Anonymous)",
        f"user_id of nobody ({nobody})",
        "user_id of nobody (null)",
    ]


def test_a_damaged_file_stops_the_day_or_is_one_refused_line(land, run, views, refusals, places):
    torn = gzip.compress("\n".join(people(2_000)).encode())[:-8]
    land(DAY, "a.jsonl.gz", []).write_bytes(torn)
    land(DAY, "b.jsonl", people(20, title="b"))
    with pytest.raises(BadInput, match=r"a\.jsonl\.gz: Compressed file ended before") as raised:
        run(DAY)
    assert len(str(raised.value).splitlines()) == 1
    land(DAY, "c.jsonl", []).write_bytes(b"PK\x03\x04")
    _, counts = run(DAY, damaged_files="refuse")
    assert (counts["lines_in"], counts["accepted"], counts["refused"]) == (22, 20, 2)
    assert {title for (title,) in views("title")} == {"b"}
    cause = "Compressed file ended before the end-of-stream marker was reached"
    assert refusals() == [
        (str(DAY), 1, f"damaged file ({cause})"),
        (str(DAY), 1, "damaged file (packed by zip, and not by gz, bz2, xz or zst)"),
    ]


def test_far_times_refuse_their_rows_alone(land, run, views, refusals, places):
    land(DAY, "_", [])
    far = [1_769_853_600_123_000, 2**62, -(2**62), *[1_769_853_600_000] * 60]
    time = pa.array(far, pa.int64()).cast(pa.timestamp("ms", "UTC"))
    columns = {"user": [f"u{n}" for n in range(63)], "time": time, "title": ["a"] * 63}
    pq.write_table(pa.table(columns), places.landing / str(DAY) / "a.parquet", version="2.6")
    run(DAY, format="parquet")
    assert views("event_time") == [(datetime(2026, 1, 31, 10),)] * 60
    assert [(number, reason.split(" (")[0]) for _, number, reason in refusals()] == [
        (1, "event_time after its landing day"),
        (2, "event_time after its landing day"),
        (3, "event_time before 1990"),
    ]
    assert refusals()[0][2].endswith("(58054-06-05T16:02:03Z)")


def test_a_view_that_its_first_day_loses_is_brought_back_from_the_second(
    land, run, views, refusals, lake
):
    """u0 is in all three days' files, twice in the second one's; u1 in the first two's."""
    first = land(DAY, "a.jsonl", [line("u0"), line("u1"), line("u9")])
    land(NEXT, "b.jsonl", [line("u0"), line("u1"), line("u0"), "{half", *people(9, title="b")])
    land(LAST, "c.jsonl", [line("u0"), *people(9, title="c")])
    for day in (DAY, NEXT, LAST):
        run(day)
    assert [(day, number) for day, number, _ in refusals()] == [
        *((str(NEXT), number) for number in (1, 2, 3, 4)), (str(LAST), 1),
    ]  # fmt: skip
    first.write_text(line("u9") + "\n")
    run(DAY)
    assert views("user_id", "landing_day")[:2] == [("u0", NEXT), ("u0", NEXT)]
    assert [row for row in views("title", "user_id", "landing_day") if row[0] == "A page"] == [
        ("A page", "u0", NEXT),
        ("A page", "u1", NEXT),
        ("A page", "u9", DAY),
    ]
    mended = [
        (str(NEXT), 3, f"duplicate (of {NEXT}/b.jsonl, line 1)"),
        (str(NEXT), 4, "not JSON (Expecting property name enclosed in double quotes at column 2)"),
        (str(LAST), 1, f"duplicate (of {NEXT}/b.jsonl, line 1)"),
    ]
    assert refusals() == mended
    before = views(*BROWSING_LOGS.names)
    first.unlink()
    run(DAY)
    run(DAY)
    assert views(*BROWSING_LOGS.names) == [row for row in before if row[-1] != DAY]
    assert refusals() == mended


def test_a_kill_while_views_are_brought_back_is_mended_by_the_next_run(
    land, run, views, refusals, lake, monkeypatch
):
    """u0 is in the files of both days. Each time the day that has it loses it, and its run ends in
    another place: between the two tables, before the views are added, before the reasons change."""
    replace = Lake.replace

    def end_at(*arguments):
        raise KeyboardInterrupt

    def end_at_refused_lines(lake, passed, *more):
        return end_at() if passed.table is REJECTED_LOGS else replace(lake, passed, *more)

    land(DAY, "a.jsonl", [line("u0"), *people(9, title="a")])
    land(NEXT, "b.jsonl", [line("u0"), *people(9, title="b")])
    run(DAY)
    run(NEXT)
    holder, other = DAY, NEXT
    for target, name, kill in (
        (Lake, "replace", end_at_refused_lines),
        (shadowed_lines, "_append", end_at),
        (shadowed_lines, "_mend_reasons", end_at),
    ):
        file = f"{'a' if holder == DAY else 'b'}.jsonl"
        without = people(9, title=file[0])
        land(holder, file, without)
        with monkeypatch.context() as patched:
            patched.setattr(target, name, kill)
            with pytest.raises(KeyboardInterrupt):
                run(holder)
        run(holder)
        shown = [row for row in views("title", "user_id", "landing_day") if row[0] == "A page"]
        assert shown == [("A page", "u0", other)]
        assert refusals() == []
        land(holder, file, [line("u0"), *without])
        run(holder)
        assert [row[0] for row in refusals()] == [str(holder)]
        holder, other = other, holder


def test_a_new_optional_column_changes_no_views_id(spark):
    from pyspark.sql import functions as F

    facts = F.xxhash64("user_id", "event_time", "title", "host")
    with_null = F.xxhash64("user_id", "event_time", "title", "host", F.lit(None).cast("string"))
    row = spark.sql("select 'u' user_id, timestamp'2026-01-31' event_time, 'a' title, 'h' host")
    assert row.where(facts == with_null).count() == 1
