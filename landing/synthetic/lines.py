"""The lines of a generated day: its views, with some doubled and some broken, as JSON or Parquet.

A broken line is one more line, a defective copy of a view: the view itself always lands whole.
"""

import json
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from landing.synthetic.browsing import (
    NO_ROWS,
    Kind,
    Purpose,
    Users,
    Views,
    World,
    concatenate_views,
)
from landing.synthetic.titles import Catalogue, Ints
from landing.texts import Texts, join_texts, take_texts, text_bytes

BROKEN_KINDS = ("bad_json", "missing_user", "blank_title", "unparsable_time", "future_time")
_LANDED_AGAIN = 0.1  # share of a day's late views that land once more, a day later
LANDING_COLUMNS = {"user_id": "user", "event_time": "time", "title": "title", "host": "host"}
_TYPES: dict[str, pa.DataType] = {
    "user": pa.string(),
    "time": pa.timestamp("ms", tz="UTC"),
    "title": pa.string(),
    "host": pa.string(),
}
_PARQUET_SCHEMA = pa.schema(_TYPES)


@dataclass(frozen=True)
class Lines:
    """The lines of one file.

    `views` are the distinct ones, then those that land again; `broken` pairs a defect's position in
    BROKEN_KINDS with the row of a view; `order` has a row of `views`, or its length plus a row of
    `broken`, for each line of the file.
    """

    views: Views
    broken: Ints  # (B, 2)
    order: Ints
    counts: dict[str, int]


def user_ids(numbers: Ints) -> Texts:
    """u0000042: a user's name in the logs."""
    return join_texts("u", pc.utf8_lpad(pa.array(numbers).cast(pa.string()), 7, "0"))


def compose_lines(
    world: World,
    users: Users,
    *,
    block: int,
    day: int,
    first_day: int,
    doubled: float,
    broken: float,
    kinds: tuple[str, ...] = BROKEN_KINDS,
) -> Lines:
    """The lines that a block's users leave on `day`; `doubled` and `broken` are shares of views."""
    now, late = world.landed(users, block, day, first_day)
    fresh = concatenate_views([late, now])
    again = _landing_again(world, users, block, day, first_day, _LANDED_AGAIN if doubled else 0.0)
    rng, num = world.rng(Purpose.DEFECTS, block, day), len(fresh)
    twice = np.flatnonzero(rng.random(num) < doubled)
    counts = rng.poisson(num * broken / len(BROKEN_KINDS), len(BROKEN_KINDS))
    counts[[kind not in kinds for kind in BROKEN_KINDS]] = 0
    defects = np.repeat(np.arange(len(BROKEN_KINDS)), counts)
    copied = (rng.random(len(defects)) * num).astype(np.int64)
    added = np.concatenate([twice, num + np.arange(len(again) + len(defects))])
    anywhere = (rng.random(len(again) + len(defects)) * (num + 1)).astype(np.int64)
    return Lines(
        concatenate_views([fresh, again]),
        np.column_stack([defects, copied]),
        np.insert(np.arange(num), np.concatenate([twice + 1, anywhere]), added),
        {
            "lines": num + len(added),
            "views": num,
            "late": len(late),
            "bot_views": int((fresh.user >= world.num_users).sum()),
            "doubled_same_day": len(twice),
            "doubled_later_day": len(again),
            **{f"broken_{kind}": int(n) for kind, n in zip(BROKEN_KINDS, counts, strict=True)},
        },
    )


def _landing_again(
    world: World, users: Users, block: int, day: int, first_day: int, share: float
) -> Views:
    """Some of the views that landed late on the day before: their phone sent them twice."""
    late = world.sessions(users, block, day - 2, Kind.LATE)
    if day - 2 < first_day:
        return late.where(NO_ROWS)
    return late.where(world.rng(Purpose.AGAIN, block, day).random(len(late)) < share)


def write_json_lines(lines: Lines, catalogue: Catalogue, path: Path) -> None:
    """One JSON object a line, its members in the order of LANDING_COLUMNS."""
    user, time = user_ids(lines.views.user), _iso_times(lines.views.ms)
    title, host = _titles_and_hosts(lines.views.title, catalogue)
    quoted = pc.replace_substring(pc.replace_substring(title, "\\", "\\\\"), '"', '\\"')
    whole = join_texts(
        '{"user":"', user, '","time":"', time, '","title":"', quoted, '","host":"', host, '"}\n'
    )
    bad = [
        _broken_line(
            BROKEN_KINDS[kind], *(column[row].as_py() for column in (user, time, title, host))
        )
        for kind, row in lines.broken.tolist()
    ]
    every = take_texts(pa.concat_arrays([whole, pa.array(bad, pa.string())]), lines.order)
    with path.open("wb") as file:
        file.write(text_bytes(every))


def write_parquet(lines: Lines, catalogue: Catalogue, path: Path) -> None:
    """The same rows; a time that cannot be read is null there."""
    title, host = _titles_and_hosts(lines.views.title, catalogue)
    time = pa.array(lines.views.ms).cast(_PARQUET_SCHEMA.field("time").type)
    whole: list[Any] = [user_ids(lines.views.user), time, title, host]
    bad = [
        _broken_row(
            BROKEN_KINDS[kind],
            {n: c[row].as_py() for n, c in zip(LANDING_COLUMNS, whole, strict=True)},
        )
        for kind, row in lines.broken.tolist()
    ]
    order = pa.array(lines.order)
    columns: list[Any] = [
        pa.concat_arrays([column, pa.array([row[name] for row in bad], column.type)]).take(order)
        for name, column in zip(LANDING_COLUMNS, whole, strict=True)
    ]
    table = pa.Table.from_arrays(columns, schema=_PARQUET_SCHEMA)
    pq.write_table(table, path, compression="zstd", compression_level=1, store_schema=False)


def _titles_and_hosts(codes: Ints, catalogue: Catalogue) -> tuple[Texts, Texts]:
    """Text is made once a distinct title."""
    distinct, places = np.unique(codes, return_inverse=True)
    return take_texts(catalogue.texts(distinct), places), take_texts(
        catalogue.hosts(distinct), places
    )


@cache
def _seconds() -> Texts:
    """The end of a time for each millisecond of a minute."""
    return pa.array([f":{ms // 1000:02}.{ms % 1000:03}Z" for ms in range(60_000)])


def _iso_times(ms: Ints) -> Texts:
    """2017-01-01T08:12:33.120Z, by tables of minutes and of seconds."""
    if not len(ms):
        return pa.array([], pa.string())
    minutes = ms // 60_000
    first = int(minutes.min())
    every = np.arange(first, int(minutes.max()) + 1).astype("datetime64[m]")
    names = np.datetime_as_string(every).tolist()
    return join_texts(take_texts(names, minutes - first), take_texts(_seconds(), ms % 60_000))


def _broken_line(kind: str, user: str, time: str, title: str, host: str) -> str:
    line: dict[str, str] = {"user": user, "time": time, "title": title, "host": host}
    if kind == "missing_user":
        del line["user"]
    elif kind == "blank_title":
        line["title"] = "  "
    elif kind == "unparsable_time":
        line["time"] = f"{time[8:10]} o'clock"
    elif kind == "future_time":
        line["time"] = f"{int(time[:4]) + 2}{time[4:]}".replace("-02-29", "-02-28")
    text = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
    return (text[: len(text) * 2 // 3] if kind == "bad_json" else text) + "\n"


def _broken_row(kind: str, row: dict[str, object]) -> dict[str, object]:
    name, value = {
        "missing_user": ("user_id", None),
        "blank_title": ("title", "  "),
        "unparsable_time": ("event_time", None),
        "future_time": ("event_time", row["event_time"]),
    }[kind]
    if kind == "future_time":
        value = row["event_time"] + timedelta(days=730)  # type: ignore[operator]
    return row | {name: value}


def total_counts(some: list[dict[str, int]]) -> dict[str, int]:
    """The sums of counts, by name, names in the order of the first."""
    total: Counter[str] = Counter()
    for counts in some:
        total.update(counts)
    return dict(total)
