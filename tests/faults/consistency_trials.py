"""Do readers of the online store get what the table holds, night after night?

    python -m tests.faults.consistency_trials [--nights 60] [--fetches 1000] [--backfills 10]
        [--spark] [--redis]

On a made lake each night's rows are published and brought online as the nightly job does, and then
users are fetched, known and unknown ones, and compared with plain SQL by Chronon's three counts.
Backfills of earlier days and a promotion come in between, each with as many fetches. At the end
faults are planted in the online store, and the check must name each. Rows are published by
delta-rs, a day in one commit, or with --spark by the nightly job's and the registry's own
functions, which takes much longer. With --redis the online store is a Redis server of its own, in
place of SQLite. The last line is JSON; the exit code is 1 if a fetch differs or
a fault is not found.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from benchmarks.harness import benchmark_parser, print_line, print_result
from benchmarks.serving import redis_server
from contracts.limits import EMBEDDING_WIDTH
from contracts.paths import Places
from contracts.tables import PUBLISHED_EMBEDDINGS, WRITTEN_AT
from contracts.vectors import own_space
from spark_jobs.lake.lake import Lake
from spark_jobs.registry.promotion import Registry
from spark_jobs.tables.published_embeddings import publish_day
from tests.faults.as_known_trials import (
    FIRST_DAY,
    MODEL,
    embed_made_rows,
    make_champion,
    random_rows,
)

if TYPE_CHECKING:
    from feature_store.consistency import Consistency
    from feature_store.published import Published
    from feature_store.store import Store

ARROW_TYPES = {
    "array<float>": pa.list_(pa.float32()),
    "bigint": pa.int64(),
    "date": pa.date32(),
    "double": pa.float64(),
    "float": pa.float32(),
    "int": pa.int32(),
    "string": pa.string(),
    "timestamp": pa.timestamp("us", "UTC"),
}
SECOND_MODEL = "made-2"
USERS_A_FETCH = 100
PUBLISHED_SCHEMA = pa.schema([(c.name, ARROW_TYPES[c.type]) for c in PUBLISHED_EMBEDDINGS.columns])
_UNKNOWN_USERS = 0.05  # of the fetched ones


class Publisher(Protocol):
    """How rows come into published_embeddings; a number determines a row's content."""

    def publish(self, day: date, rows: dict[str, int], at: datetime) -> None: ...

    def promote(self, model_id: str, days: dict[date, dict[str, int]], at: datetime) -> None: ...


@dataclass
class DeltaRsPublisher:
    """A commit a publication, of the rows as the nightly job makes them."""

    places: Places
    model_id: str = MODEL

    def publish(self, day: date, rows: dict[str, int], at: datetime) -> None:
        self._write({day: rows}, at, f"as_of = '{day}'")

    def promote(self, model_id: str, days: dict[date, dict[str, int]], at: datetime) -> None:
        self.model_id = model_id
        self._write(days, at, None)

    def _write(self, days: dict[date, dict[str, int]], at: datetime, predicate: str | None) -> None:
        rows = [
            published_row(self.model_id, day, user, number, at)
            for day, numbers in days.items()
            for user, number in numbers.items()
        ]
        path = f"{self.places.lake}/{PUBLISHED_EMBEDDINGS.name}"
        is_new = not DeltaTable.is_deltatable(path)
        write_deltalake(
            path,
            pa.Table.from_pylist(rows, schema=PUBLISHED_SCHEMA),
            mode="overwrite",
            partition_by=list(PUBLISHED_EMBEDDINGS.partition_by),
            predicate=None if is_new else predicate,
        )


def published_row(model_id: str, day: date, user: str, number: int, at: datetime) -> dict[str, Any]:
    midnight = datetime.combine(day, datetime.min.time(), UTC)
    vector = np.random.default_rng(number).standard_normal(EMBEDDING_WIDTH).astype(np.float32)
    return {
        "as_of": day,
        "user_id": user,
        "as_of_time": midnight,
        "model_id": model_id,
        "space_id": own_space(model_id),
        "embedding": vector.tolist(),
        "norm": float(np.linalg.norm(vector.astype(np.float64))),
        "num_views": 1 + number % 7,
        "last_view_time": midnight - timedelta(hours=1),
        "sequence_hash": number,
        WRITTEN_AT: at,
    }


@dataclass
class SparkPublisher:
    """As the nightly job and `userbert models promote` do it."""

    lake: Lake
    places: Places
    model_id: str = MODEL

    def publish(self, day: date, rows: dict[str, int], at: datetime) -> None:
        embed_made_rows(self.lake, self.model_id, {day: rows})
        publish_day(self.lake, self.places, day, at)

    def promote(self, model_id: str, days: dict[date, dict[str, int]], at: datetime) -> None:
        self.model_id = model_id
        embed_made_rows(self.lake, model_id, days)
        Registry(self.lake, self.places).promote(model_id, "trial", force=True)


@dataclass
class Player:
    """A feature store over a lake, and what was published so far."""

    publisher: Publisher
    store: "Store"
    users: int
    rng: np.random.Generator
    held: dict[date, dict[str, int]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def publish(self, day: date, at: datetime) -> None:
        """A night, or a backfill of an earlier day: half of its rows are others than before."""
        self.held[day] = random_rows(self.held.get(day, {}), self.users, self.rng)
        self.publisher.publish(day, self.held[day], at)

    def promote(self, model_id: str, at: datetime) -> None:
        """All days under another model, which then becomes the champion."""
        self.held = {day: random_rows({}, self.users, self.rng) for day in self.held}
        self.publisher.promote(model_id, self.held, at)

    def refresh_and_fetch(self, fetches: int) -> None:
        """As a night does, and then as readers do."""
        from feature_store.online_check import check_online
        from feature_store.published import Published

        published = Published.open(self.store.places)
        self.store.apply(published)
        newest = published.days[-1]
        self.store.materialize(published, newest)
        check_online(self.store, published, newest)
        names = [f"u{n}" for n in range(round(self.users * (1 + _UNKNOWN_USERS)))]
        drawn = list(self.rng.choice(names, fetches))
        self.counts.update(count_fetches(self.store, published, drawn))


def count_fetches(store: "Store", published: "Published", users: list[str]) -> Counter[str]:
    """Fetches, those of a user with a vector, and those that differ, by the three counts."""
    from feature_store.consistency import compare_fetches

    counts: Counter[str] = Counter()
    for start in range(0, len(users), USERS_A_FETCH):
        some = users[start : start + USERS_A_FETCH]
        expected = newest_by_sql(published, some)
        found = compare_fetches(store.get(some), expected)
        counts["fetches"] += len(some)
        counts["with_a_vector"] += int(expected["model_id"].notna().sum())
        for name in ("mismatch", "missing", "extra"):
            counts[name] += len(getattr(found, name))
    return counts


def newest_by_sql(published: "Published", users: list[str]) -> pd.DataFrame:
    """The newest row of each user, in the order asked; nulls for a user who has none."""
    from feature_store.definitions import USER_KEY, feature_names
    from feature_store.store import exact_frame

    published.connection.register("asked", pd.DataFrame({"user_id": users, "n": range(len(users))}))
    columns = ", ".join(f"newest.{name}" for name in feature_names())
    found = published.connection.execute(
        f"""SELECT asked.{USER_KEY}, {columns} FROM asked LEFT JOIN (
            FROM published QUALIFY row_number() OVER (PARTITION BY user_id ORDER BY as_of DESC) = 1
        ) newest USING ({USER_KEY}) ORDER BY n"""
    )
    return exact_frame(found.to_arrow_table())


def online_row(published: "Published", user: str) -> pd.DataFrame:
    """The user's newest row as Feast takes it for its online store."""
    found = published.connection.execute(
        "FROM published WHERE user_id = $user ORDER BY as_of DESC LIMIT 1", {"user": user}
    )
    return found.df().drop(columns="as_of")


@dataclass(frozen=True)
class Fault:
    """What was planted, and the count that must name the user."""

    name: str
    count: str
    user: str
    undo: Callable[[], object]


def plant_faults(store: "Store", published: "Published", users: list[str]) -> Iterator[Fault]:
    """Each kind of fault, one after the other, in any online store; undo one before the next."""
    from contracts.vectors import service_name
    from feature_store.definitions import TIME_COLUMN

    view = service_name(published.model_id)

    def put(row: pd.DataFrame) -> None:
        store.online.forget(view, [str(row["user_id"].iloc[0])])  # an older time is not taken else
        store.feast.write_to_online_store(view, row)

    def restore(user: str) -> Callable[[], object]:
        return lambda: put(online_row(published, user))

    changed, missing, old = users[:3]
    row = online_row(published, changed)
    row["embedding"] = online_row(published, missing)["embedding"]
    put(row)
    yield Fault("a row changed", "mismatch", changed, restore(changed))

    store.online.forget(view, [missing])
    yield Fault("a row missing", "missing", missing, restore(missing))

    stranger = "nobody in the table"
    put(online_row(published, changed).assign(user_id=stranger))
    forget = lambda: store.online.forget(view, [stranger])  # noqa: E731
    yield Fault("a row extra", "extra", stranger, forget)

    row = online_row(published, old)
    row[TIME_COLUMN] -= pd.Timedelta(days=1)
    put(row)
    yield Fault("a row a day old", "mismatch", old, restore(old))


def find_planted_faults(store: "Store", published: "Published") -> dict[str, str]:
    """What the check says of each planted fault; "not found" where it does not name the user."""
    from feature_store.online_check import measure_consistency

    said = {}
    for fault in plant_faults(store, published, published.users()):
        found: Consistency = measure_consistency(store, published)
        by_count = {name: getattr(found, name) for name in ("mismatch", "missing", "extra")}
        others = any(
            list(users) != [fault.user] * (name == fault.count) for name, users in by_count.items()
        )
        said[fault.name] = "not found" if others else str(found)
        fault.undo()
    assert measure_consistency(store, published).is_consistent
    return said


def play_nights(player: Player, nights: int, fetches: int, backfills: int) -> None:
    """`nights` nights, backfills spread over them, and a promotion in the middle."""
    begun = datetime.combine(FIRST_DAY, datetime.min.time(), UTC)
    filled = {1 + n * (nights - 1) // max(1, backfills) for n in range(backfills)}
    for night in range(nights):
        began = time.monotonic()
        at = begun + timedelta(days=night, hours=1)
        player.publish(FIRST_DAY + timedelta(days=night), at)
        player.refresh_and_fetch(fetches)
        if night in filled:
            player.publish(
                FIRST_DAY + timedelta(days=int(player.rng.integers(night))),
                at + timedelta(hours=5),
            )
            player.refresh_and_fetch(fetches)
        if night == nights // 2:
            player.promote(SECOND_MODEL, at + timedelta(hours=9))
            player.refresh_and_fetch(fetches)
        seconds = round(time.monotonic() - began, 1)
        print_line({"night": night, "seconds": seconds, **player.counts})


@contextmanager
def online_store(places: Places, in_redis: bool) -> Iterator[None]:
    """SQLite by default, or a Redis that ends with the block."""
    if not in_redis:
        yield
        return
    from feature_store import store

    text = Path(store.__file__).with_name(store.SETTINGS_FILE).read_text()
    places.feature_store.mkdir(parents=True)
    with redis_server(places.root) as address:
        block = f"  type: redis\n  connection_string: {address}\n"
        text = text.replace("  type: sqlite\n  path: online.db\n", block)
        (places.feature_store / store.SETTINGS_FILE).write_text(text)
        yield


@contextmanager
def publisher_of(places: Places, by_spark: bool) -> Iterator[Publisher]:
    if not by_spark:
        yield DeltaRsPublisher(places)
        return
    from spark_jobs.spark.session import session

    with session("consistency", logged=False) as spark:
        lake = Lake(spark, places.lake)
        make_champion(lake, places, SECOND_MODEL)
        yield SparkPublisher(lake, places)


def measure(
    nights: int, fetches: int, backfills: int, users: int, by_spark: bool, in_redis: bool
) -> dict[str, Any]:
    """Play it all on a lake of its own, and plant the faults at the end."""
    from feature_store.published import Published
    from feature_store.store import Store

    with tempfile.TemporaryDirectory() as folder:
        places = Places(Path(folder))
        with online_store(places, in_redis), publisher_of(places, by_spark) as publisher:
            player = Player(publisher, Store(places), users, np.random.default_rng(0))
            play_nights(player, nights, fetches, backfills)
            said = find_planted_faults(player.store, Published.open(places))
    return {**player.counts, "planted": said}


def arg_parser() -> argparse.ArgumentParser:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--nights", type=int, default=60)
    parser.add_argument("--fetches", type=int, default=1000, help="after each publication")
    parser.add_argument("--backfills", type=int, default=10)
    parser.add_argument("--users", type=int, default=60)
    parser.add_argument("--spark", action="store_true", help="publish by the nightly job's code")
    parser.add_argument("--redis", action="store_true", help="online in Redis, not in SQLite")
    return parser


def main(nights: int, fetches: int, backfills: int, users: int, spark: bool, redis: bool) -> int:
    figures = measure(nights, fetches, backfills, users, spark, redis)
    differing = sum(figures.get(name, 0) for name in ("mismatch", "missing", "extra"))
    agree = not differing and "not found" not in figures["planted"].values()
    print_result(
        {
            "name": f"consistency: {nights} nights, {backfills} backfills, a promotion",
            "agree": agree,
            "figures": figures,
        }
    )
    return int(not agree)


if __name__ == "__main__":
    sys.exit(main(**vars(arg_parser().parse_args())))
