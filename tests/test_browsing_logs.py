import gzip
import json
from datetime import date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.errors import BadInput
from contracts.landing import LandingSettings
from contracts.tables import BROWSING_LOGS, REJECTED_LOGS
from spark_jobs import landing_lines
from spark_jobs.browsing_logs import days_of, ingest, judged_alone, main
from spark_jobs.event_time import check_time_format

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
def run(spark, lake, places):
    def ingest_days(first=DAY, last=None, settings=JSONL):
        days = days_of(first, last or first)
        parts = landing_lines.landing_parts(places.landing, days, settings, True)
        lines = judged_alone(landing_lines.landing_lines(spark, parts, settings), settings)
        return lake.settle(BROWSING_LOGS, lambda: ingest(lake, places, lines, days))

    return ingest_days


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
    good = [view(time=f"2017-01-01T10:00:{n:02}") for n in range(40)]
    bad = [
        "{half",
        "[1]",
        "",
        {"user_id": "u1", "title": "x"},
        view(user=" ", title="\u2003\t"),
        view(time="2017-13-01T00:00:00"),
        view(time="1989-12-31T23:59:59"),
        view(time="2017-01-02T00:00:00"),
    ]
    land(DAY, "a.jsonl", jsonl(*good, *bad))
    run()
    assert len(views("log_id")) == 40
    assert refusals() == [
        (41, "not JSON (Expecting property name enclosed in double quotes at column 2)"),
        (42, "not JSON (an object with a key a column was expected)"),
        (43, "blank line"),
        (44, "missing column event_time (found user_id, title)"),
        (45, "blank user_id", "blank title"),
        (46, "unreadable event_time (2017-13-01T00:00:00)"),
        (47, "event_time before 1990 (1989-12-31T23:59:59)"),
        (48, "event_time after its landing day (2017-01-02T00:00:00)"),
    ]
    told = lake.measures(BROWSING_LOGS)
    assert (told["lines_in"], told["accepted"], told["refused"]) == (48, 40, 8)
    assert told["refused: blank user_id"] == 1
    assert lake.read(REJECTED_LOGS).where("line = 41").collect()[0]["raw"] == "{half"


def test_the_first_of_several_equal_views_stays(land, run, views, refusals):
    land(DAY, "b.jsonl", jsonl(view(), view()))
    land(DAY, "a.jsonl", jsonl(view(user="u2"), view()))
    run()
    assert views("user_id") == ["u1", "u2"]
    of = "duplicate (of 2017-01-01/a.jsonl, line 2)"
    assert refusals() == [(1, of), (2, of)]


def test_a_view_that_stands_from_another_day_is_refused_when_it_comes_again(
    land, run, views, refusals
):
    land(DAY, "a.jsonl", jsonl(view()))
    land(NEXT, "a.jsonl", jsonl(view(), view(user="u2")))
    run(DAY)
    run(NEXT)
    assert views("user_id", "landing_day") == [("u1", DAY), ("u2", NEXT)]
    assert refusals() == [(1, "duplicate (of a view that landed on 2017-01-01)")]


def test_running_a_day_again_replaces_its_rows_alone(land, run, views):
    land(DAY, "a.jsonl", jsonl(view(), view(user="u2")))
    land(NEXT, "a.jsonl", jsonl(view(user="u3")))  # a view of the day before, a day late
    run(DAY)
    run(NEXT)
    before = views(*BROWSING_LOGS.names)
    run(DAY)
    assert views(*BROWSING_LOGS.names) == before
    land(DAY, "a.jsonl", jsonl(view(user="u4")))
    run(DAY)
    assert views("user_id") == ["u3", "u4"]


def test_days_one_by_one_and_all_at_once_make_the_same_tables(land, run, views, refusals):
    land(DAY, "a.jsonl", jsonl(view(), view(user="u2")))
    land(NEXT, "a.jsonl", jsonl(view(), view(user="u3", time="2017-01-02T09:00:00")))
    run(DAY)
    run(NEXT)
    nightly = views(*BROWSING_LOGS.names)
    run(DAY, NEXT)
    assert views(*BROWSING_LOGS.names) == nightly
    assert refusals() == [(1, "duplicate (of 2017-01-01/a.jsonl, line 1)")]


def test_an_empty_day_is_a_day_without_views(land, run, views):
    land(DAY, "_SUCCESS", "")
    land(DAY, ".a.jsonl.crc", "x")
    run()
    assert views("user_id") == []


def test_a_day_without_a_folder_is_an_error_that_names_the_day(places, land):
    land(DAY, "a.jsonl", jsonl(view()))
    with pytest.raises(BadInput, match=r"no folder for 2017-01-02.*--allow-missing-days"):
        landing_lines.landing_parts(places.landing, [DAY, NEXT], JSONL, False)


def test_a_files_parts_have_the_line_numbers_of_the_whole(places, land, spark, monkeypatch):
    lines = [view(user=f"u{n}", title="x" * (n % 7)) for n in range(50)]
    land(DAY, "a.jsonl", jsonl(*lines).removesuffix("\n"))
    monkeypatch.setattr(landing_lines, "PART", 300)
    parts = landing_lines.landing_parts(places.landing, [DAY], JSONL, False)
    assert len(parts) > 5
    rows = landing_lines.landing_lines(spark, parts, JSONL).orderBy("line").collect()
    assert [(r["line"], r["user_id"], json.loads(r["raw"])) for r in rows] == [
        (n + 1, f"u{n}", line) for n, line in enumerate(lines)
    ]


def test_csv_columns_are_found_by_each_files_header(land, run, views, refusals):
    settings = LandingSettings(format="csv", columns=OURS)
    land(DAY, "a.csv", 'title,user_id,event_time\n"a ""b"", c",u1,2017-01-01T10:00:00Z\n')
    good = "".join(f"u1,x,2017-01-01T10:{n:02}:00Z,h\n" for n in range(30))
    land(DAY, "b.csv", f'user_id,title,event_time,host\n{good}u1,"a\nb",2017,h\n')
    run(settings=settings)
    assert views("title", "host")[-1] == ("x", "h")
    assert views("title", "host")[0] == ('a "b", c', None)
    assert refusals() == [
        (32, "not CSV (unexpected end of data; a value cannot hold a line break)"),
        (33, "not CSV (3 values under 4 columns)"),
    ]


def test_parquet_rows_are_kept_as_json(places, run, views, refusals, land):
    land(DAY, "_", "")
    at = [datetime(2017, 1, 1, 10, 0, n % 60) for n in range(31)]
    columns = {"user_id": list(range(31)), "event_time": at, "title": ["x"] * 30 + [" "]}
    pq.write_table(pa.table(columns), places.landing / str(DAY) / "a.parquet", row_group_size=10)
    run(settings=LandingSettings(format="parquet", columns=OURS))
    assert views("event_time")[:2] == at[:2]
    assert refusals() == [(31, "blank title")]


def test_a_file_that_is_not_parquet_is_named(places, land):
    land(DAY, "a.parquet", "x")
    with pytest.raises(BadInput, match=r"a\.parquet is not Parquet"):
        landing_lines.landing_parts(
            places.landing, [DAY], LandingSettings(format="parquet", columns=OURS), False
        )


def test_bytes_that_are_no_utf8_and_half_characters_lose_no_line(land, run, views, refusals):
    good = [view(time=f"2017-01-01T11:00:{n:02}") for n in range(9)]
    half = '{"user_id": "u1", "event_time": "2017-01-01T10:00:00", "title": "a\\ud800"}'
    content = jsonl(*good, half).encode() + b'{"user_id": "\xff"}\n'
    land(DAY, "a.jsonl.gz", gzip.compress(content))
    run()
    assert views("title")[-1] == "a?"
    assert refusals() == [(11, "not UTF-8 (byte 14)")]


def test_a_lines_own_id_tells_duplicates(land, run, views, refusals):
    settings = LandingSettings(format="jsonl", columns={**OURS, "log_id": "id"})
    good = [view(id=n, title="x") for n in range(20)]
    land(DAY, "a.jsonl", jsonl(*good, view(id=3, title="other"), view(id=None)))
    run(settings=settings)
    assert len(views("log_id")) == 20
    assert refusals() == [
        (21, "duplicate (of 2017-01-01/a.jsonl, line 4)"),
        (22, "blank log_id"),
    ]


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
    ],
)
def test_times_are_read_as_the_settings_say(spark, zone, form, text, utc):
    from pyspark.sql import functions as F

    from spark_jobs.event_time import event_time

    settings = LandingSettings(format="jsonl", columns=OURS, time_zone=zone, time_format=form)
    frame = spark.createDataFrame([(landing_lines.as_text(text),)], "text string")
    found = frame.select(event_time(F.col("text"), settings)).first()[0]
    assert found == (utc and datetime.fromisoformat(f"2017-01-01T{utc}"))


def test_a_time_pattern_that_spark_does_not_know_is_refused_before_reading(spark):
    settings = LandingSettings(format="jsonl", columns=OURS, time_format="YYYY-mm-dd")
    with pytest.raises(BadInput, match="time_format 'YYYY-mm-dd' is neither"):
        check_time_format(spark, settings)


def test_the_command_ingests_the_days_it_is_given(places, land, views, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    land("", "settings.toml", 'format="jsonl"\n[columns]\nuser_id="u"\nevent_time="t"\ntitle="p"\n')
    land(DAY, "a.jsonl", jsonl({"u": 7, "t": "2017-01-01T10:00:00", "p": "A"}))
    main(DAY, DAY, False)
    assert views("user_id", "title") == [("7", "A")]
    assert "lines in: 1" in capsys.readouterr().out
