"""Is what Feast gives as known at a time what readers could have read then?

    python -m tests.faults.as_known_trials [--nights 30] [--backfills 50] [--points 10000]

Nights and backfills of random days are published on a made lake, each at a time of its own: rows
change, come, go and come back. Then random points in time are asked of Feast by
`history_as_known`, and of the table's own Delta versions by plain SQL: the last commit before the
time, and of it the user's newest day. The last line is JSON; the exit code is 1 if a point differs.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pandas as pd
from duckdb_extensions import import_extension

from benchmarks.harness import benchmark_parser, print_result
from contracts.forecasts import FORECAST_NAMES
from contracts.limits import EMBEDDING_WIDTH
from contracts.paths import Places
from contracts.tables import PUBLISHED_EMBEDDINGS, USER_EMBEDDINGS, WRITTEN_AT
from spark_jobs.lake.lake import Lake
from spark_jobs.tables.published_embeddings import publish_day

if TYPE_CHECKING:
    from feature_store.store import Store
    from spark_jobs.tables.models import Model

FIRST_DAY = date(2017, 6, 1)
_HERE = 0.7  # of the users have a row of a day
MODEL = "made"
# Compiling a query and planning each of its stages anew take longer than a few thousand rows do.
_FOR_TINY_TABLES = {
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}


@dataclass(frozen=True)
class Write:
    """One publication: a night, or a backfill of an earlier day."""

    day: date
    at: datetime


def random_writes(nights: int, backfills: int, rng: np.random.Generator) -> list[Write]:
    """A night an hour after each midnight, and backfills of days that have a night by then."""
    begun = datetime.combine(FIRST_DAY, datetime.min.time(), UTC)
    made = [
        Write(FIRST_DAY + timedelta(days=n), begun + timedelta(days=n, hours=1))
        for n in range(nights)
    ]
    for _ in range(backfills):
        at = begun + timedelta(seconds=int(rng.integers(2 * 3600, (nights + 2) * 86400)))
        days = min((at - begun - timedelta(hours=1)).days + 1, nights)
        made.append(Write(FIRST_DAY + timedelta(days=int(rng.integers(days))), at))
    return sorted(made, key=lambda write: write.at)


def play_writes(
    lake: Lake, places: Places, made: list[Write], users: int, rng: np.random.Generator
) -> None:
    """Publish each write; of a day that was written before, some rows stay as they were."""
    held: dict[date, dict[str, int]] = {}
    for write in made:
        held[write.day] = random_rows(held.get(write.day, {}), users, rng)
        embed_made_rows(lake, MODEL, {write.day: held[write.day]})
        publish_day(lake, places, write.day, write.at)


def random_rows(before: dict[str, int], users: int, rng: np.random.Generator) -> dict[str, int]:
    """A number for each user who has a row of a day; half of those of `before` stay as they are."""
    rows = {}
    for user in (f"u{n}" for n in range(users)):
        if rng.random() < _HERE:
            is_kept = user in before and rng.random() < 0.5
            rows[user] = before[user] if is_kept else int(rng.integers(1 << 40))
    return rows or {"u0": 1}


def embed_made_rows(lake: Lake, model_id: str, days: dict[date, dict[str, int]]) -> None:
    """Rows of user_embeddings of some days, whose content a number determines."""
    made = []
    for day, rows in days.items():
        seen = datetime.combine(day, datetime.min.time(), UTC) - timedelta(hours=1)
        for user, number in rows.items():
            drawn = np.random.default_rng(number).standard_normal(EMBEDDING_WIDTH)
            vector = drawn.astype(np.float32)
            norm = float(np.linalg.norm(vector.astype(np.float64)))
            forecasts = (None,) * len(FORECAST_NAMES)
            made.append((model_id, day, user, vector.tolist(), norm, 1, seen, number, *forecasts))
    frame = lake.spark.createDataFrame(made, USER_EMBEDDINGS.ddl)
    lake.create(USER_EMBEDDINGS)
    listed = ", ".join(f"'{day}'" for day in days)
    where = f"model_id = '{model_id}' and as_of in ({listed})"
    frame.write.format("delta").mode("overwrite").option("replaceWhere", where).save(
        lake.path(USER_EMBEDDINGS)
    )


def random_points(
    made: list[Write], users: int, number: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Users and times from a day before the first write to a day after the last; a third of them
    at a write's very time or a microsecond before it."""
    first, last = made[0].at - timedelta(days=1), made[-1].at + timedelta(days=1)
    span = int((last - first).total_seconds())
    times = [first + timedelta(seconds=int(rng.integers(span))) for _ in range(number)]
    for n in range(0, number, 3):
        times[n] = made[int(rng.integers(len(made)))].at - timedelta(microseconds=n % 2)
    names = [f"u{int(rng.integers(users + 1))}" for _ in range(number)]
    return pd.DataFrame({"user_id": names, "event_timestamp": pd.to_datetime(times, utc=True)})


def replay_commits(lake: Lake, points: pd.DataFrame) -> list[int | None]:
    """The sequence_hash that a reader of the table would have found at each point."""
    import_extension("delta")
    connection = duckdb.connect()
    connection.execute("LOAD delta; SET TimeZone = 'UTC'")
    selects = [
        f"SELECT {version} AS version, TIMESTAMPTZ '{at}' AS committed_at, user_id, as_of_time, "
        f"{WRITTEN_AT}, sequence_hash "
        f"FROM delta_scan('{lake.path(PUBLISHED_EMBEDDINGS)}', version={version})"
        for version, at in _commits(lake)
    ]
    connection.execute(f"CREATE TABLE states AS {' UNION ALL '.join(selects)}")
    connection.register("points", points.assign(place=range(len(points))))
    found = connection.execute(
        """WITH asked AS (
            SELECT place, points.user_id, event_timestamp,
                (SELECT max(version) FROM states WHERE committed_at <= event_timestamp) AS version
            FROM points)
        SELECT place, sequence_hash FROM asked JOIN states USING (version, user_id)
        WHERE as_of_time <= event_timestamp
        QUALIFY row_number() OVER (PARTITION BY place ORDER BY as_of_time DESC) = 1"""
    ).fetchall()
    (later,) = connection.execute(
        "SELECT count(*) FROM states WHERE written_at > committed_at"
    ).fetchall()[0]
    assert later == 0, f"{later} rows were written later than their commit"
    by_place = dict(found)
    return [by_place.get(place) for place in range(len(points))]


def _commits(lake: Lake) -> Iterator[tuple[int, str]]:
    for commit in lake.log(PUBLISHED_EMBEDDINGS).commits():
        facts = json.loads(commit.facts.get("userMetadata", "{}"))
        if WRITTEN_AT in facts:
            yield commit.version, facts[WRITTEN_AT]


def differing_points(store: "Store", lake: Lake, points: pd.DataFrame) -> tuple[int, int]:
    """(points at which Feast and the replay differ, points with a vector)."""
    expected = replay_commits(lake, points)
    found = store.history_as_known(points, MODEL)["sequence_hash"]
    ours: list[Any] = [None if pd.isna(value) else int(value) for value in found]
    differing = sum(a != b for a, b in zip(ours, expected, strict=True))
    return differing, sum(value is not None for value in expected)


def made_model(places: Places, model_id: str = MODEL) -> "Model":
    """A model for the table `models`; it has no folder."""
    from spark_jobs.tables.models import Model

    at = datetime(2017, 6, 1, tzinfo=UTC)
    return Model(
        model_id=model_id,
        created_at=at,
        status="candidate",
        status_changed_at=at,
        status_reason="made for a measurement",
        path=str(places.models / model_id),
        trained_before=FIRST_DAY,
        settings="{}",
        inputs="{}",
        measures="{}",
        vocabulary_hash="0" * 64,
        code_version="-",
    )


def make_champion(lake: Lake, places: Places, *candidates: str) -> None:
    """Register the made model as champion, and others of these names beside it."""
    from spark_jobs.registry.model_status import with_champion
    from spark_jobs.tables.models import change_models

    made = {name: made_model(places, name) for name in (MODEL, *candidates)}
    change_models(lake, places, MODEL, lambda now: with_champion({**made, **now}, MODEL, "-"))


def measure(nights: int, backfills: int, points: int, users: int) -> dict[str, int]:
    """Play it all on a lake of its own, and ask the points."""
    from feature_store.published import Published
    from feature_store.store import Store
    from spark_jobs.spark.session import session

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder, session("as_known", logged=False) as spark:
        places = Places(Path(folder))
        for key, value in _FOR_TINY_TABLES.items():
            spark.conf.set(key, value)
        lake = Lake(spark, places.lake)
        make_champion(lake, places)
        made = random_writes(nights, backfills, rng)
        play_writes(lake, places, made, users, rng)
        store = Store(places)
        store.apply(Published.open(places))
        asked = random_points(made, users, points, rng)
        differing, known = differing_points(store, lake, asked)
    return {"points": points, "with_a_vector": known, "differing": differing}


def arg_parser() -> argparse.ArgumentParser:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--nights", type=int, default=30)
    parser.add_argument("--backfills", type=int, default=50)
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=40)
    return parser


def main(nights: int, backfills: int, points: int, users: int) -> int:
    figures = measure(nights, backfills, points, users)
    print_result(
        {
            "name": f"as known: {nights} nights, {backfills} backfills, {points:,} points",
            "agree": not figures["differing"],
            "figures": figures,
        }
    )
    return int(figures["differing"] > 0)


if __name__ == "__main__":
    sys.exit(main(**vars(arg_parser().parse_args())))
