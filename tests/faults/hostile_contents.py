"""The contents of more than 100 hostile landing files, by kind; `hostile_files` tries them."""

import bz2
import gzip
import io
import lzma
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

TIME = "2025-12-31T10:00:00Z"
GOOD_JSON = f'{{"user": "u1", "time": "{TIME}", "title": "a"}}'
HEADER = "user,time,title\n"
GOOD_CSV = f"u1,{TIME},a\n"
PACKINGS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.ZstdCompressor().compress,
}
MIB = 1 << 20


@dataclass(frozen=True)
class HostileFile:
    """One file of a landing day of its own."""

    kind: str
    content: bytes
    format: str
    name: str = "a.txt"
    csv: Mapping[str, str] = field(default_factory=dict)


def with_title(value: str) -> str:
    """A good JSON line but for its title, as JSON has it."""
    return GOOD_JSON.replace('"a"', value)


def json_contents() -> Iterator[tuple[str, str | bytes]]:
    line = GOOD_JSON
    yield "empty file", ""
    yield "blank lines", "\n\r\n \n\t\n"
    yield "byte order mark before each of two files", f"\ufeff{line}\n\ufeff{line}\n"
    yield "UTF-16", f"{line}\n".encode("utf-16")
    yield "UTF-32 without a mark", f"{line}\n".encode("utf-32-le")
    yield "carriage returns alone", f"{line}\r{line}\r"
    yield "mixed line ends", f"{line}\r\n{line}\n{line}\r{line}"
    yield "a list of objects", f"[{line},\n{line}]"
    yield "an object over several lines", line.replace(",", ",\n")
    yield "objects side by side", line * 50
    yield "objects with commas between them", f"{line},{line}"
    yield "half an object", line[:-10]
    yield "a comment", f"// made by x\n{line}"
    yield "single quotes", line.replace('"', "'")
    yield "a comma at the end", f"{line[:-1]},}}"
    yield "a key twice", f'{line[:-1]}, "title": "b"}}'
    yield "an undeclared key twice", f'{line[:-1]}, "x": 1, "x": 2}}'
    yield "keys in capitals", line.upper()
    yield "an escaped key", line.replace('"user"', '"\\u0075ser"')
    yield "an empty object, null, a number, a text", '{}\nnull\n17\n"u1"\n'
    yield "a title of 1 MB", with_title(f'"{"x" * MIB}"')
    yield "1 MB of blanks", with_title(f'"{" " * MIB}"')
    yield "a line of 1 MB that is no JSON", "x" * MIB
    yield "lists in lists, deep", with_title("[" * 100_000 + "]" * 100_000)
    yield "objects in objects, deep", with_title('{"a":' * 20_000 + "1" + "}" * 20_000)
    yield "deep values in another key", f'{line[:-1]}, "x": {"[" * 99_999}'
    yield "a number of 5,000 digits", with_title("9" * 5_000)
    yield "a number beyond all floats", with_title("1e400000000")
    yield "NaN, Infinity", f"{with_title('NaN')}\n{with_title('-Infinity')}"
    yield (
        "NUL, raw and escaped",
        f"{with_title(chr(34) + chr(0) + chr(34))}\n{with_title(chr(34) + 'u0000' + chr(34))}",
    )
    yield "a user with NUL", line.replace("u1", "u\\u0000")
    yield "every control character", "\n".join(with_title(f'"\\u{n:04x}"') for n in range(32))
    yield "raw control characters", "\n".join(with_title(f'"{chr(n)}"') for n in (1, 8, 9, 12, 27))
    yield "line ends of Unicode", with_title('"a\u2028b\u2029c\x85d"')
    yield "half a character, escaped", with_title('"\\ud800 \\udc00"')
    yield "bytes that are no UTF-8", line.encode().replace(b'"a"', b'"\xff\xfe"')
    yield "overlong and half UTF-8", line.encode().replace(b'"a"', b'"\xc0\x80\xed\xa0\x80"')
    yield "Latin-1", line.replace("a", "\u00e9").encode("latin-1")
    yield (
        "right to left, zero width, combined",
        with_title('"\u202e\u200b\u0301\u0345e\u0301\ufeff"'),
    )
    yield "a Turkish i and a sharp s", with_title('"\u0130\u0131 STRASSE \u1e9e"')
    yield "emoji of several characters", with_title('"\U0001f468\u200d\U0001f469\u200d\U0001f467"')
    yield "markup and formulas", with_title('"[/b]<script>=cmd|x!A1:smile:"')
    yield "SQL", with_title('"\'; DROP TABLE titles; --"')
    yield "braces in a text", with_title('"}{"') * 2
    yield "MongoDB's wrappers", with_title('{"$oid": {"$oid": "507f"}}')
    yield "values of other types", "\n".join(map(with_title, ("true", "[]", "{}", "1.50", "null")))
    yield (
        "users of other types",
        "\n".join(
            line.replace('"u1"', value)
            for value in ("1", "1.0", "true", "null", '""', '" "', "[1]")
        ),
    )
    yield "times that are none", "\n".join(
        line.replace(TIME, time)
        for time in ("", "now", "2026", "2026-02-30T10:00:00Z", "0000-00-00T00:00:00", "1e999",
                     "99999-01-01T00:00:00Z", "2026-01-01T25:00:00Z", "2026-01-01T10:00:00+99:00",
                     "-9223372036854775808", "2026-01-01T10:00:60Z", f"{TIME}\\u0000")
    )  # fmt: skip
    yield "no line end at the end", f"{line}\n{line}"
    yield "random bytes", bytes((n * 7919 + 13) % 256 for n in range(40_000))
    yield "300 blank lines", "\n" * 300
    yield "an HTML page", "<!DOCTYPE html>\n<html><body>504 Gateway Time-out</body></html>\n"
    yield "an error of a cloud store", '{"Error": {"Code": "AccessDenied"}}\n'


def csv_contents() -> Iterator[tuple[str, str | bytes, dict[str, str]]]:
    header, line = HEADER, GOOD_CSV
    for kind, text in {
        "empty file": "",
        "header alone": header,
        "header without a line end": header.strip(),
        "a view where the header should be": line,
        "a header in capitals": header.upper() + line,
        "header names that differ by case": f"User,{header}U,{line}",
        "header names with blanks": header.replace(",", " , ") + line,
        "a column twice": f"user,{header}U,{line}",
        "a column without a name": f",{header}0,{line}",
        "the header once more": (header + line) * 2,
        "byte order marks": f"\ufeff{header}{line}\ufeff{line}",
        "byte order mark before a quoted header": f'\ufeff"user","time","title"\n{line}',
        "semicolons": (header + line).replace(",", ";"),
        "sep=": f"sep=,\n{header}{line}",
        "a comment first": f"# by x\n{header}{line}",
        "commas at the end": f"{header.strip()},,\n{line.strip()},,\n",
        "too few, too many": f"{header}u1\nu1,{TIME}\n{line.strip()},x\n,,\n,\n",
        "a line break in quotes": f'{header}u1,{TIME},"a\nb"\n{line}',
        "CR LF in quotes": f'{header}u1,{TIME},"a\r\nu9,{TIME},b"\r\n{line}',
        "doubled quotes": f'{header}u1,{TIME},"a""b"\nu2,{TIME},""""\n',
        "a quote inside of a value": f'{header}u1,{TIME},a"b\nu2,{TIME},"a"b\n{line}',
        "a quote that is never closed": f'{header}u1,{TIME},"a\n{line}{line}',
        "a header that is never closed": f'"user,time,title\n{line}',
        "a quote alone": '"',
        "escapes that are not declared": f'{header}u1,{TIME},"a\\"b"\nu2,{TIME},a\\,b\n{line}',
        "carriage returns alone": (header + line * 2).replace("\n", "\r"),
        "mixed line ends": f"{header}{line.strip()}\r\n{line.strip()}\r{line}",
        "NUL": f"{header}u1,{TIME},a\0b\nu\0,{TIME},b\n\0\n",
        "Ctrl-Z at the end": f"{header}{line}\x1a",
        "line ends of Unicode": f"{header}u1,{TIME},a\u2028b\x0cc\x85d\n",
        "a value of 1 MB": f"{header}u1,{TIME},{'x' * MIB}\n",
        "a quoted value of 9,999 lines": f'{header}u1,{TIME},"{"x" * 9}{chr(10) * 9_998}"\n{line}',
        "a quoted value of 10,100 lines": f'{header}u1,{TIME},"{chr(10) * 10_100}"\n{line}',
        "a header of 200,000 characters": f"{'x' * 200_000},{header}0,{line}",
        "20,000 columns": f"{header.strip()}{',x' * 20_000}\n{line.strip()}{',y' * 20_000}\n",
        "commas alone": ",,,\n,,,\n",
        "formulas": f"{header}=1+1,{TIME},@SUM(A1)\n",
    }.items():
        yield kind, text, {}
    yield "Latin-1 in UTF-8", f"{header}u1,{TIME},\u00e9\n{line}".encode("latin-1"), {}
    yield "Parquet's mark", b"PAR1" + bytes(50), {}
    yield "SQLite", b"SQLite format 3\0" + bytes(99), {}
    for packed, mark in {"zip": "PK\3\4", "lz4": "\4\x22\x4d\x18", "7z": "7z\xbc\xaf\x27\x1c",
                         "an empty zip": "PK\5\6", "pdf": "%PDF-1.4\n"}.items():  # fmt: skip
        yield f"packed by {packed}", mark.encode("latin-1") + bytes(range(128, 200)), {}
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "shift_jis", "utf-8"):
        text = f"{header}u1,{TIME},a\nu2,{TIME},b\n".encode(encoding)
        yield f"in {encoding}, declared", text, {"encoding": encoding}
        yield f"in {encoding}, declared UTF-16", text, {"encoding": "utf-16"}
    yield (
        "UTF-16 with half a character",
        f"{header}{line}".encode("utf-16") + b"\0",
        {"encoding": "utf-16"},
    )
    yield "escapes", f'{header}u1,{TIME},"a\\"b"\nu2,{TIME},a\\\nb\n', {"escape": "\\"}
    yield "no quotes", f'{header}u1,{TIME},"a\n', {"quote": ""}
    yield "no quotes, escapes", f'{header}u1,{TIME},a\\,"\n', {"quote": "", "escape": "\\"}
    for packing, pack in PACKINGS.items():
        whole, more = pack(f"{header}{line * 200}".encode()), pack(line.encode())
        yield f"{packing}: two archives in one", whole + more, {}
        yield f"{packing}: torn", whole[:-7], {}
        yield f"{packing}: torn in the second", whole + more[:-3], {}
        yield f"{packing}: first bytes alone", whole[:6], {}
        yield f"{packing}: a byte flipped", whole[:30] + bytes([whole[30] ^ 255]) + whole[31:], {}
        yield f"{packing}: of nothing", pack(b""), {}
        yield f"{packing}: garbage behind it", whole + b"garbage!", {}
        yield f"{packing}: packed twice", pack(whole), {}
    yield "zeros that unpack to 20 MB", gzip.compress(header.encode() + bytes(20 * MIB)), {}


def parquet_contents() -> Iterator[tuple[str, bytes]]:
    plain = {"user": ["u1"] * 5, "time": [TIME] * 5, "title": ["a", "b", "c", "d", "e"]}
    whole = parquet_bytes(plain)
    yield "no rows", parquet_bytes({name: pa.array([], pa.string()) for name in plain})
    yield "empty file", b""
    yield "its mark alone", b"PAR1"
    yield "text", b"user,time,title\n"
    yield "an encrypted footer", whole[:-4] + b"PARE"
    for name, at in {"footer's size": -6, "footer": -60, "a page": 30, "first mark": 1}.items():
        yield f"a byte flipped in {name}", whole[:at] + bytes([whole[at] ^ 255]) + whole[at:][1:]
    for share in (0.1, 0.5, 0.9, 0.99):
        yield f"cut at {share:.0%}", whole[: int(len(whole) * share)]
    yield "a block of zeros", whole[:40] + bytes(60) + whole[100:]
    yield "a column that is missing", parquet_bytes({"user": ["u1"], "time": [TIME]})
    yield "columns by other names", parquet_bytes({name.upper(): v for name, v in plain.items()})
    doubled = pa.Table.from_arrays([pa.array(["x"])] * 4, ["user", "user", "time", "title"])
    yield "a column twice", parquet_bytes(doubled)
    yield "500 columns more", parquet_bytes(plain | {f"x{n}": [n] * 5 for n in range(500)})
    yield "a row a group", parquet_bytes(plain, row_group_size=1)
    yield "a title of 1 MB", parquet_bytes(plain | {"title": ["x" * MIB] * 5})
    lowest = pa.array([-(2**63), 2**63 - 1, 0, None, 1])
    not_utf_8 = pa.array([b"a", b"\xff", b"b", None, b"c"])
    lists, pairs = [["a"], None, [], ["b"], [None]], pa.map_(pa.string(), pa.int8())
    for kind, column in {
        "times in microseconds, far": ("time", lowest.view(pa.timestamp("us", "UTC"))),
        "times in nanoseconds, far": ("time", lowest.view(pa.timestamp("ns"))),
        "times in milliseconds, far": ("time", lowest.view(pa.timestamp("ms", "Asia/Tokyo"))),
        "times of a zone that is none": ("time", lowest.view(pa.timestamp("us", "No/Where"))),
        "dates as times": ("time", pa.array([0, 1, 2, 3, None], pa.int32()).cast(pa.date32())),
        "hours as times": ("time", lowest.view(pa.time64("us"))),
        "durations": ("time", lowest.view(pa.duration("ns"))),
        "users that are floats": ("user", pa.array([1.0, float("nan"), 1e300, -0.0, None])),
        "users that are large": ("user", pa.array([2**64 - 1, 0, 1, 2, None], pa.uint64())),
        "users that are bytes": ("user", pa.array([b"u", b"\xff", b"", None, b"\0"])),
        "users that are lists": ("user", pa.array([["u"], [], None, ["a", "b"], [None]])),
        "views of texts": ("title", pa.array(["a", None, "", "\0", "b"], pa.string_view())),
        "views of lists": ("title", pa.array(lists, pa.list_view(pa.string()))),
        "texts that are no UTF-8": ("title", not_utf_8.cast(pa.string(), safe=False)),
        "half floats": ("title", pa.array([1.5, None, 0, 65504, -0.0], pa.float16())),
        "structs": ("title", pa.array([{"x": 1}, None, {}, {}, {}])),
        "maps": ("title", pa.array([[("a", 1)], *4 * [None]], pairs)),
        "nothing but null": ("title", pa.nulls(5)),
        "a dictionary": ("title", pa.array(["a", None, "b", "a", "b"]).dictionary_encode()),
        "uuids": ("user", pa.array([bytes([n] * 16) for n in range(5)], pa.uuid())),
    }.items():  # fmt: skip
        name, values = column
        yield kind, parquet_bytes(plain | {name: values})


def parquet_bytes(columns: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    pq.write_table(table, out, **options)
    return out.getvalue()


NAMES = (
    *("with blanks .jsonl", "umlaut \u00e4\u0301\u20ac.jsonl", "quote'\".jsonl", "a;b`c$(d).jsonl"),
    *("[x]{y}*?.jsonl", "%20%00.jsonl", "line\nbreak.jsonl", "b" * 240, "-rf", "nul"),
    *("a.jsonl.gz", "CON.parquet", "sub/folder.jsonl/b.jsonl", "caf\u00e9=1/c.jsonl"),
    "\udcff.jsonl",
)  # fmt: skip


def hostile_files() -> list[HostileFile]:
    files = [HostileFile(kind, _bytes(content), "jsonl") for kind, content in json_contents()]
    files += [
        HostileFile(f"a name: {name[:20]!r}", f"{GOOD_JSON}\n".encode(), "jsonl", name)
        for name in NAMES
    ]
    files += [
        HostileFile(kind, _bytes(content), "csv", csv=dialect)
        for kind, content, dialect in csv_contents()
    ]
    return files + [HostileFile(kind, content, "parquet") for kind, content in parquet_contents()]


def _bytes(content: str | bytes) -> bytes:
    return content if isinstance(content, bytes) else content.encode()
