"""A lake of 60 users with pairs before a day, sessions around it, and titles with texts."""

from datetime import UTC, datetime, timedelta

import numpy as np
from small_corpus import DAY, INTERESTS, TITLES_AN_INTEREST, write_interests
from small_lake import write

MIDNIGHT = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
NUM_USERS = 60
DAYS_AFTER = 6
TEXTS = {9001: "red shoes", 9002: "green tea"}


def write_clicks_lake(places, days_before=(3,)):
    """User n views titles of interest n % 4: in a session on each of some days before the day, and
    on each of six days from it on, all at an hour of the user's own."""
    write_interests(places, users=NUM_USERS)
    write(places, "titles", [{"title_id": i, "title": t, "words": t.split()}
                             for i, t in TEXTS.items()])  # fmt: skip
    draw, sessions, logs = np.random.default_rng(1), [], []
    for number in range(NUM_USERS):
        for day in (*(-days for days in days_before), *range(DAYS_AFTER)):
            start = MIDNIGHT + timedelta(days=day, minutes=20 * number)
            ids = 100 * (number % INTERESTS) + draw.integers(0, TITLES_AN_INTEREST, 3)
            titles = [int(title) for title in ids] + [list(TEXTS)[number % 2]]
            times = [start + timedelta(minutes=nth) for nth in range(len(titles))]
            sessions.append(
                {"session_date": start.date(), "user_id": f"user{number}",
                 "session_id": len(sessions), "start_time": start, "end_time": times[-1],
                 "num_views": len(titles), "title_ids": titles, "event_times": times}
            )  # fmt: skip
            logs.append({"event_date": start.date(), "log_id": len(logs), "title_id": titles[0],
                         "user_id": f"user{number}", "event_time": start})  # fmt: skip
    write(places, "sessions", sessions)
    write(places, "browsing_logs", logs)
