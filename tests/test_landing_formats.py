"""What each format makes of the lines of a file. No Spark: these are the files' own readers."""

import bz2
import gzip
import json
import lzma
from datetime import date, datetime, time, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from contracts.errors import BadInput
from contracts.landing_settings import LANDING_COLUMNS, LandingSettings
from spark_jobs.ingest.formats import format_names, landing_format
from spark_jobs.ingest.landing_files import landing_parts
from spark_jobs.ingest.parsing import text_files
from spark_jobs.ingest.parsing.packed_files import DamagedFile

DAY = date(2026, 1, 31)
COLUMNS = {"user_id": "user", "event_time": "time", "title": "title"}
LINE = b'{"user": "u1", "time": "t", "title": "a"}\n'


def settings(form, columns=COLUMNS, **more):
    return LandingSettings(format=form, columns=columns, **more)


@pytest.fixture
def lines(tmp_path):
    """What is read of a file: by line, the values of the declared columns or the reasons."""

    def read(content, asked, name="a.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return lines_of(path, asked)

    return read


def lines_of(path, asked):
    form, found, raw = landing_format(asked), {}, {}
    for part in form.split(DAY, path, path.name):
        for batch in form.parse(part):
            columns = [batch.columns[name].to_pylist() for name in asked.columns]
            errors = batch.errors.to_pylist() if batch.errors else [None] * len(columns[0])
            for number, error, *values in zip(
                batch.line_numbers.tolist(), errors, *columns, strict=True
            ):
                assert number not in found
                found[number] = error or tuple(values)
        raw |= dict(form.raw_lines(part))
    assert set(raw) == set(found)
    assert form.count(path) == len(found)
    return dict(sorted(found.items()))


def parquet(tmp_path, **columns):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def test_a_format_is_known_by_its_module_alone():
    assert format_names() == ["csv", "jsonl", "parquet"]
    with pytest.raises(BadInput, match="format is 'orc'; say one of csv, jsonl, parquet"):
        landing_format(settings("orc"))


# Every Arrow type, a value of it, and its text or why it has none.
TYPES = [
    (pa.null(), None, None),
    (pa.bool_(), True, "true"),
    *((kind, 7, "7") for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())),
    *((kind, 7, "7") for kind in (pa.uint8(), pa.uint16(), pa.uint32())),
    (pa.uint64(), 2**64 - 1, "18446744073709551615"),
    *((kind, 123.0, "123") for kind in (pa.float16(), pa.float32(), pa.float64())),
    (pa.float32(), 0.1, "0.1"),
    (pa.float64(), 1e16, "10000000000000000"),
    (pa.float64(), -1.5e-7, "-0.00000015"),
    (pa.float64(), float("nan"), None),
    (pa.float32(), float("inf"), None),
    (pa.float16(), float("-inf"), None),
    (pa.decimal32(5, 2), Decimal("123.00"), "123"),
    (pa.decimal64(9, 2), Decimal("12.50"), "12.5"),
    (pa.decimal128(38, 0), Decimal(10**37), str(10**37)),
    (pa.decimal256(60, 1), Decimal("-0.5"), "-0.5"),
    (pa.string(), "ann", "ann"),
    (pa.large_string(), "ann", "ann"),
    (pa.string_view(), "ann", "ann"),
    (pa.binary(), "Café".encode(), "Café"),
    (pa.large_binary(), b"ann", "ann"),
    (pa.binary_view(), b"ann", "ann"),
    (pa.binary(3), b"ann", "ann"),
    (pa.binary(), b"a\xff", ["no text in title (not UTF-8, byte 2)"]),
    (pa.date32(), date(2026, 1, 31), "2026-01-31"),
    (pa.date64(), date(2026, 1, 31), "2026-01-31"),
    (pa.time32("s"), time(10), "10:00:00"),
    (pa.time64("us"), time(10, 0, 0, 250_000), "10:00:00.25"),
    (pa.timestamp("s"), datetime(2026, 1, 31, 10), "2026-01-31T10:00:00"),
    (pa.timestamp("ns", "UTC"), datetime(2026, 1, 31, 10), "2026-01-31T10:00:00Z"),
    (pa.timestamp("ms", "Asia/Tokyo"), datetime(2026, 1, 31, 10), "2026-01-31T10:00:00Z"),
    (pa.duration("s"), timedelta(1), ["no text in title (of type duration[s])"]),
    (pa.month_day_nano_interval(), (1, 2, 3), None),
    (pa.list_(pa.string()), ["a"], None),
    (pa.struct({"x": pa.int8()}), {"x": 1}, None),
    (pa.map_(pa.string(), pa.int8()), [("a", 1)], None),
    (pa.dictionary(pa.int8(), pa.string()), "ann", "ann"),
    (pa.run_end_encoded(pa.int32(), pa.float64()), 2.0, "2"),
    (pa.uuid(), bytes(15) + b"\x01", "00000000-0000-0000-0000-000000000001"),
]
NO_TEXT = ("month_day_nano_interval", "list", "struct", "map")


@pytest.mark.parametrize(("kind", "value", "text"), TYPES, ids=lambda each: str(each)[:24])
def test_an_arrow_value_is_plain_text_or_refused_with_its_type(kind, value, text):
    from spark_jobs.ingest.parsing.column_texts import json_rows, texts_of

    column = pa.array([value, None], kind)
    texts, problems = texts_of(column)
    if str(kind).startswith(NO_TEXT):
        assert problems[0].startswith(f"of type {kind}")
    elif isinstance(text, list):
        assert f"no text in title ({problems[0]})" == text[0]
    else:
        assert (texts.to_pylist(), problems) == ([text, None], {})
    rows = json_rows(pa.RecordBatch.from_arrays([column], ["title"]))
    assert [json.loads(row).keys() for row in rows] == [{"title"}, {"title"}]
    assert json.loads(rows[1]) == {"title": None}


IN_PARQUET = [kind for kind, _, _ in TYPES if not str(kind).startswith(("month", "run_end"))]


@pytest.mark.parametrize("ours", LANDING_COLUMNS)
def test_every_type_in_every_column_of_a_parquet_file_has_as_many_lines_as_rows(tmp_path, ours):
    """With a row that is refused for another column, whose raw text holds this one, too."""
    names = {ours: f"the {ours}" for ours in LANDING_COLUMNS}
    other = "title" if ours == "user_id" else "user_id"
    nested = (pa.list_view(pa.string_view()), pa.large_list(pa.int8()), pa.list_(pa.int8(), 1))
    for kind in (*IN_PARQUET, *nested):
        value = next((value for known, value, _ in TYPES if known == kind), None)
        columns = {theirs: pa.array(["x", "x", "x"]) for theirs in names.values()}
        columns[names[other]] = pa.array([b"x", b"\xff", b"x"])
        columns[names[ours]] = pa.array([value, None, value], kind)
        pq.write_table(pa.table(columns), tmp_path / "a.parquet")
        found = lines_of(tmp_path / "a.parquet", settings("parquet", names))
        assert f"no text in {other} (not UTF-8, byte 1)" in found[2], kind
        assert list(found) == [1, 2, 3], kind


def test_lists_of_every_kind_are_lists_in_the_text_of_a_refused_row():
    from spark_jobs.ingest.parsing.column_texts import json_rows

    rows = [["a"], None, ["b"], ["c"]]
    for kind in (pa.list_, pa.large_list, pa.list_view, pa.large_list_view):
        batch = pa.record_batch({"x": pa.array(rows, kind(pa.string()))}).slice(1)
        assert [json.loads(row)["x"] for row in json_rows(batch)] == rows[1:], kind
    batch = pa.record_batch({"x": pa.array(rows, pa.list_(pa.string(), 1))}).slice(1)
    assert [json.loads(row)["x"] for row in json_rows(batch)] == rows[1:]


def test_a_row_with_views_of_texts_is_erased(tmp_path):
    path = parquet(
        tmp_path, user=pa.array(["u1", "u2"], pa.string_view()), time=["t"] * 2, title=["a"] * 2
    )
    landing_format(settings("parquet")).erase(path, tmp_path / "b", {1})
    assert lines_of(tmp_path / "b", settings("parquet")) == {1: ("u2", "t", "a")}


LOWEST = -(2**63)  # pandas' NaT


@pytest.mark.parametrize("ours", ["event_time", "title"])
@pytest.mark.parametrize(
    ("kind", "number", "text"),
    [
        (pa.timestamp("us", "UTC"), LOWEST, None),
        (pa.timestamp("ns"), LOWEST, None),
        (pa.time64("us"), -1, ["no text in {} (beyond the 24 hours of a day)"]),
        (pa.time64("ns"), 2**62, ["no text in {} (beyond the 24 hours of a day)"]),
        (pa.duration("s"), 2**62, ["no text in {} (of type duration[s])"]),
    ],
)
def test_what_is_no_time_is_null_or_refused(tmp_path, ours, kind, number, text):
    names = {"user_id": "user", "event_time": "time", "title": "title"}
    columns = {name: pa.array(["x"]) for name in names.values()}
    columns[names[ours]] = pa.array([number]).view(kind)
    (found,) = lines_of(parquet(tmp_path, **columns), settings("parquet")).values()
    if text is None:
        assert found[list(names).index(ours)] is None
    else:
        assert found == [reason.format(ours) for reason in text]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("123", "123"), ("123.0", "123"), ("1.5e3", "1500"), ('"123.0"', "123.0"), ("true", "true"),
        ("NaN", None), ("-Infinity", None), ("1e999", None), ('{"$oid": "507f"}', "507f"),
        ('{"$date": {"$numberLong": "7"}}', "7"), ('" u1\\u00a0\\t"', " u1\u00a0\t"),
        ("[1]", ["no text in title (a list; name the value inside it by its path)"]),
        ('{"a": 1}', ["no text in title (an object; name the value inside it by its path)"]),
        ('"a", "title": "b"', ["two columns title (found user, time, title, title)"]),
    ],
)  # fmt: skip
def test_a_json_value_is_plain_text_or_refused(lines, value, text):
    found = lines(f'{{"user": "u", "time": "t", "title": {value}}}', settings("jsonl"))
    assert found == {1: text if isinstance(text, list) else ("u", "t", text)}


def test_ids_lose_the_white_space_of_any_alphabet_at_their_ends(lines, tmp_path):
    columns = {**COLUMNS, "log_id": "id"}
    user, line_id = "\ufeffu1\u00a0\t", "\u30007\u200b"
    row = {"user": user, "time": "t", "title": " a ", "id": line_id}
    wanted = {1: ("u1", "t", " a ", "7")}
    assert lines(json.dumps(row), settings("jsonl", columns)) == wanted
    text = f"user,time,title,id\n{user},t, a ,{line_id}\n"
    assert lines(text, settings("csv", columns)) == {2: wanted[1]}
    path = parquet(tmp_path, **{name: [value] for name, value in row.items()})
    assert lines_of(path, settings("parquet", columns)) == wanted


def test_an_undeclared_column_is_none_whatever_the_header_holds(lines):
    asked = settings("csv", {**COLUMNS, "host": "site"})
    assert lines(",user,time,title,\n0,u1,t,a,\n1,u1,t,a\n", asked) == {
        2: ("u1", "t", "a", None),
        3: ("u1", "t", "a", None),
    }
    assert lines("user,time,title\nu1,t,a,,\nu1,t,a,x\nu1,t\n", asked) == {
        2: ("u1", "t", "a", None),
        3: ["not CSV (4 values under 3 columns)"],
        4: ["not CSV (2 values under 3 columns)"],
    }


def test_a_declared_column_that_is_there_twice_refuses_the_lines_by_name(lines, tmp_path):
    reason = ["two columns user (found user, user, time, title)"]
    assert lines("user,user,time,title\n1,2,t,a\n", settings("csv")) == {2: reason}
    texts = [pa.array(["x"])] * 4
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_arrays(texts, ["user", "user", "time", "title"]), path)
    assert lines_of(path, settings("parquet")) == {1: reason}
    form = landing_format(settings("parquet"))
    (raw,) = (raw for part in form.split(DAY, path, "a") for _, raw in form.raw_lines(part))
    assert raw == '{"user": "x", "user": "x", "time": "x", "title": "x"}'
    path = tmp_path / "b.parquet"
    pq.write_table(
        pa.Table.from_arrays([*texts, texts[0]], ["x", "x", "user", "time", "title"]), path
    )
    assert lines_of(path, settings("parquet")) == {1: ("x", "x", "x")}


QUOTED = (
    'user,"ti\ntle",time,title\r\n'
    'u1,x,t,"one\r\nu9,y,t,two"\n'
    'u2,x,t,5" disk\n'
    'u3,x,t,"a"b\n'
    '"u4\n",x,t,"""\n,"\n'
    "\n"
    'u5,x,t,"never closed\n'
    "u6,x,t,a\n"
)


def test_a_line_break_in_quotes_is_read_whole_or_every_piece_is_refused(lines):
    assert lines(QUOTED, settings("csv")) == {
        3: ("u1", "t", "one\nu9,y,t,two"),
        5: ("u2", "t", '5" disk'),
        6: ["not CSV (',' expected after '\"')"],
        7: ("u4", "t", '"\n,'),
        10: ["blank line"],
        11: ["not CSV (unexpected end of data)"],
        12: ["not CSV (of the record that begins in line 11)"],
    }


@pytest.mark.parametrize("size", range(16, 90, 7))
def test_a_quoted_line_break_may_lie_on_the_border_of_two_parts(lines, size, monkeypatch):
    """Of pieces that end with a quote only the closing one ends the record."""
    good = QUOTED[: QUOTED.index("u5")]
    whole = lines(good, settings("csv"))
    monkeypatch.setattr(text_files, "PART_BYTES", size)
    assert lines(good, settings("csv")) == whole


def test_an_endless_record_is_refused_and_the_lines_behind_it_are_read(lines, monkeypatch):
    from spark_jobs.ingest.parsing import csv_records

    monkeypatch.setattr(csv_records, "MOST_LINES", 3)
    monkeypatch.setattr("spark_jobs.ingest.formats.csv.MOST_LINES", 3)
    text = 'user,time,title\nu1,t,"a\nb\nc\nd\n"\nu2,t,b\n'
    found = lines(text, settings("csv"))
    assert found.pop(7) == ("u2", "t", "b")
    assert [len(reasons) for reasons in found.values()] == [1] * 5


def test_csv_has_the_delimiter_quote_escape_and_encoding_of_the_settings(lines):
    dialect = {"delimiter": ";", "quote": "'", "escape": "\\", "encoding": "cp1252"}
    text = "user;time;title\nu1;t;'it\\'s; a\ncaf\u00e9'\nu2;t;\u20ac\n"
    wanted = {2: ("u1", "t", "it's; a\ncaf\u00e9"), 4: ("u2", "t", "\u20ac")}
    assert lines(text.encode("cp1252"), settings("csv", csv=dialect)) == wanted
    wide = dialect | {"encoding": "utf-16"}
    assert lines(text.encode("utf-16"), settings("csv", csv=wide)) == wanted
    tabs = {"delimiter": "\t", "quote": ""}
    assert lines('user\ttime\ttitle\nu1\tt\t"a\n', settings("csv", csv=tabs)) == {
        2: ("u1", "t", '"a')
    }
    assert lines(b"user,time,title\nu1,t,\x81\n", settings("csv", csv={"encoding": "cp1252"})) == {
        2: ["not CP1252 (byte 6)"]
    }


@pytest.mark.parametrize("encoding", ["utf16", "U16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_a_long_file_of_any_encoding_is_cut_between_its_characters_or_not_at_all(
    lines, encoding, monkeypatch
):
    monkeypatch.setattr(text_files, "PART_BYTES", 24)
    text = 'user,time,title\nu1,t,"a\n\u0c0a\u2c22"\nu2,t,\u20ac\n'
    asked = settings("csv", csv={"encoding": encoding})
    assert lines(text.encode(encoding), asked) == {
        2: ("u1", "t", "a\n\u0c0a\u2c22"),
        4: ("u2", "t", "\u20ac"),
    }


def test_a_second_byte_of_shift_jis_is_no_delimiter(lines, monkeypatch):
    monkeypatch.setattr(text_files, "PART_BYTES", 24)
    bar = "\u30dd"  # whose second byte is a bar's
    dialect = {"encoding": "shift_jis", "delimiter": "|"}
    text = f'user|time|title\nu1|t|{bar}"\nu2|t|{bar}\n'
    wanted = {2: ("u1", "t", f'{bar}"'), 3: ("u2", "t", bar)}
    assert lines(text.encode("shift_jis"), settings("csv", csv=dialect)) == wanted


def test_utf_16_without_a_byte_order_mark_says_what_to_write(lines):
    content = "user,time,title\nu1,t,a\n".encode("utf-16-le")
    with pytest.raises(DamagedFile, match="let the settings say utf-16-le or utf-16-be"):
        lines(content, settings("csv", csv={"encoding": "utf-16"}))


def test_a_value_may_be_escaped_and_never_quoted(lines):
    dialect = {"quote": "", "escape": "\\"}
    text = 'user,time,title\nu1,t,a\\,"b\nu2,t,c\\\nd\nu3,t,"\n'
    assert lines(text, settings("csv", csv=dialect)) == {
        2: ("u1", "t", 'a,"b'),
        3: ("u2", "t", "c\nd"),
        5: ("u3", "t", '"'),
    }


@pytest.mark.parametrize("only", ['{"user": "u1"}\n', "u1,t,a", "SQLite format 3\0", ","])
def test_the_only_line_of_a_file_is_a_header_or_names_the_file(lines, tmp_path, only):
    """It would be lost: a header is no line."""
    for read in (lines, lambda *_: landing_format(settings("csv")).count(tmp_path / "a.txt")):
        with pytest.raises(DamagedFile, match="its only line names no columns: missing column"):
            read(only, settings("csv"))
    assert lines("user,time,title\n", settings("csv")) == {}
    assert lines("", settings("csv")) == {}


def test_a_message_is_one_line_whatever_the_names_of_columns_and_files_are(tmp_path):
    folder = tmp_path / "a\nb"
    folder.mkdir()
    path = folder / "c\x1b[2J.csv"
    path.write_text("\\\nuser\r")
    with pytest.raises(DamagedFile, match=r"a\\nb/c\\x1b\[2J.csv: .*\(found \\nuser\)$"):
        landing_format(settings("csv", csv={"escape": "\\"})).count(path)


def test_a_carriage_return_and_a_number_that_nobody_can_read_are_named_in_words(lines):
    (_, reason) = lines("user,time,title\nu1,t,a\nu2,t,b\rc\n", settings("csv")).values()
    assert reason == ["not CSV (a carriage return outside of quotes)"]
    for value, why in (("9" * 5000, "a number of more than 4,300"), ("[" * 99_999, "too deep")):
        (reason,) = lines(f'{{"user": {value}', settings("jsonl")).values()
        assert why in reason[0]


def test_lines_may_end_in_a_carriage_return_alone(lines):
    assert lines("user,time,title\ru1,t,a\r\ru2,t,b", settings("csv")) == {
        2: ("u1", "t", "a"),
        3: ["blank line"],
        4: ("u2", "t", "b"),
    }
    assert lines(LINE.replace(b"\n", b"\r") * 2, settings("jsonl")) == {
        1: ("u1", "t", "a"),
        2: ("u1", "t", "a"),
    }


def test_a_first_line_of_any_length_is_a_header(lines):
    long = "x" * 200_000
    assert lines(f"{long},user,time,title\n1,u1,t,a\n", settings("csv")) == {2: ("u1", "t", "a")}
    (reasons,) = lines(f"{long}\nu1,t,a\n", settings("csv")).values()
    assert reasons[0] == f"missing column user for user_id (found {'x' * 57}...)"


PACKINGS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_packed_file_is_known_by_its_bytes_and_a_torn_one_is_named(lines, packing):
    packed = PACKINGS[packing](LINE * 300) + PACKINGS[packing](LINE)
    for name in (f"a.jsonl.{packing}", "a.jsonl", f"a.{packing.upper()}", "a.zip"):
        assert len(lines(packed, settings("jsonl"), name)) == 301
    assert lines(LINE, settings("jsonl"), f"a.jsonl.{packing}") == {1: ("u1", "t", "a")}
    with pytest.raises(DamagedFile, match=r"a\.jsonl"):
        lines(packed[:-9], settings("jsonl"), "a.jsonl")
    broken = bytearray(packed)
    broken[len(broken) // 2] ^= 255
    with pytest.raises(DamagedFile, match=r"a\.jsonl: ."):
        lines(bytes(broken[: len(broken) // 2 + 2]), settings("jsonl"), "a.jsonl")


@pytest.mark.parametrize(
    ("start", "cause"),
    [
        (b"PK\x03\x04", "packed by zip, and not by gz, bz2, xz or zst"),
        (b"\x04\x22\x4d\x18", "packed by lz4"),
        (b"7z\xbc\xaf\x27\x1c", "packed by 7z"),
        (b"PAR1", "holds Parquet, and no text"),
    ],
)
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_file_that_is_no_text_is_named(lines, form, start, cause):
    with pytest.raises(DamagedFile, match=cause):
        lines(start + b"\nxyz\n", settings(form))


def test_a_csv_whose_header_cannot_be_read_is_named(lines):
    with pytest.raises(DamagedFile, match="its first line names no columns"):
        lines('user,"ti\nu1,t,a\n', settings("csv"))


def test_damaged_parquet_is_named(tmp_path):
    path = parquet(tmp_path, user=["u1"] * 99, time=["t"] * 99, title=["a"] * 99)
    whole = path.read_bytes()
    path.write_bytes(whole[:20] + b"\xff" * 20 + whole[40:])
    with pytest.raises(DamagedFile, match=r"a\.parquet"):
        lines_of(path, settings("parquet"))
    for content in (whole[:-3], b"user,time,title\n", b""):
        path.write_bytes(content)
        with pytest.raises(DamagedFile, match="is not Parquet"):
            lines_of(path, settings("parquet"))


def test_a_broken_page_is_a_damaged_file_for_the_audit_too(tmp_path):
    columns = {name: [f"{name}{n}" * 9 for n in range(99)] for name in ("user", "time", "title")}
    path = parquet(tmp_path, **columns, more=["m" * 9] * 99)
    whole = path.read_bytes()
    form = landing_format(settings("parquet"))
    metadata = pq.read_metadata(path).row_group(0)
    for number, is_declared in ((0, True), (3, False)):
        place = metadata.column(number).data_page_offset + 2
        path.write_bytes(whole[:place] + b"\xff" * 40 + whole[place + 40 :])
        if is_declared:
            with pytest.raises(DamagedFile):
                form.count(path)
        else:
            assert form.count(path) == 99


def test_a_name_of_any_bytes_is_text(tmp_path):
    from spark_jobs.ingest.landing_files import landing_file_name

    folder = tmp_path / str(DAY)
    folder.mkdir()
    (folder / "caf\udcff\u00e9.jsonl").write_bytes(LINE)
    (part,) = landing_parts(tmp_path, [DAY], settings("jsonl"), False)
    assert part.file == landing_file_name(part.path, tmp_path) == f"{DAY}/caf\\xff\u00e9.jsonl"
    assert part.path.read_bytes() == LINE


def test_all_damaged_files_are_named_at_once_or_refused(tmp_path):
    folder = tmp_path / str(DAY)
    folder.mkdir()
    for name in ("a.parquet", "b.parquet"):
        (folder / name).write_bytes(b"x")
    with pytest.raises(BadInput, match=r"a\.parquet: is not Parquet.*b\.parquet.*\"refuse\""):
        landing_parts(tmp_path, [DAY], settings("parquet"), False)
    parts = landing_parts(tmp_path, [DAY], settings("parquet", damaged_files="refuse"), False)
    assert [bool(part.damage) for part in parts] == [True, True]


def test_a_cell_that_is_no_utf8_refuses_its_row_alone(tmp_path):
    title = pa.array([b"a", b"\xff"]).cast(pa.string(), safe=False)
    path = parquet(tmp_path, user=["u1", "u2"], time=["t", "t"], title=title)
    assert lines_of(path, settings("parquet")) == {
        1: ("u1", "t", "a"),
        2: ["no text in title (not UTF-8, byte 1)"],
    }


def test_a_name_may_be_a_path_into_values(lines, tmp_path):
    columns = {"user_id": "ctx.user", "event_time": "time", "title": "params.title.text"}
    params = [{"key": "title", "value": {"text": "a"}}, {"key": "x", "value": {"text": "b"}}]
    row = {"ctx": {"user": "u1"}, "time": "t", "params": params}
    wanted = {1: ("u1", "t", "a")}
    assert lines(json.dumps(row), settings("jsonl", columns)) == wanted
    path = parquet(tmp_path, **{name: [value] for name, value in row.items()})
    assert lines_of(path, settings("parquet", columns)) == wanted
    plain = {"ctx.user": "u1", "time": "t", "params": {"title": {"text": 5}}}
    assert lines(json.dumps(plain), settings("jsonl", columns)) == {1: ("u1", "t", "5")}
    lost = {"ctx": {}, "time": "t"}
    assert lines(json.dumps(lost), settings("jsonl", columns)) == {
        1: ["missing column params.title.text for title (found ctx, time)"]
    }


def test_objects_without_a_line_end_between_them_are_lines_of_their_own(lines, tmp_path):
    two = LINE.strip() * 2 + b"\n"
    found = dict.fromkeys((1, 2, 4), ("u1", "t", "a")) | {3: ["blank line"]}
    assert lines(two + b"\n" + LINE, settings("jsonl")) == found
    text = '{"user": "u1", "time": "t", "title": "}{"}\n{"user": "u1"}{\n'
    found = lines(text, settings("jsonl"))
    assert found[1] == ("u1", "t", "}{")
    assert found[2][0].startswith("not JSON (Extra data")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_the_lines_that_stay_keep_their_numbers_when_others_are_erased(tmp_path, encoding):
    path, out = tmp_path / "a.csv", tmp_path / "b.csv"
    path.write_bytes(QUOTED.encode(encoding))
    asked = settings("csv", csv={"encoding": encoding})
    before = lines_of(path, asked)
    landing_format(asked).erase(path, out, {3, 12})
    after = lines_of(out, asked)
    blank = {number: ["blank line"] for number in (3, 4)}
    assert after == before | blank | {12: after[12]}
    assert len(out.read_bytes().decode(encoding).split("\n")) == len(QUOTED.split("\n"))


def test_an_object_among_others_of_its_line_is_erased(tmp_path):
    path, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    path.write_bytes(gzip.compress(LINE.strip() + LINE.replace(b"u1", b"u2") + LINE))
    landing_format(settings("jsonl")).erase(path, out, {1, 3})
    assert gzip.decompress(out.read_bytes()) == b"{}" + LINE.replace(b"u1", b"u2") + b"\n"
    assert lines_of(out, settings("jsonl")) == {
        1: ["blank line"],
        2: ("u2", "t", "a"),
        3: ["blank line"],
    }


def test_an_optional_column_is_one_entry_of_the_contract():
    from contracts.tables import BROWSING_LOGS

    nullable = [column.name for column in BROWSING_LOGS.columns if column.nullable]
    assert list(LANDING_COLUMNS) == ["user_id", "event_time", "title", *nullable, "log_id"]
