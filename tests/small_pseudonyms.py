"""A landing day of a few users whose ids are to be pseudonyms, and a search for bytes."""

import io
import json
from datetime import date

import pyarrow.parquet as pq
import zstandard

DAY = date(2017, 3, 1)
USERS = ("ann-0001@x", "bob-0002@x", "Ünal-0003", "800000000004")
HOST = "intranet-of-ann.example"


def write_settings(places, keys, more=""):
    places.landing.mkdir(parents=True, exist_ok=True)
    (places.landing / "settings.toml").write_text(
        'format = "jsonl"\nnobody = ["Nobody"]\n[columns]\nuser_id = "user"\nevent_time = "time"\n'
        'title = "title"\nhost = "host"\n'
        + (f'[pseudonyms]\nkey_file = "{keys}"\ncolumns = ["user_id", "host"]\n' if keys else "")
        + more
    )


def line(user, n, title="A page", **more):
    facts = {"user": user, "time": f"{DAY}T10:00:{n:02}Z", "title": title, "host": HOST}
    return json.dumps({**facts, "mail": f"of {user}", **more}, ensure_ascii=False)


LINES = [
    *(line(user, n) for n, user in enumerate(USERS)),
    line(USERS[0], 0),  # a duplicate
    line(USERS[1], 5, title=""),
    line(USERS[2], 6, time=f"never {USERS[2]}"),
    line(" NOBODY ", 7),
    line("", 8),
    line(f"{USERS[0]}\0", 9),
    f'{{"user": "{USERS[3]}", "time',  # torn
    json.dumps({"user": {USERS[0]: 1}, "time": "x", "title": "t"}),
    *(line(user, 20 + n) for n, user in enumerate(USERS)),
    line("forgotten-0005", 30),
]


def found_in(root, wanted, but=()):
    """Where any of `wanted` stands below `root`: in bytes, in values of Parquet, in packed logs."""
    found = []
    for path in root.rglob("*"):
        if not path.is_file() or any(folder in path.parents for folder in but):
            continue
        content = path.read_bytes()
        if path.suffix == ".parquet":
            content += repr(pq.read_table(path, partitioning=None).to_pylist()).encode()
        if path.suffix == ".zstd":
            content += zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content)).read()
        found += [(path, each) for each in wanted if each in content]
    return found
