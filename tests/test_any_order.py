"""One corpus, in time and in order, or late, shuffled, split and doubled: the same tables."""

import json
import random
from datetime import date, datetime, timedelta

import pytest

from contracts.landing_settings import LandingSettings
from contracts.paths import Places
from contracts.tables import BROWSING_LOGS, SESSIONS, TITLES, USER_SEQUENCES
from spark_jobs.ingest.landed_days import LandedDays
from spark_jobs.ingest.landing_files import landing_parts
from spark_jobs.lake.lake import Lake
from spark_jobs.tables import sessions, titles, user_sequences
from spark_jobs.tables.browsing_logs import ingest_days

FIRST = date(2017, 1, 1)
DAYS = [FIRST + timedelta(days=n) for n in range(2)]
LAST = DAYS[-1] + timedelta(days=1)
SETTINGS = LandingSettings(
    format="jsonl", columns={"user_id": "u", "event_time": "t", "title": "p"}
)
# Of a view, the day on which it landed does not follow from when it happened.
OF_A_VIEW = [name for name in BROWSING_LOGS.names if name != "landing_day"]


def corpus():
    """By day. Nine users; sessions that pass midnight, views of one instant, titles that differ in
    case alone."""
    draw = random.Random(3)
    views = {day: [] for day in DAYS}
    for user in range(9):
        time = datetime(2017, 1, 1, 22, draw.randrange(60))
        while time.date() < LAST:
            page = f"{draw.choice(('Page', 'PAGE'))} {draw.randrange(5)}"
            views[time.date()].append({"u": f"u{user}", "t": time.isoformat(), "p": page})
            time += timedelta(minutes=draw.choice((0, 1, 10, 30, 31, 400)), milliseconds=1)
    return views


def land(places, day, name, views):
    folder = places.landing / str(day)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(f"{json.dumps(view)}\n" for view in views))


def in_time(places):
    """Each day's views in one file of their day, in order."""
    for day, views in corpus().items():
        land(places, day, "views.jsonl", views)


def anyhow(places):
    """A third of the first day's views comes a day late, some others once more; every file is
    shuffled; the second day is in two files that share some lines."""
    draw, days = random.Random(4), corpus()
    first, second = days.values()
    late, in_time = first[::3], [view for n, view in enumerate(first) if n % 3]
    for day, name, views in [
        (DAYS[0], "a.jsonl", in_time + in_time[:4]),
        (DAYS[1], "a.jsonl", second[: len(second) // 2 + 3] + late),
        (DAYS[1], "b.jsonl", second[len(second) // 2 :] + in_time[4:9]),
    ]:
        land(places, day, name, draw.sample(views, len(views)))


def run(lake, places, days, as_ofs):
    parts = landing_parts(places.landing, days, SETTINGS, False)
    lake.settle(BROWSING_LOGS, lambda: ingest_days(lake, places, LandedDays(days, parts, SETTINGS)))
    titles.update_titles(lake, places)
    sessions.update_sessions(lake, places)
    for as_of in as_ofs:
        user_sequences.update_user_sequences(lake, places, as_of, "active")


def rows(lake, table, columns=None):
    return sorted(map(repr, lake.read(table).select(columns or table.names).collect()))


@pytest.fixture(scope="module")
def lakes(spark, tmp_path_factory):
    """All days at once, and night by night as they came."""
    made = []
    for way in (in_time, anyhow):
        places = Places(tmp_path_factory.mktemp(way.__name__))
        way(places)
        made.append((Lake(spark, places.lake), places))
    (once, here), (nightly, there) = made
    as_ofs = [day + timedelta(days=1) for day in DAYS]
    run(once, here, DAYS, as_ofs)
    for day, as_of in zip(DAYS, as_ofs, strict=True):
        run(nightly, there, [day], [as_of])
    return once, nightly, there


def test_views_titles_and_sessions_are_the_same_rows(lakes):
    once, nightly, _ = lakes
    assert rows(once, BROWSING_LOGS, OF_A_VIEW) == rows(nightly, BROWSING_LOGS, OF_A_VIEW)
    for table in (TITLES, SESSIONS):
        assert rows(once, table) == rows(nightly, table)
        assert rows(once, table)


def test_a_late_view_changes_the_days_that_are_written_after_it_came(lakes):
    """A night keeps what was known in it, until it is run again."""
    once, nightly, places = lakes

    def of(lake, as_of):
        return [row for row in rows(lake, USER_SEQUENCES) if f"as_of={as_of!r}" in row]

    second = DAYS[1]
    assert of(nightly, second) != of(once, second)  # a third of its views was still to come
    assert of(nightly, LAST) == of(once, LAST)
    user_sequences.update_user_sequences(nightly, places, second, "active")
    assert rows(nightly, USER_SEQUENCES) == rows(once, USER_SEQUENCES)
