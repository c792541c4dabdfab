"""The truth behind generated logs, written next to the landing folder: planted/.

settings.json          what was asked for, written first
interests.parquet      user_id, topic, weight, from_day, to_day (both included), is_lasting: who is
                       interested in what; a user's weights sum to 1 on any day
titles.parquet         title, topic: every title that was viewed
summary.json           exact counts of lines and views, in total and a day
"""

import json
from collections.abc import Iterator
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from contracts.errors import BadInput
from contracts.storage.atomic_write import atomic_file, write_json
from landing.synthetic.browsing import Users, World, day_number
from landing.synthetic.lines import total_counts, user_ids
from landing.synthetic.titles import TOPIC_NAMES, Catalogue, Floats, Ints, topic_of

_TYPES: dict[str, pa.DataType] = {
    "user_id": pa.string(),
    "topic": pa.string(),
    "weight": pa.float64(),
    "from_day": pa.date32(),
    "to_day": pa.date32(),
    "is_lasting": pa.bool_(),  # else an interest of some weeks
}
_INTERESTS_SCHEMA = pa.schema(_TYPES)
_TITLES_SCHEMA = pa.schema([pa.field("title", pa.string()), pa.field("topic", pa.string())])


def reserve_folder(planted: Path, settings: dict[str, object]) -> None:
    """Write planted/settings.json, unless the folder holds logs that these would not replace.

    The same settings with as many days or more write the same files again, and go on.
    """
    path = planted / "settings.json"
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        differing = [
            n for n in {**settings, **found} if n != "days" and found.get(n) != settings.get(n)
        ]
        if differing or int(found["days"]) > int(str(settings["days"])):
            differences = ", ".join(f"{n} {found.get(n)}" for n in settings)
            raise BadInput(
                f"{planted.parent} holds generated logs of other settings ({differences}), whose "
                "days would be left among these: remove its landing and planted folders, or name "
                "another root by --out"
            )
    write_json(path, settings)


def write_interests(
    path: Path, world: World, blocks: Iterator[Users], first_day: int, last_day: int
) -> int:
    """Every interest that was live on some of the days; returns how many."""
    rows = 0
    with atomic_file(path) as hidden, pq.ParquetWriter(hidden, _INTERESTS_SCHEMA) as file:
        for users in blocks:
            table = _interests(world, users, first_day, last_day)
            file.write_table(table)
            rows += table.num_rows
    return rows


def _interests(world: World, users: Users, first_day: int, last_day: int) -> pa.Table:
    """One block's interests, in the order of user, first day and topic."""
    parts = [
        _lasting(world, users, first_day, last_day),
        *_drifting(world, users, first_day, last_day),
    ]
    rows, topics, weights, from_days, to_days = map(np.concatenate, zip(*parts, strict=True))
    order = np.lexsort((topics, from_days, rows))
    names = pa.array(TOPIC_NAMES).take(pa.array(topics[order]))
    is_lasting = np.arange(len(rows)) < len(parts[0][0])
    columns = [
        user_ids(users.first + rows[order]),
        names,
        pa.array(weights[order]),
        *(
            pa.array(days[order].astype(np.int32)).cast(pa.date32())
            for days in (from_days, to_days)
        ),
        pa.array(is_lasting[order]),
    ]
    return pa.Table.from_arrays(columns, schema=_INTERESTS_SCHEMA)


_Interests = tuple[Ints, Ints, Floats, Ints, Ints]  # rows, topics, weights, first and last days


def _lasting(world: World, users: Users, first_day: int, last_day: int) -> _Interests:
    weights = np.diff(users.upto.astype(np.float64), axis=1, prepend=0.0)
    rows, slots = np.nonzero(weights > 0)
    days = np.ones(len(rows), np.int64)
    return (
        rows,
        users.topics[rows, slots].astype(np.int64),
        weights[rows, slots] * (1 - world.drifting_share),
        days * first_day,
        days * last_day,
    )


def _drifting(world: World, users: Users, first_day: int, last_day: int) -> Iterator[_Interests]:
    period, phase = users.period.astype(np.int64), users.phase.astype(np.int64)
    every = np.arange(len(period))
    oldest, newest = (first_day + phase) // period, (last_day + phase) // period
    for ahead in range(int((newest - oldest).max()) + 1):
        rows = every[oldest + ahead <= newest]
        epoch = oldest[rows] + ahead
        begin = epoch * period[rows] - phase[rows]
        yield (
            rows,
            world.drifting(users, rows, epoch),
            np.full(len(rows), world.drifting_share),
            np.maximum(begin, first_day),
            np.minimum(begin + period[rows] - 1, last_day),
        )


def write_titles(path: Path, codes: Ints, catalogue: Catalogue) -> int:
    """The texts of `codes` (distinct, in order), each once; returns how many.

    Titles of two topics never have one text, so a topic at a time is enough memory.
    """
    rows = 0
    bounds = np.searchsorted(topic_of(codes), np.arange(len(TOPIC_NAMES) + 1))
    with atomic_file(path) as hidden, pq.ParquetWriter(hidden, _TITLES_SCHEMA) as file:
        for topic, (start, end) in enumerate(pairwise(bounds)):
            if start < end:
                texts = catalogue.texts(codes[start:end]).unique()
                names = pa.array([TOPIC_NAMES[topic]] * len(texts), pa.string())
                file.write_table(pa.Table.from_arrays([texts, names], schema=_TITLES_SCHEMA))
                rows += len(texts)
    return rows


def summarize_days(
    settings: dict[str, object],
    world: World,
    by_day: dict[date, list[dict[str, int]]],
    *,
    titles: int,
    interests: int,
) -> dict[str, object]:
    """lines = views + doubled + broken, in total and a day. Late and bots' views are views."""
    days = {day.isoformat(): total_counts(counts) for day, counts in by_day.items()}
    bots = np.arange(world.num_users, world.num_users + world.num_bots)
    active = sum(bool(world.bot_days(day_number(day)).sum()) for day in by_day)
    return {
        "settings": settings,
        **total_counts(list(days.values())),
        "titles": titles,
        "interests": interests,
        "bots": user_ids(bots).to_pylist(),
        "days_with_bots": active,
        "days": days,
    }
