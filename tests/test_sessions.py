import random
from datetime import date, datetime, timedelta

import pytest
from pyspark.testing import assertDataFrameEqual

from contracts.tables import BROWSING_LOGS, SESSIONS
from expectations.gate import Passed
from spark_jobs.tables.sessions import (
    _cut_all,
    changed_days,
    runs_of_days,
    to_sessions,
    update_sessions,
)

DAY = date(2017, 1, 1)


def at(time, day=DAY):
    """ "10:30" or "10:30:05" of a day, or "+1 10:30" of the day after."""
    days, _, clock = time.rpartition(" ")
    return datetime.fromisoformat(f"{day + timedelta(days=int(days or 0))}T{clock}")


@pytest.fixture
def views(spark):
    def make(*rows, landing_day=date(2017, 1, 9)):
        """Rows of (user_id, time, title_id), numbered in this order, or with a log_id of theirs."""
        logged = [
            (when.date(), (row[3:] or (n,))[0], row[0], when, row[2], "t", None, landing_day)
            for n, row in enumerate(rows)
            for when in [row[1] if isinstance(row[1], datetime) else at(row[1])]
        ]
        return spark.createDataFrame(logged, BROWSING_LOGS.ddl)

    return make


def cut(frame):
    """(user, titles) of each session, by user and start."""
    found = frame.orderBy("user_id", "start_time").collect()
    return [(row["user_id"], row["title_ids"]) for row in found]


def test_a_silence_of_more_than_thirty_minutes_ends_a_session(views):
    logged = views(("u", "10:00", 1), ("u", "10:30", 2), ("u", "11:00:01", 3), ("v", "11:00", 4))
    assert cut(to_sessions(logged)) == [("u", [1, 2]), ("u", [3]), ("v", [4])]


def test_a_session_may_pass_midnight_and_is_of_the_day_it_began(views):
    row = to_sessions(views(("u", "23:50", 1), ("u", "+1 00:10", 2))).collect()[0]
    assert (row["session_date"], row["num_views"]) == (DAY, 2)
    assert (row["start_time"], row["end_time"]) == (at("23:50"), at("+1 00:10"))
    assert row["event_times"] == [at("23:50"), at("+1 00:10")]


def test_views_of_one_instant_go_by_log_id(views):
    logged = views(("u", "10:00", 5, 20), ("u", "10:00", 6, -3), ("u", "10:00", 7, 9))
    assert cut(to_sessions(logged)) == [("u", [6, 7, 5])]


def test_a_machines_day_is_set_aside_and_its_other_days_are_not(views):
    rows = [("bot", f"10:{n:02}", n) for n in range(4)] + [("u", "10:00", 7)]
    logged = views(*rows, ("bot", "+1 10:00", 8))
    assert cut(to_sessions(logged, max_views_a_day=3)) == [("bot", [8]), ("u", [7])]
    assert cut(to_sessions(logged, max_views_a_day=4))[0] == ("bot", [0, 1, 2, 3])


def some_views(seed, count=300, users=4, days=4):
    draw = random.Random(seed)
    return [
        (
            f"u{draw.randrange(users)}",
            at("0 00:00") + timedelta(minutes=draw.randrange(days * 1440)),
            n,
        )
        for n in range(count)
    ]


def by_hand(rows, limit):
    """The same rules, one view at a time: (user, titles) of each session."""
    per_day = {}
    for user, time, _ in rows:
        per_day[user, time.date()] = per_day.get((user, time.date()), 0) + 1
    rows = [row for row in rows if per_day[row[0], row[1].date()] <= limit]
    sessions, last = [], None
    for user, time, title in sorted(rows):
        if last is None or last[0] != user or time - last[1] > timedelta(minutes=30):
            sessions.append((user, []))
        sessions[-1][1].append(title)
        last = (user, time)
    return sessions


@pytest.mark.parametrize(("batch", "partitions", "limit"), [(3, 1, 20), (7, 3, 99), (1000, 2, 17)])
def test_batches_and_partitions_do_not_change_a_session(spark, views, batch, partitions, limit):
    rows = some_views(batch)
    settings = {
        "spark.sql.execution.arrow.maxRecordsPerBatch": batch,
        "spark.sql.shuffle.partitions": partitions,
    }
    before = {key: spark.conf.get(key) for key in settings}
    try:
        for key, value in settings.items():
            spark.conf.set(key, value)
        assert cut(to_sessions(views(*rows), limit)) == by_hand(rows, limit)
    finally:
        for key, value in before.items():
            spark.conf.set(key, value)


def stream(users, times, batch, user_hash=7):
    """Views as Spark gives them to Python: of one hash, numbered, in batches."""
    import pyarrow as pa

    for start in range(0, len(users), batch):
        some = slice(start, start + batch)
        numbers = pa.array(range(start, start + len(users[some])), pa.int64())
        yield pa.RecordBatch.from_arrays(
            [
                pa.array([user_hash] * len(numbers), pa.int64()),
                pa.array(users[some]),
                pa.array(times[some], pa.int64()).cast(pa.timestamp("us", "UTC")),
                numbers,
                numbers,
            ],
            ["user_hash", "user_id", "event_time", "log_id", "title_id"],
        )


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_two_users_of_one_hash_stay_two(batch):
    users, times = ["v", "u", "u", "v", "u"], [60, 50, 40, 30, 20]
    (cut,) = _cut_all(stream(users, [t * 10**6 for t in times], batch), 99)
    assert sorted(zip(*(cut.column(n).to_pylist() for n in (0, 3)), strict=True)) == [
        ("u", [4, 2, 1]),
        ("v", [3, 0]),
    ]


def test_a_machines_views_are_not_held(monkeypatch):
    """Two days of 100,000 views: what is held does not grow with them, and all are left out."""
    import pyarrow as pa

    monkeypatch.setattr("spark_jobs.transforms.user_batches.MAX_HELD_ROWS", 5_000)
    most = []

    def watched():
        day = 86_400 * 10**6
        times = [(n % 2) * day + n * 1000 for n in range(200_000)]
        for batch in stream(["bot"] * 200_000, times, 1_000):
            most.append(pa.total_allocated_bytes())
            yield batch
        yield from stream(["u"], [0], 1, user_hash=8)

    before = pa.total_allocated_bytes()
    found = [row for cut in _cut_all(watched(), 50) for row in cut.to_pylist()]
    assert [row["user_id"] for row in found] == ["u"]
    assert max(most) - before < 2 << 20  # all 200,000 are 8 MiB


def test_a_view_that_went_and_came_back_is_no_change(views):
    from pyspark.sql import functions as F

    old = views(("u", "10:00", 1), ("u", "+1 10:00", 2), ("v", "10:00", 3))
    new = views(("u", "10:00", 1), ("u", "+1 10:01", 2), ("v", "10:00", 3))
    changes = old.withColumn("added", F.lit(False)).unionByName(
        new.withColumn("added", F.lit(True))
    )
    found = [tuple(row) for row in changed_days(changes).collect()]
    assert found == [("u", DAY + timedelta(days=1))]


def test_days_that_follow_one_another_are_one_run():
    days = [date(2017, 1, 3), date(2017, 1, 1), date(2017, 1, 2), date(2017, 2, 1)]
    assert runs_of_days(days) == [
        (date(2017, 1, 1), date(2017, 1, 3)),
        (date(2017, 2, 1), date(2017, 2, 1)),
    ]


def land(lake, frame, landing_day):
    lake.replace(Passed(frame, BROWSING_LOGS, {}), f"landing_day = '{landing_day}'")


def test_late_shuffled_split_and_corrected_views_end_in_the_same_sessions(lake, places, views):
    rows = [(user, time, n, n) for n, (user, time, _) in enumerate(some_views(5, 160, users=3))]
    late, early = rows[::3], rows[1::3] + rows[2::3]  # each of all days
    wrong = [(user, time + timedelta(minutes=7), title, -1 - n) for user, time, title, n in late]
    for landing_day, landed in [(9, early), (10, wrong), (10, late)]:
        day = date(2017, 1, landing_day)
        land(lake, views(*random.Random(1).sample(landed, len(landed)), landing_day=day), day)
        update_sessions(lake, places)
    assertDataFrameEqual(lake.read(SESSIONS), to_sessions(views(*rows)), ignoreNullable=True)
    assert lake.measures(SESSIONS)["views_set_aside"] == 0
    assert update_sessions(lake, places) is None


def test_only_the_days_that_new_views_touch_are_written(lake, places, views, spark):
    first, late = date(2017, 1, 9), date(2017, 1, 10)
    land(lake, views(("u", "10:00", 1), ("u", "+1 23:50", 2), ("v", "+5 10:00", 3)), first)
    update_sessions(lake, places)
    before = lake.read(SESSIONS).where("session_date = '2017-01-06'").inputFiles()
    land(lake, views(("u", "+2 00:05", 4, 44), landing_day=late), late)
    commit = update_sessions(lake, places)
    assert cut(lake.read(SESSIONS)) == [("u", [1]), ("u", [2, 4]), ("v", [3])]
    assert commit.rows == 1  # the session of midnight, now longer; no other is on these days
    assert lake.read(SESSIONS).where("session_date = '2017-01-06'").inputFiles() == before


def test_a_gap_that_changed_since_the_last_run_cuts_all_sessions_anew(
    lake, places, views, monkeypatch
):
    land(lake, views(("u", "10:00", 1), ("u", "+1 10:00", 2)), date(2017, 1, 9))
    update_sessions(lake, places)
    assert update_sessions(lake, places) is None
    monkeypatch.setattr("spark_jobs.tables.sessions.SESSION_GAP_MINUTES", 20)
    assert update_sessions(lake, places).rows == 2
    assert lake.metadata(SESSIONS)["session_gap_minutes"] == 20
