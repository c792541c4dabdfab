"""A lake of users with planted interests, small enough to train on within seconds."""

from datetime import date, datetime, timedelta

import numpy as np
from small_lake import write

from model.data.build_corpus import training_input

DAY = date(2020, 1, 31)
INTERESTS = 4
TITLES_AN_INTEREST = 12
WORDS_AN_INTEREST = 6


def write_interests(places, users=60, pairs=2, views=12):
    """Users of one interest each: three of four views are of titles in that interest's words."""
    draw = np.random.default_rng(0)
    titles = [
        {"title_id": 100 * interest + nth, "words": [f"w{interest}{word}" for word in words]}
        for interest in range(INTERESTS)
        for nth in range(TITLES_AN_INTEREST)
        for words in [draw.choice(WORDS_AN_INTEREST, size=1 + nth % 4, replace=False)]
    ]
    write(places, "titles", titles)
    rows = []
    for user in range(users):
        for nth in range(pairs):
            # A user's pairs follow each other; users begin at different hours of a month.
            start = datetime(2020, 1, 1) + timedelta(hours=7 * (user % 80) + 3 * nth)
            sides = {side: _views(draw, user, views - (user + nth) % 5) for side in "ab"}
            times = {
                side: [start + timedelta(hours=hour, minutes=i) for i in range(len(sides[side]))]
                for side, hour in (("a", 0), ("b", 1))
            }
            rows.append(
                {"as_of": DAY, "user_id": f"user{user}", "pair_id": nth}
                | {f"{side}_title_ids": ids for side, ids in sides.items()}
                | {f"{side}_event_times": when for side, when in times.items()}
                | {f"{side}_start": when[0] for side, when in times.items()}
                | {f"{side}_end": when[-1] for side, when in times.items()}
            )
    write(places, "sequence_pairs", rows)


def _views(draw, user, count):
    interests = np.where(draw.random(count) < 0.75, user % INTERESTS, draw.integers(0, 4, count))
    return [int(100 * interest + draw.integers(TITLES_AN_INTEREST)) for interest in interests]


def interests(places, **size):
    write_interests(places, **size)
    return training_input(places.lake, DAY, places.arrays, max_words=30, max_views=100)
