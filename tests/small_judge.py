"""A lake of 120 users for the judge: who likes shoes, who likes tea, and who comes no more."""

from datetime import UTC, datetime, timedelta

import numpy as np
from small_lake import write
from small_model import DAY, TITLES

HOSTS = {11: "shop.example", 22: "tea.example", 33: "tea.example"}
NUM_USERS = 120
HORIZON_DAYS = 3
MIDNIGHT = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)


def write_views(places, views):
    """Views (user, time, title_id) as titles, browsing_logs and sessions of one view each."""
    titles = [{"title_id": i, "title": t, "words": t.split()} for i, t in TITLES.items()]
    write(places, "titles", titles)
    logs = [
        {"event_date": time.date(), "log_id": number, "user_id": user, "event_time": time,
         "title_id": title, "title": TITLES[title], "host": HOSTS[title], "landing_day": DAY}
        for number, (user, time, title) in enumerate(views)
    ]  # fmt: skip
    write(places, "browsing_logs", logs)
    sessions = [
        {"session_date": time.date(), "user_id": user, "session_id": number, "start_time": time,
         "end_time": time, "num_views": 1, "title_ids": [title], "event_times": [time]}
        for number, (user, time, title) in enumerate(views)
    ]  # fmt: skip
    write(places, "sessions", sessions)


def likes_shoes(number):
    return number % 2 == 0


def comes_again(number):
    return number % 3 > 0


def write_small_lake(places):
    """Even users view shoes, odd ones tea; every third one has no view after the cut.

    User n has 2 + n % 13 views before the cut, so that some are cold, the newest of them n % 5
    hours before it.
    """
    random = np.random.default_rng(0)
    views = []
    for number in range(NUM_USERS):
        user = f"user-{number:03d}"
        titles = [11, 11, 11, 33] if likes_shoes(number) else [22, 33, 33, 11]
        hours = [-(number % 5) - 1 - 20.5 * place for place in range(2 + number % 13)]
        if comes_again(number):
            hours += [1 + number % 60, 71]
        views += [
            (user, MIDNIGHT + timedelta(hours=hour), int(random.choice(titles))) for hour in hours
        ]
    write_views(places, views)
