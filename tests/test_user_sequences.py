from datetime import date, datetime, timedelta

import pytest
from pyspark.sql import functions as F

from contracts.limits import MAX_HISTORY_VIEWS
from contracts.tables import SESSIONS, USER_SEQUENCES
from expectations.gate import Passed
from spark_jobs.tables.user_sequences import to_sequences, update_user_sequences

AS_OF = date(2017, 1, 10)


@pytest.fixture
def sessions(spark):
    def make(*rows):
        """Rows of (user_id, "day hh:mm" of January, title_ids): a view a minute from then on."""
        made = []
        for user, time, titles in rows:
            day, clock = time.split()
            start = datetime.fromisoformat(f"2017-01-{int(day):02}T{clock}")
            times = [start + timedelta(minutes=n) for n in range(len(titles))]
            made.append((start.date(), user, 0, start, times[-1], len(titles), titles, times))
        frame = spark.createDataFrame(made, SESSIONS.ddl)
        return frame.withColumn("session_id", F.xxhash64("user_id", "start_time"))

    return make


def titles(frame):
    return {row["user_id"]: row["title_ids"] for row in frame.collect()}


def test_active_users_have_their_views_from_all_days_oldest_first(sessions):
    found = titles(
        to_sequences(
            sessions(("u", "9 10:00", [3, 4]), ("u", "2 10:00", [1, 2]), ("idle", "8 10:00", [5])),
            AS_OF,
        )
    )
    assert found == {"u": [1, 2, 3, 4]}


def test_views_from_the_day_itself_are_cut_even_inside_a_session(sessions):
    found = to_sequences(sessions(("u", "9 23:58", [1, 2, 3]), ("v", "10 00:00", [4])), AS_OF)
    row = found.collect()[0]
    assert (row["user_id"], row["title_ids"], row["num_views"]) == ("u", [1, 2], 2)
    assert row["last_view_time"] == datetime(2017, 1, 9, 23, 59)
    assert found.count() == 1


def test_a_session_that_began_before_the_last_day_makes_its_user_active(sessions):
    found = to_sequences(sessions(("u", "8 23:58", [1, 2, 3]), ("v", "8 23:57", [4, 5, 6])), AS_OF)
    assert titles(found) == {"u": [1, 2, 3]}


def test_only_the_newest_views_of_a_long_history_are_kept(sessions):
    old, new = range(1200), range(1200, MAX_HISTORY_VIEWS + 30)
    found = to_sequences(sessions(("u", "9 00:00", list(new)), ("u", "8 00:00", list(old))), AS_OF)
    assert titles(found) == {"u": list(range(30, MAX_HISTORY_VIEWS + 30))}


def test_equal_sequences_have_equal_hashes_and_order_and_times_count(sessions):
    found = to_sequences(
        sessions(
            ("u", "9 10:00", [1, 2]),
            ("v", "9 10:00", [1, 2]),
            ("later", "9 11:00", [1, 2]),
            ("swapped", "9 10:00", [2, 1]),
        ),
        AS_OF,
    )
    hashes = {row["user_id"]: row["sequence_hash"] for row in found.collect()}
    assert hashes["u"] == hashes["v"]
    assert len(set(hashes.values())) == 3


def test_a_day_is_replaced_and_other_days_stay(lake, places, sessions):
    lake.replace(
        Passed(sessions(("u", "8 10:00", [1]), ("u", "9 10:00", [2])), SESSIONS, {}), "true"
    )
    update_user_sequences(lake, places, date(2017, 1, 9))
    for _ in range(2):
        update_user_sequences(lake, places, AS_OF)
    found = lake.read(USER_SEQUENCES).orderBy("as_of").collect()
    assert [(row["as_of"].day, row["title_ids"]) for row in found] == [(9, [1]), (10, [1, 2])]
