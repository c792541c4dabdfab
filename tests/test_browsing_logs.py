import gzip
import json
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.errors import BadInput, GateFailed
from contracts.landing_settings import LandingSettings
from contracts.tables import BROWSING_LOGS, REJECTED_LOGS
from contracts.terminal.options import days_between
from spark_jobs.ingest.duplicates import find_duplicates
from spark_jobs.ingest.event_time import check_time_format
from spark_jobs.ingest.landed_days import LandedDays
from spark_jobs.ingest.landing_files import landing_parts
from spark_jobs.ingest.landing_frame import MAX_LINES, landing_frame
from spark_jobs.ingest.parsing import text_files
from spark_jobs.ingest.parsing.column_texts import text_of
from spark_jobs.ingest.refused_lines import with_raw
from spark_jobs.tables.browsing_logs import (
    ingest_days,
    main,
    rejected_lines,
)

DAY = date(2017, 1, 1)
NEXT = date(2017, 1, 2)
OURS = {"user_id": "user_id", "event_time": "event_time", "title": "title", "host": "host"}
JSONL = LandingSettings(format="jsonl", columns=OURS)


def view(user="u1", time="2017-01-01T10:00:00", title="A page", host="h", **more):
    return {"user_id": user, "event_time": time, "title": title, "host": host, **more}


def jsonl(*views):
    return "".join(f"{v if isinstance(v, str) else json.dumps(v)}\n" for v in views)


@pytest.fixture
def land(places):
    def write(day, name, content):
        path = places.landing / str(day) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return write


@pytest.fixture
def landed(places):
    def read(*days, settings=JSONL):
        parts = landing_parts(places.landing, days, settings, True)
        return LandedDays(list(days), parts, settings)

    return read


@pytest.fixture
def judged(spark, landed):
    def judge(*days, settings=JSONL):
        """The good lines by place, and (line, reason, ...) of the others."""
        here = landed(*days, settings=settings)
        lines = here.judged_lines(spark)
        found = find_duplicates(lines, spark.createDataFrame([], BROWSING_LOGS.ddl), 2)
        good = lines.where("reasons is null").join(found, "place", "left_anti")
        good = good.orderBy("place").collect()
        bad = rejected_lines(lines, found, here).orderBy("landing_day", "file", "line")
        return good, [(row["line"], *row["reasons"]) for row in bad.collect()]

    return judge


@pytest.fixture
def run(lake, places, landed):
    def ingest_span(first, last=None, settings=JSONL):
        days = days_between(first, last or first)
        here = landed(*days, settings=settings)
        return lake.settle(BROWSING_LOGS, lambda: ingest_days(lake, places, here))

    return ingest_span


@pytest.fixture
def views(lake):
    def rows(*columns):
        found = lake.read(BROWSING_LOGS).select(*columns).orderBy(*columns).collect()
        return [row[0] if len(columns) == 1 else tuple(row) for row in found]

    return rows


@pytest.fixture
def refusals(lake):
    def rows():
        found = lake.read(REJECTED_LOGS).orderBy("landing_day", "file", "line").collect()
        return [(row["line"], *row["reasons"]) for row in found]

    return rows


def test_every_line_ends_in_one_of_the_two_tables_with_all_its_reasons(
    land, run, views, refusals, lake
):
    good = [view(time=f"2017-01-01T10:00:{n:02}") for n in range(60)]
    bad = [
        "{half",
        "[1]",
        "",
        {"user_id": "u1", "title": "x"},
        view(user=" ", title="\u2003\t"),
        view(time="2017-13-01T00:00:00"),
        view(time="1989-12-31T23:59:59"),
        view(time="2017-01-02T00:00:00"),
        view(user="u1\0"),
    ]
    land(DAY, "a.jsonl", jsonl(*good, *bad))
    run(DAY)
    assert len(views("log_id")) == 60
    assert refusals() == [
        (61, "not JSON (Expecting property name enclosed in double quotes at column 2)"),
        (62, "not JSON (an object with a key a column was expected)"),
        (63, "blank line"),
        (64, "missing column event_time (found user_id, title)"),
        (65, "blank user_id", "blank title"),
        (66, "unreadable event_time (2017-13-01T00:00:00)"),
        (67, "event_time before 1990 (1989-12-31T23:59:59)"),
        (68, "event_time after its landing day (2017-01-02T00:00:00)"),
        (69, "NUL character in user_id"),
    ]
    counts = lake.measures(BROWSING_LOGS)
    assert (counts["lines_in"], counts["accepted"], counts["refused"]) == (69, 60, 9)
    assert counts["refused: blank user_id"] == 1
    assert lake.read(REJECTED_LOGS).where("line = 61").collect()[0]["raw"] == "{half"


def test_the_first_of_several_equal_views_stays(land, judged):
    land(DAY, "b.jsonl", jsonl(view(), view()))
    land(DAY, "a.jsonl", jsonl(view(user="u2"), view()))
    good, bad = judged(DAY)
    assert [(row["user_id"], row["place"]) for row in good] == [("u2", 1), ("u1", 2)]
    of = "duplicate (of 2017-01-01/a.jsonl, line 2)"
    assert bad == [(1, of), (2, of)]


def test_broken_lines_are_nobodys_duplicates(land, judged):
    land(DAY, "a.jsonl", jsonl("x", "x", view(title=""), view(title="")))
    assert [reason.split(" (")[0] for _, reason in judged(DAY)[1]] == [
        "not JSON",
        "not JSON",
        "blank title",
        "blank title",
    ]


def test_days_one_by_one_again_and_all_at_once_make_the_same_tables(land, run, views, refusals):
    land(DAY, "a.jsonl", jsonl(view(), view(user="u2")))
    late = view(user="u3", time="2017-01-01T09:00:00")
    land(NEXT, "a.jsonl", jsonl(view(), late, view(user="u4", time="2017-01-02T09:00:00")))
    run(DAY)
    run(NEXT)
    nightly = views(*BROWSING_LOGS.names)
    assert views("user_id", "landing_day") == [
        ("u1", DAY),
        ("u2", DAY),
        ("u3", NEXT),
        ("u4", NEXT),
    ]
    assert refusals() == [(1, "duplicate (of a view that landed on 2017-01-01)")]
    run(DAY)
    assert views(*BROWSING_LOGS.names) == nightly
    run(DAY, NEXT)
    assert views(*BROWSING_LOGS.names) == nightly
    assert refusals() == [(1, "duplicate (of 2017-01-01/a.jsonl, line 1)")]


def test_half_a_days_times_in_the_future_are_stopped_at_the_gate(land, run, lake):
    late = [view(f"u{n}", time="2017-02-01T00:00:00") for n in range(11)]
    land(DAY, "a.jsonl", jsonl(*[view(f"u{n}") for n in range(11)], *late))
    with pytest.raises(GateFailed, match="browsing_logs of 2017-01-01 failed"):
        run(DAY)
    assert not lake.exists(BROWSING_LOGS)
    assert not lake.exists(REJECTED_LOGS)


def test_hidden_files_are_no_views(places, land):
    land(DAY, "_SUCCESS", "")
    land(DAY, ".a.jsonl.crc", "x")
    land(DAY, "_temporary/a.jsonl", "x")
    land(DAY, "part/a.jsonl", "x")
    parts = landing_parts(places.landing, [DAY], JSONL, False)
    assert [part.file for part in parts] == ["2017-01-01/part/a.jsonl"]


def test_a_day_without_a_folder_is_an_error_that_names_the_day(places, land):
    land(DAY, "a.jsonl", jsonl(view()))
    with pytest.raises(BadInput, match=r"no folder for 2017-01-02.*--allow-missing-days"):
        landing_parts(places.landing, [DAY, NEXT], JSONL, False)


def test_a_files_parts_have_the_line_numbers_of_the_whole(places, land, spark, monkeypatch):
    lines = [view(user=f"u{n}", title="x" * (n % 7)) for n in range(50)]
    land(DAY, "a.jsonl", jsonl(*lines).removesuffix("\n"))
    monkeypatch.setattr(text_files, "PART_BYTES", 300)
    parts = landing_parts(places.landing, [DAY], JSONL, False)
    assert len(parts) > 5
    rows = landing_frame(spark, parts, JSONL).orderBy("place").collect()
    assert [(row["place"], row["user_id"], row["title"]) for row in rows] == [
        (n + 1, f"u{n}", line["title"]) for n, line in enumerate(lines)
    ]
    wanted = [(parts[0].file, line, ["why"]) for line in (1, 7, 33, 50)]
    refused = spark.createDataFrame(wanted, "file string, line bigint, reasons array<string>")
    raw = {row["line"]: json.loads(row["raw"]) for row in with_raw(refused, parts, JSONL).collect()}
    assert raw == {line: lines[line - 1] for _, line, _ in wanted}


def test_csv_columns_are_found_by_each_files_header(land, judged):
    land(DAY, "a.csv", 'title,user_id,event_time\n"a ""b"", c",u1,2017-01-01T10:00:00Z\n')
    land(DAY, "b.csv", 'user_id,title,event_time,host\nu1,x,2017-01-01 10:00,h\nu1,"a\nb",2017,h\n')
    land(DAY, "c.csv", "user,title,event_time\nu1,x,2017-01-01 10:00\n")
    good, bad = judged(DAY, settings=LandingSettings(format="csv", columns=OURS))
    assert [(row["title"], row["host"]) for row in good] == [('a "b", c', None), ("x", "h")]
    assert bad == [
        (3, "unreadable event_time (2017)"),
        (2, "missing column user_id (found user, title, event_time)"),
    ]


def test_parquet_rows_are_kept_as_json(places, land, judged, run, lake):
    land(DAY, "_", "")
    at = [datetime(2017, 1, 1, 10, 0, n) for n in range(31)]
    columns = {"user_id": list(range(31)), "event_time": at, "title": ["x"] * 30 + [" "]}
    pq.write_table(pa.table(columns), places.landing / str(DAY) / "a.parquet", row_group_size=10)
    settings = LandingSettings(format="parquet", columns=OURS)
    good, bad = judged(DAY, settings=settings)
    assert [row["event_time"] for row in good] == at[:30]
    assert bad == [(31, "blank title")]
    run(DAY, settings=settings)
    (raw,) = (row["raw"] for row in lake.read(REJECTED_LOGS).collect())
    assert json.loads(raw) == {"user_id": 30, "event_time": at[30].isoformat(), "title": " "}


def test_titles_are_folded_and_blanks_are_seen_in_any_script(land, judged):
    titles = ["A Page", "a  page", " A PAGE", "A\tpage", "É~", "\u0130x", "!", "A\u00a0Page"]
    users = ["\u3000\u00a0", "", " ", None, "\u3000x", "é", "\x7f", "~"]
    land(
        DAY, "a.jsonl", jsonl(*(view(user, title=t) for user, t in zip(users, titles, strict=True)))
    )
    land(NEXT, "a.jsonl", jsonl(*(view(f"u{n}", title=t) for n, t in enumerate(titles))))
    good, bad = judged(DAY, NEXT)
    assert bad == [(n, "blank user_id") for n in (1, 2, 3, 4, 7)]
    assert [row["user_id"] for row in good[:3]] == ["x", "é", "~"]
    ids = [row["title_id"] for row in good[3:]]
    assert ids[0] == ids[1] == ids[2] == ids[3] == ids[7]
    assert len(set(ids)) == 4


def test_files_hold_times_as_numbers_and_no_dictionary_of_ids(land, run, lake):
    land(DAY, "a.jsonl", jsonl(view(), view(title="B")))
    run(DAY)
    (file,) = Path(lake.path(BROWSING_LOGS)).rglob("event_date=*/*.parquet")
    columns = pq.ParquetFile(file).metadata.row_group(0).to_dict()["columns"]
    by_name = {column["path_in_schema"]: column for column in columns}
    assert by_name["event_time"]["physical_type"] == "INT64"
    dictionaries = {name for name, c in by_name.items() if c["has_dictionary_page"]}
    assert "user_id" in dictionaries
    assert not dictionaries & {"event_time", "log_id"}


def test_a_parquet_column_of_any_type_says_what_its_text_would(places, land, judged):
    land(DAY, "_", "")
    noon = datetime(2017, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    tables = [
        {"user_id": pa.array(["7"]).dictionary_encode(), "title": pa.array([" A\u00a0b"])},
        {"user_id": pa.array([7]), "title": pa.array(["A b"])},
        {"user_id": pa.array([7.0]), "title": pa.array(["a b"])},
        {"user_id": pa.array([True]), "title": pa.array([5])},
        {"user_id": pa.array(["x"]), "title": pa.array(["a"]), "event_time": pa.array(["2017"])},
        {"user_id": pa.array(["x"])},
    ]
    for n, table in enumerate(tables):
        columns = {"event_time": pa.array([noon], pa.timestamp("ms", "Africa/Cairo"))} | table
        pq.write_table(pa.table(columns), places.landing / str(DAY) / f"{n}.parquet")
    good, bad = judged(DAY, settings=LandingSettings(format="parquet", columns=OURS))
    assert [(row["user_id"], row["place"] // MAX_LINES) for row in good] == [
        ("7", 0), ("7", 1), ("7", 2), ("true", 3),
    ]  # fmt: skip
    assert {row["event_time"] for row in good} == {datetime(2017, 1, 1, 10)}
    assert len({row["title_id"] for row in good[:3]}) == 1
    assert bad == [
        (1, "unreadable event_time (2017)"),
        (1, "missing column title (found event_time, user_id)"),
    ]


def test_a_file_that_is_not_parquet_is_named(places, land):
    land(DAY, "a.parquet", "x")
    with pytest.raises(BadInput, match=r"a\.parquet: is not Parquet"):
        landing_parts(places.landing, [DAY], LandingSettings(format="parquet", columns=OURS), False)


def test_bytes_that_are_no_utf8_and_half_characters_lose_no_line(land, judged):
    half = '{"user_id": "u1", "event_time": "2017-01-01T10:00:00", "title": "a\\ud800"}'
    land(DAY, "a.jsonl.gz", gzip.compress(half.encode() + b'\n{"user_id": "\xff"}\n'))
    good, bad = judged(DAY)
    assert [row["title"] for row in good] == ["a?"]
    assert bad == [(2, "not UTF-8 (byte 14)")]


def test_a_lines_own_id_tells_duplicates(land, judged):
    settings = LandingSettings(format="jsonl", columns={**OURS, "log_id": "id"})
    views = [view(id=3, title="x"), view(id=4, title="x"), view(id=3, title="y"), view(id=None)]
    land(DAY, "a.jsonl", jsonl(*views))
    good, bad = judged(DAY, settings=settings)
    assert [row["place"] for row in good] == [1, 2]
    assert bad == [(3, "duplicate (of 2017-01-01/a.jsonl, line 1)"), (4, "blank log_id")]


@pytest.mark.parametrize(
    ("zone", "form", "text", "utc"),
    [
        ("UTC", "iso", "2017-01-01T10:00:00.123456789Z", "10:00:00.123456"),
        ("UTC", "iso", "2017-01-01 10:00", "10:00:00"),
        ("Asia/Tokyo", "iso", "2017-01-01T10:00:00", "01:00:00"),
        ("Asia/Tokyo", "iso", "2017-01-01T10:00:00+00:00", "10:00:00"),
        ("Asia/Tokyo", "iso", "2017-01-01T10:00:00+0100", "09:00:00"),
        ("UTC", "iso", "10:00", None),
        ("UTC", "iso", "2017", None),
        ("Asia/Tokyo", "epoch_s", 1483264800.25, "10:00:00.250000"),
        ("UTC", "epoch_ms", "1483264800250", "10:00:00.250000"),
        ("UTC", "epoch_s", "9e99", None),
        ("Asia/Tokyo", "dd/MM/yyyy H:mm", "01/01/2017 9:30", "00:30:00"),
        ("Asia/Tokyo", "dd/MM/yyyy H:mm X", "01/01/2017 9:30 Z", "09:30:00"),
        ("UTC", "epoch_us", "1483264800250000", "10:00:00.250000"),
        ("Asia/Tokyo", "iso", " 2017-01-01T10:00Z ", "10:00:00"),
        ("Asia/Tokyo", "iso", "2017-01-01 10:00 +01:00", "09:00:00"),
        ("Europe/Paris", "yyyy-MM-dd HH:mm:ss[ Z]", "2017-01-01 10:00:00", "09:00:00"),
        ("Europe/Paris", "yyyy-MM-dd HH:mm:ss[ Z]", "2017-01-01 10:00:00 +0000", "10:00:00"),
        ("Asia/Tokyo", "yyyy-MM-dd['T'][' ']HH:mm[:ss[XXX]]", "2017-01-01T10:00", "01:00:00"),
        ("Asia/Tokyo", "yyyy-MM-dd['T'][' ']HH:mm[:ss[XXX]]", "2017-01-01 10:00:07Z", "10:00:07"),
    ],
)
def test_times_are_read_as_the_settings_say(spark, zone, form, text, utc):
    from pyspark.sql import functions as F

    from spark_jobs.ingest.event_time import event_time

    settings = LandingSettings(format="jsonl", columns=OURS, time_zone=zone, time_format=form)
    frame = spark.createDataFrame([(text_of(text),)], "text string")
    found = frame.select(event_time(F.col("text"), settings)).first()[0]
    assert found == (utc and datetime.fromisoformat(f"2017-01-01T{utc}"))


def test_a_time_pattern_that_spark_does_not_know_is_refused_before_reading(spark):
    settings = LandingSettings(format="jsonl", columns=OURS, time_format="YYYY-mm-dd")
    with pytest.raises(BadInput, match="time_format 'YYYY-mm-dd' is neither"):
        check_time_format(spark, settings)


def test_the_command_ingests_the_days_it_is_given(places, land, views, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    land("", "settings.toml", 'format="jsonl"\n[columns]\nuser_id="u"\nevent_time="t"\ntitle="p"\n')
    land(DAY, "a.jsonl", jsonl({"u": 7, "t": "2017-01-01T10:00:00", "p": "A"}) + "{half\n")
    main(DAY, DAY, False)
    assert views("user_id", "title") == [("7", "A")]
    printed = capsys.readouterr()
    assert "lines in: 2" in printed.out
    assert "warning: 1 of 2 lines are refused, 1 refused: not JSON; they are too few" in printed.err
