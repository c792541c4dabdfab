"""Users with sessions on some days, and two untrained models to embed them with."""

from dataclasses import replace
from datetime import date, datetime, timedelta

from small_corpus import interests
from small_lake import write

from model.config import PRESETS
from model.training.distributed import Processes
from model.training.pretrain import pretrain_model
from spark_jobs.registry.model_status import with_champion
from spark_jobs.registry.registration import model_from_folder
from spark_jobs.tables.models import change_models

FIRST = date(2020, 2, 1)
DAYS = [FIRST + timedelta(days=n) for n in range(3)]
USERS = 6


def active(day):
    """Each user comes every other day: half of them have a view on the day before any day."""
    return [user for user in range(USERS) if (user + day.toordinal()) % 2]


def session(user, at, *title_ids):
    times = [at + timedelta(minutes=n) for n in range(len(title_ids))]
    return {
        "session_date": at.date(),
        "user_id": f"u{user:07}",
        "session_id": hash((user, at)),
        "start_time": times[0],
        "end_time": times[-1],
        "num_views": len(title_ids),
        "title_ids": list(title_ids),
        "event_times": times,
    }


def write_sessions(places, days=DAYS):
    """Of the day before each of `days`, one session of each active user."""
    rows = []
    for day in days:
        noon = datetime(day.year, day.month, day.day) - timedelta(hours=12)
        for user in active(day):
            titles = [100 * (user % 4) + (day.day + n) % 12 for n in range(2 + user)]
            rows.append(session(user, noon + timedelta(minutes=user), *titles))
    write(places, "sessions", rows)


def two_models(lake, places):
    """(old, new): the model_ids; old is the champion. Also writes titles and sequence_pairs."""
    given = interests(places)
    tiny = PRESETS["tiny"]
    configs = [
        replace(tiny, steps=0, seed=seed, model=replace(tiny.model, width=256)) for seed in (0, 1)
    ]
    folders = [pretrain_model(given, c, places.models, Processes(), threads=1) for c in configs]
    known = {model.model_id: model for model in map(model_from_folder, folders)}
    old, new = (folder.name for folder in folders)
    change_models(lake, places, "test", lambda now: with_champion({**now, **known}, old, "test"))
    return old, new
