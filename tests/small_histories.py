"""Histories of a few months, made in memory or as tables, of users with habits of their own."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
from small_lake import write
from tiny_corpus import corpus_of

from contracts.instants import DAY_MICROSECONDS, midnight_microseconds
from model.config import PRESETS, ModelConfig
from model.data.corpus import TrainingInput
from model.data.histories import Histories
from model.data.ragged import Ragged
from model.data.vocabulary import Vocabulary

DAY = date(2020, 5, 1)
NUM_DAYS = 120
NUM_TITLES = 12
SMALL_MEMORY = replace(
    PRESETS["memory"],
    model=ModelConfig(
        form="memory",
        width=16,
        heads=2,
        title_width=8,
        soft_counts=6,
        activity_soft_counts=2,
        hidden_width=12,
        activity_width=6,
        num_classes=10,
        dropout=0.0,
    ),
    batch_size=8,
    steps=6,
    warmup_steps=0,
    cooldown_steps=0,
    validation_interval=3,
    checkpoint_interval=3,
    validation_pairs=16,
)


def random_histories(num_users=40, seed=0, end=DAY):
    """A user views a title on some days, most of them of one kind; the last fifth is held out."""
    draw = np.random.default_rng(seed)
    titles, times = [], []
    for user in range(num_users):
        days = np.sort(draw.choice(NUM_DAYS, size=int(draw.integers(8, 60)), replace=False))
        instants = midnight_microseconds(end) - (NUM_DAYS - days) * DAY_MICROSECONDS
        instants = instants + draw.integers(0, DAY_MICROSECONDS, len(days))
        kinds = np.where(draw.random(len(days)) < 0.7, user % 3, draw.integers(0, 3, len(days)))
        titles.append(4 * kinds + draw.integers(0, 4, len(days)))
        times.append(instants)
    rows = Ragged.of(titles, np.int32)
    held_out = max(2, num_users // 5)
    return Histories(
        rows, np.concatenate(times), num_users - held_out, held_out // 2, midnight_microseconds(end)
    )


def input_of(histories):
    """What a training takes: titles of two words each, and a few pairs to be asked about."""
    words = [[2 + nth // 4, 5 + nth] for nth in range(NUM_TITLES)]
    people = []
    for user in range(len(histories)):
        views = list(zip(*(_views(histories, user)), strict=True))
        middle = len(views) // 2
        people.append((views[:middle], views[middle:]))
    corpus = corpus_of(words, people)
    corpus = type(corpus)(**{**vars(corpus), "histories": histories})
    pairs = np.arange(len(corpus.pairs), dtype=np.int32)
    first, middle = histories.num_training, histories.num_training + histories.num_validation
    return TrainingInput(
        corpus=corpus,
        vocabulary=Vocabulary(tuple(f"w{nth}" for nth in range(3 + NUM_TITLES))),
        training_pairs=pairs[:first],
        validation_pairs=pairs[first:middle],
        test_pairs=pairs[middle:],
        as_of=DAY,
        inputs={},
        content="made here",
    )


def _views(histories, user):
    start, stop = histories.titles.offsets[[user, user + 1]]
    return histories.times[start:stop].tolist(), histories.titles[user].tolist()


def write_sessions(places, sessions, title_words):
    """`sessions`: (user, [(days before DAY, title), ...]); a row of the table each."""
    write(places, "titles", [{"title_id": t, "words": w} for t, w in title_words.items()])
    midnight = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
    rows = []
    for nth, (user, views) in enumerate(sessions):
        times = [midnight - timedelta(days=days) for days, _ in views]
        rows.append(
            {
                "session_date": times[0].date(),
                "user_id": user,
                "session_id": nth,
                "start_time": times[0],
                "end_time": times[-1],
                "num_views": len(views),
                "title_ids": [title for _, title in views],
                "event_times": times,
            }
        )
    write(places, "sessions", rows)
