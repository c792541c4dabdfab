import random
from datetime import date, datetime, timedelta
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from contracts.limits import MAX_VIEWS
from contracts.tables import SEQUENCE_PAIRS, SESSIONS
from expectations.gate import Passed
from spark_jobs.tables.sequence_pairs import (
    run_starts,
    to_pairs,
    trimmed_starts,
    update_sequence_pairs,
)
from spark_jobs.transforms.session_views import Views

AS_OF = date(2017, 7, 1)
SINCE = AS_OF - timedelta(days=181)


@pytest.fixture
def sessions(spark):
    def make(*rows):
        """Rows of (user_id, first instant, title_ids): a view a second from then on."""
        made = []
        for user, start, titles in rows:
            times = [start + timedelta(seconds=n) for n in range(len(titles))]
            made.append((start.date(), user, 0, start, times[-1], len(titles), titles, times))
        frame = spark.createDataFrame(made, SESSIONS.ddl)
        return frame.withColumn("session_id", F.xxhash64("user_id", "start_time"))

    return make


def history(user, *lengths, start=datetime(2017, 3, 1)):
    """One session a day, of so many views, titled 0, 1, 2, ... over all of them."""
    ends = [sum(lengths[: n + 1]) for n in range(len(lengths))]
    return [
        (user, start + timedelta(days=n), list(range(end - lengths[n], end)))
        for n, end in enumerate(ends)
    ]


def pairs(frame):
    found = frame.orderBy("user_id", "pair_id").collect()
    return [
        (row["user_id"], row["pair_id"], row["a_title_ids"], row["b_title_ids"]) for row in found
    ]


def numbers(*bounds):
    return list(range(*bounds))


def test_two_sessions_make_a_pair_and_one_makes_none(sessions):
    made = to_pairs(sessions(*history("u", 2, 3), *history("v", 5)), AS_OF, 181)
    assert pairs(made) == [("u", 0, [0, 1], [2, 3, 4])]


def test_the_boundary_is_the_session_start_nearest_to_the_middle_the_earlier_of_two(sessions):
    made = to_pairs(sessions(*history("u", 2, 3, 2, 3), *history("v", 1, 1, 1)), AS_OF, 181)
    assert pairs(made) == [
        ("u", 0, numbers(5), numbers(5, 10)),
        ("v", 0, [0], [1, 2]),
    ]


def test_a_long_history_has_several_pairs_of_runs_that_follow_one_another(sessions):
    made = to_pairs(sessions(*history("u", *[50] * 6)), AS_OF, 181)
    assert pairs(made) == [
        ("u", 0, numbers(100), numbers(100, 200)),
        ("u", 1, numbers(100, 200), numbers(200, 300)),
    ]


def test_a_run_that_is_too_long_drops_its_oldest_sessions_or_keeps_the_newest_views(sessions):
    made = to_pairs(sessions(*history("u", 60, 45, 30), *history("v", 40, 130)), AS_OF, 181)
    assert pairs(made) == [
        ("u", 0, numbers(60), numbers(60, 135)),
        ("v", 0, numbers(40), numbers(70, 170)),
    ]
    made = to_pairs(sessions(*history("w", 30, 45, 50, 70)), AS_OF, 181)
    assert pairs(made) == [("w", 0, numbers(75), numbers(125, 195))]


def test_views_outside_the_window_are_left_out_inside_sessions_too(sessions):
    eve = datetime.combine(SINCE, datetime.min.time()) - timedelta(seconds=1)
    end = datetime.combine(AS_OF, datetime.min.time()) - timedelta(seconds=2)
    before = ("u", eve - timedelta(days=2), [9, 9])
    made = to_pairs(sessions(before, ("u", eve, [1, 2, 3]), ("u", end, [4, 5, 6])), AS_OF, 181)
    assert pairs(made) == [("u", 0, [2, 3], [4, 5])]


def by_hand(lengths):
    """The same rules, one user at a time: (first view, end) of each run."""
    starts = [sum(lengths[:n]) for n in range(len(lengths))]
    views = sum(lengths)
    n = max(2, -(-views // MAX_VIEWS))
    bounds = {0}
    for k in range(1, n):
        bounds.add(min(starts[1:], key=lambda start: (abs(n * start - k * views), start)))
    bounds = [*sorted(bounds), views]
    runs = []
    for low, end in pairwise(bounds):
        fit = [start for start in starts if low <= start < end and end - start <= MAX_VIEWS]
        runs.append((min(fit) if fit else end - MAX_VIEWS, end))
    return runs


def test_runs_are_as_the_rules_say_for_many_users_at_once():
    draw = random.Random(3)
    users = [
        [draw.choice([1, 2, 5, 30, 90, 250]) for _ in range(draw.randint(2, 40))]
        for _ in range(300)
    ]
    totals = np.array([sum(lengths) for lengths in users])
    ends = np.cumsum(totals)
    flat = np.array([length for lengths in users for length in lengths])
    session_starts = np.cumsum(flat) - flat
    nothing = pa.nulls(int(ends[-1]))
    views = Views(nothing, ends - totals, ends, session_starts, nothing, nothing)
    starts = run_starts(views)
    run_ends = np.append(starts[1:], ends[-1])
    low = trimmed_starts(starts, run_ends, session_starts)
    expected = [
        (offset + a, offset + b)
        for offset, lengths in zip(ends - totals, users, strict=True)
        for a, b in by_hand(lengths)
    ]
    assert list(zip(low, run_ends, strict=True)) == expected


def test_partitions_do_not_change_a_pair(spark, sessions):
    rows = [row for n in range(20) for row in history(f"u{n}", *[7 * n % 11 + 1] * (n + 1))]
    shuffled = random.Random(1).sample(rows, len(rows))
    before = spark.conf.get("spark.sql.shuffle.partitions")
    found = []
    try:
        for partitions, frame in ((1, sessions(*rows)), (5, sessions(*shuffled))):
            spark.conf.set("spark.sql.shuffle.partitions", partitions)
            found.append(pairs(to_pairs(frame, AS_OF, 181)))
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", before)
    assert found[0] == found[1]


def test_a_day_is_replaced(lake, places, sessions):
    lake.replace(Passed(sessions(*history("u", 2, 3), *history("v", 1, 1)), SESSIONS, {}), "true")
    for _ in range(2):
        update_sequence_pairs(lake, places, AS_OF, 181)
    assert lake.read(SEQUENCE_PAIRS).count() == 2
    assert lake.metadata(SEQUENCE_PAIRS)["days"] == 181
