"""A look at log files without Spark: what would be refused, and settings that are guessed."""

import gzip
import json
import re
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from contracts.landing_settings import LandingSettings, read_settings
from spark_jobs.ingest.event_time import event_time
from spark_jobs.ingest.first_look.column_guess import GUESSED_PATTERNS
from spark_jobs.ingest.first_look.line_check import check_lines
from spark_jobs.ingest.landing_files import landing_parts
from spark_jobs.ingest.landing_frame import MAX_LINES, landing_frame
from spark_jobs.ingest.line_reasons import judged_alone
from spark_jobs.ingest.parsing.time_texts import can_read_pattern, instant_of
from userbert.cli import main

DAY = date(2026, 1, 31)
ZONE = "America/New_York"
COLUMNS = {"user_id": "u", "event_time": "t", "title": "p.title", "log_id": "id"}
GOOD = {"u": "u1", "t": "2026-01-31T10:00:00Z", "p": {"title": "Red shoes"}, "id": "1"}
LINES = [
    GOOD,
    GOOD | {"u": " \u200b"},
    GOOD | {"u": "Anonymous\t"},
    GOOD | {"p": {"title": " \u00a0\x85"}},
    GOOD | {"p": {"title": ["a"]}},
    GOOD | {"p": {}},
    GOOD | {"t": "2026-02-30T10:00Z", "id": ""},
    GOOD | {"t": "2026-02-01T04:59:59Z"},  # still 31 January in New York
    GOOD | {"t": "2026-02-01T05:00:00.000001Z"},
    GOOD | {"t": "1989-12-31 23:59:59Z"},
    GOOD | {"t": 20260131},
    GOOD | {"t": None, "u": None},
    "not json", "", '{"u": "half',
]  # fmt: skip
TIMES = {
    "iso": ["2026-01-31 10:00", " 2026-01-31T10:00:00.1234567+0530 ", "2026-01-31T24:00", "2026",
            "2026-03-08 02:30:00", "2026-11-01 01:30", "2026-01-31T10:00-18:30", "2026-1-31 10:00"],
    "epoch_s": ["1767225600", "1767225600.25", "1.7672256e9", "x", "NaN", " 17 ", "-1"],
    "epoch_ms": ["1767225600123", "1767225600123.4567"],
    "dd/MM/yyyy HH:mm:ss": ["31/01/2026 10:00:00", "1/1/2026 10:00:00", "31/02/2026 10:00:00"],
    "M/d/yyyy h:mm:ss a": ["1/31/2026 12:00:00 AM", "01/31/2026 9:05:07 pm", "1/31/2026 13:0:0 PM"],
    "yyyy-MM-dd HH:mm:ss[.SSS][ Z]": ["2026-01-31 10:00:00", "2026-01-31 10:00:00.25 +0100"],
    "dd/MMM/yyyy:HH:mm:ss Z": ["31/Jan/2026:10:00:00 -0500", "31/Foo/2026:10:00:00 -0500"],
    "yyyy-MM-dd'T'HH:mm:ssXXX": ["2026-01-31T10:00:00Z", "2026-01-31T10:00:00+01:00"],
    "yyyyMMdd": ["20260131", "2026013"],
}  # fmt: skip


def rules(time_format="iso", **others):
    return LandingSettings(
        format="jsonl", time_zone=ZONE, time_format=time_format, columns=COLUMNS, **others
    )


def test_python_reads_the_instants_that_spark_reads(spark):
    rows = [(text,) for texts in TIMES.values() for text in texts]
    texts = spark.createDataFrame(rows, "text string")
    columns = [
        F.unix_micros(event_time(F.col("text"), rules(name))).alias(str(n))
        for n, name in enumerate(TIMES)
    ]
    found = {row["text"]: row for row in texts.select("text", *columns).collect()}
    for number, (name, own) in enumerate(TIMES.items()):
        for text in own:
            assert micros(instant_of(text, name, ZONE)) == found[text][str(number)], (name, text)


def test_every_pattern_that_is_guessed_is_one_that_spark_knows(spark):
    """A time that Spark writes by each of them, and reads, is read to the same instant."""
    moment = F.lit("2026-11-25 09:05:07").cast("timestamp")
    columns = [F.date_format(moment, name).alias(name) for name in GUESSED_PATTERNS]
    (texts,) = spark.range(1).select(*columns).collect()
    read = [event_time(F.lit(texts[name]), rules(name)) for name in GUESSED_PATTERNS]
    (found,) = spark.range(1).select(*map(F.unix_micros, read)).collect()
    assert list(found) == [micros(instant_of(texts[n], n, ZONE)) for n in GUESSED_PATTERNS]
    assert None not in list(found)


def micros(instant):
    return instant and (instant - datetime(1970, 1, 1, tzinfo=UTC)) // datetime.resolution


def test_a_pattern_that_spark_alone_reads_is_known_as_such():
    assert not can_read_pattern("yyyy-MM-dd VV")
    assert not can_read_pattern("HH:mm")
    assert not can_read_pattern("yyyy-MM-dd yyyy")
    assert all(can_read_pattern(name) for name in TIMES)


def test_each_line_gets_the_reasons_that_the_ingest_gives(spark, tmp_path):
    path = tmp_path / str(DAY) / "a.jsonl"
    path.parent.mkdir()
    path.write_text(
        "\n".join(each if isinstance(each, str) else json.dumps(each) for each in LINES)
    )
    settings = rules(nobody=["anonymous"])
    frame = landing_frame(spark, landing_parts(tmp_path, [DAY], settings, False), settings)
    judged = judged_alone(frame, settings).select("place", "reasons").collect()
    expected = {row["place"] % MAX_LINES: tuple(row["reasons"] or ()) for row in judged}
    found = {line.number: line.reasons for line in check_lines(path, settings, DAY)}
    assert found == expected
    assert sum(map(bool, found.values())) == 13


def test_the_first_lines_are_shown_as_the_ingest_reads_them(tmp_path, capsys):
    (tmp_path / "settings.toml").write_text(
        'format = "csv"\n[columns]\nuser_id = "who"\nevent_time = "at"\ntitle = "what"\n'
    )
    path = tmp_path / "2026-01-31/a.csv"
    path.parent.mkdir()
    rows = [f"u{n},2026-0{1 + n % 2}-01 10:00,Title {n}" for n in range(40)]
    path.write_bytes(gzip.compress("\n".join(["who,at,what", *rows, "one,two"]).encode()))
    assert main(["landing", "check", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["lines_read"], found["refused"], len(found["lines"])) == (41, 21, 10)
    assert found["lines"][0] == {
        "line": 2, "user_id": "u0", "event_time": "2026-01-01 10:00", "title": "Title 0",
        "host": None, "log_id": None, "time": "2026-01-01T10:00:00.000000Z", "reasons": [],
    }  # fmt: skip
    assert found["kinds"]["event_time after its landing day"]["lines"] == 20
    assert found["kinds"]["not CSV"] == {
        "lines": 1, "first_line": 42, "reason": "not CSV (2 values under 3 columns)"
    }  # fmt: skip
    assert main(["landing", "check", str(path), "--day", "2026-02-28", "--limit", "11"]) == 0
    shown = capsys.readouterr().out
    assert "the first lines (--limit) of" in shown
    assert "10 would be accepted and 0 (0.0%) refused" in shown


CSV_ROWS = [[str(n % 7), f"{1 + n % 28:02d}.01.2026 10:{n % 60:02d}", f"Café Nr {n}", "a.example"]
            for n in range(60)]  # fmt: skip


def write_semicolons(path):
    head = "Visitor ID;When;Page Title;Site"
    path.write_text("\n".join([head, *map(";".join, CSV_ROWS)]), encoding="cp1252")
    return {"format": "csv", "time_format": "dd.MM.yyyy HH:mm", "encoding": "cp1252",
            "delimiter": ";", "columns": ["Visitor ID", "When", "Page Title", "Site"]}  # fmt: skip


def write_segment(path):
    rows = [{"messageId": f"m{n}", "anonymousId": f"u{n % 7}",
             "timestamp": f"2026-01-31T10:{n}:00Z", "context": {"page": {"title": "x"}},
             "properties": {"title": f"Title {n}"}}
            for n in range(10, 60)]  # fmt: skip
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    return {"format": "jsonl", "time_format": "iso",
            "columns": ["anonymousId", "timestamp", "properties.title", "messageId"]}  # fmt: skip


def write_epochs(path):
    lines = [f'u{n % 7}\t{1767225600000 + n}\t"Title {n}' for n in range(50)]
    path.write_text("\n".join(["user\tts\tquery", *lines]))
    return {"format": "csv", "time_format": "epoch_ms", "delimiter": "\t", "quote": "",
            "columns": ["user", "ts", "query"]}  # fmt: skip


def write_parquet(path):
    times = pa.array(
        [datetime(2026, 1, 31, 10, n % 60) for n in range(90)], pa.timestamp("us", "UTC")
    )
    table = {"user_pseudo_id": [f"u{n}" for n in range(90)], "event_timestamp": times,
             "page": [{"title": f"T {n}"} for n in range(90)]}  # fmt: skip
    pq.write_table(pa.table(table), path)
    return {"format": "parquet", "time_format": "iso",
            "columns": ["user_pseudo_id", "event_timestamp", "page.title"]}  # fmt: skip


def write_headless(path):
    lines = [f"u{n % 9}\t2026-01-31T10:{n}:00\tRed shoes {n}\t{n % 2}" for n in range(10, 60)]
    path.write_text("\n".join(lines))
    names = ["column_1", "column_2", "column_3"]
    return {"format": "csv", "time_format": "iso", "delimiter": "\t", "columns": names,
            "header": (*names, "column_4")}  # fmt: skip


def write_odd_names(path):
    rows = [f"{n % 9:03},31.01.2026 10:{n},Shoe no {n % 5},shop.example" for n in range(10, 60)]
    path.write_text("\n".join(["Kunden-Nr.,Zeitpunkt (lokal),Artikel Bezeichnung,Laden", *rows]))
    return {"format": "csv", "time_format": "dd.MM.yyyy HH:mm",
            "columns": ["Kunden-Nr.", "Zeitpunkt (lokal)", "Artikel Bezeichnung"]}  # fmt: skip


def write_nameless(path):
    rows = [{"a": {"id": 17}, "who": {"id": f"x{n % 8}"}, "s": n % 2, "p": "https://a.example/b c",
             "z": 1767225600 + n, "t": f"Red shoe {n}"} for n in range(50)]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, rows)))
    return {"format": "jsonl", "time_format": "epoch_s", "columns": ["who.id", "z", "t"]}


def write_parted_ids(path):
    rows = [{"user": {"id": f"x{n}", "name": "Ann Lee"}, "ts": 1767225600123 + n,
             "page": {"name": "Tea pots"}} for n in range(50)]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, rows)))
    columns = ["user.id", "ts", "page.name"]
    return {"format": "jsonl", "time_format": "epoch_ms", "columns": columns}


LOGS = [write_semicolons, write_segment, write_epochs, write_parquet, write_headless,
        write_odd_names, write_nameless, write_parted_ids]  # fmt: skip


@pytest.mark.parametrize("write", LOGS)
def test_settings_are_guessed_that_refuse_no_line(write, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(tmp_path))
    expected = write(tmp_path / "export")
    assert main(["init", str(tmp_path / "export")]) == 0
    printed = capsys.readouterr().out
    settings = read_settings(tmp_path / "landing/settings.toml")
    assert (settings.format, settings.time_format) == (expected["format"], expected["time_format"])
    assert list(settings.columns.values()) == expected["columns"]
    for name in ("delimiter", "quote", "encoding", "header"):
        if name in expected:
            assert getattr(settings.csv, name) == expected[name]
    assert all(name in printed for name in expected["columns"])
    lines = list(check_lines(tmp_path / "export", settings, None))
    assert lines
    assert not [line for line in lines if line.reasons]


@pytest.mark.parametrize("write", LOGS)
def test_lines_of_several_days_go_into_the_folder_of_each(write, tmp_path, monkeypatch, capsys):
    """The same lines as before, in the order of the file, and read by the same settings."""
    monkeypatch.setenv("USERBERT_DATA", str(tmp_path))
    source = tmp_path / "export"
    write(source)
    assert main(["init", str(source), "--time-zone", "Asia/Tokyo"]) == 0
    settings = read_settings(tmp_path / "landing/settings.toml")
    assert main(["landing", "split", str(source)]) == 0
    folders = sorted(each for each in (tmp_path / "landing").iterdir() if each.is_dir())
    days = f"--first-day {folders[0].name} --last-day {folders[-1].name}"
    one_day = f"All lines are of {folders[0].name}"
    assert (days if len(folders) > 1 else one_day) in capsys.readouterr().out
    seen = []
    for folder in folders:
        lines = list(check_lines(folder / "export", settings, date.fromisoformat(folder.name)))
        days = {line.time.astimezone(ZoneInfo("Asia/Tokyo")).date() for line in lines}
        assert days == {date.fromisoformat(folder.name)}
        assert not [line for line in lines if line.reasons]
        seen += [tuple(line.values.values()) for line in lines]
    whole = [tuple(line.values.values()) for line in check_lines(source, settings, None)]
    assert sorted(seen) == sorted(whole)
    assert main(["landing", "split", str(source)]) == 2
    assert "is there already" in capsys.readouterr().err


def test_a_line_without_a_time_goes_with_the_line_before(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(tmp_path))
    times = ["x", "2026-01-30 23:00", "y", "2026-01-31T10:00:00", "z"]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["", "user,time,title", *(f'u,{t},"a\nb"' for t in times)]))
    assert main(["init", str(path), "--event-time", "time"]) == 2  # most of its times are none
    (tmp_path / "landing").mkdir()
    text = 'format = "csv"\n[columns]\nuser_id = "user"\nevent_time = "time"\ntitle = "title"\n'
    (tmp_path / "landing/settings.toml").write_text(text)
    assert main(["landing", "split", str(path)]) == 0
    parts = {p.parent.name: p.read_text() for p in (tmp_path / "landing").glob("*/a.csv")}
    assert [len(re.findall("^u,", parts[day], re.M)) for day in sorted(parts)] == [3, 2]
    assert all("user,time,title\nu," in text for text in parts.values())
    path.write_text("user,time,title\nu,x,a")
    assert main(["landing", "split", str(path)]) == 2
    assert "has no line with a time" in capsys.readouterr().err


def test_days_that_could_be_months_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(tmp_path))
    path = tmp_path / "a.csv"
    path.write_text("user,time,title\n" + "u,03/04/2026 10:00:00,a\n" * 5)
    assert main(["init", str(path), "--time-zone", "Europe/Paris"]) == 0
    assert "MM/dd/yyyy HH:mm:ss would read other days" in capsys.readouterr().out
    settings = read_settings(tmp_path / "landing/settings.toml")
    assert (settings.time_zone, settings.time_format) == ("Europe/Paris", "dd/MM/yyyy HH:mm:ss")
    assert main(["init", str(path)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["init", str(path), "--force", "--title", "time", "--event-time", "title"]) == 2
    assert "no known time format reads the column title" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        ("just a line", [], "no delimiter (commas, semicolons, tabs, bars)"),
        ("", [], "has no lines to look at"),
        ('[\n{"a": 1},\n{"b": 2}]', [], "write an object a line"),
        ("who,time,title\na,2026-01-31 10:00,b", [], "no column looks like user_id"),
        ("user,time,title\na,2026-01-31 10:00,b", ["--host", "h"], "the file has no column h"),
        ("user,time,title\na,2026-01-31 10:00,b", ["--time-zone", "Mars"], "say an IANA name"),
    ],
)
def test_files_that_nothing_can_be_guessed_of_say_why(
    text, words, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("USERBERT_DATA", str(tmp_path))
    (tmp_path / "file").write_text(text)
    assert main(["init", str(tmp_path / "file"), *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "landing/settings.toml").exists()


def test_what_cannot_be_checked_is_bad_input(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(tmp_path))
    (tmp_path / "a.jsonl").write_text("{}")
    assert main(["landing", "check", str(tmp_path / "none")]) == 2
    assert "is no file" in capsys.readouterr().err
    assert main(["landing", "check", str(tmp_path / "a.jsonl")]) == 2
    assert "settings.toml is missing" in capsys.readouterr().err
    (tmp_path / "settings.toml").write_text(
        'format = "jsonl"\ntime_format = "yyyy-MM-dd VV"\n[columns]\nuser_id = "u"\n'
        'event_time = "t"\ntitle = "p"\n'
    )
    assert main(["landing", "check", str(tmp_path / "a.jsonl")]) == 2
    assert "are read by Spark alone" in capsys.readouterr().err
