"""A synthetic corpus with the paper's proportions, for benchmarks that need no lake.

63,178,293 views of 500,000 users are 126.4 a user (Table 1), here log-normal; A is the newest 100
of the first half of a user's views, B the first 100 of the second half. 100,000 words, by Zipf's
law, about ten of them a title; one title for every twelve views, by Zipf's law too.
"""

import numpy as np
from numpy.typing import NDArray

from contracts.limits import MAX_TITLE_WORDS, MAX_VIEWS
from model.data.corpus import Corpus
from model.data.ragged import Ragged, offsets_of

NUM_WORDS = 100_000
VIEWS_A_USER = 63_178_293 / 500_000
ACTIVITY_SPREAD = 1.0  # of the logarithm of a user's views
TITLES_A_VIEW = 0.08
WORDS_A_TITLE = 10
SIX_MONTHS_MICROSECONDS = 181 * 86_400 * 10**6  # the paper's six months


def synthetic_corpus(num_users: int = 8000, seed: int = 0) -> Corpus:
    """About 126 views a user; the same for the same arguments."""
    draw = np.random.default_rng(seed)
    mean = np.log(VIEWS_A_USER) - ACTIVITY_SPREAD**2 / 2
    views = np.maximum(2, draw.lognormal(mean, ACTIVITY_SPREAD, num_users).astype(np.int64))
    num_titles = int(views.sum() * TITLES_A_VIEW)
    titles = _zipf(draw, num_titles, 0.8, int(views.sum())).astype(np.int32)
    times = np.concatenate(
        [np.sort(draw.integers(0, SIX_MONTHS_MICROSECONDS, each)) for each in views]
    )
    halves = views // 2
    lengths = np.column_stack([halves, views - halves]).clip(max=MAX_VIEWS)
    middle = offsets_of(views)[:-1] + halves
    starts = np.column_stack([middle - lengths[:, 0], middle]).ravel()
    offsets = offsets_of(lengths.ravel())
    places = np.repeat(starts - offsets[:-1], lengths.ravel()) + np.arange(offsets[-1])
    return Corpus(
        title_ids=np.arange(num_titles),
        title_words=_title_words(draw, num_titles),
        title_identity=np.arange(num_titles, dtype=np.int32),
        sequences=Ragged(titles[places], offsets),
        times=times[places],
        sequence_users=np.repeat(np.arange(num_users, dtype=np.int32), 2),
        pairs=np.arange(2 * num_users, dtype=np.int32).reshape(-1, 2),
        behaviors=titles,
    )


def _title_words(draw: np.random.Generator, num_titles: int) -> Ragged:
    lengths = draw.negative_binomial(8, 8 / (8 + WORDS_A_TITLE - 1), num_titles) + 1
    offsets = offsets_of(lengths.clip(max=MAX_TITLE_WORDS))
    words = 2 + _zipf(draw, NUM_WORDS, 1.05, int(offsets[-1]))  # 0 is padding, 1 unknown
    return Ragged(words.astype(np.int32), offsets)


def _zipf(draw: np.random.Generator, num: int, power: float, size: int) -> NDArray[np.int64]:
    """Ranks 0 to num - 1, each as likely as (rank + 1) ** -power."""
    mass = np.cumsum(np.arange(1, num + 1) ** -power)
    return np.searchsorted(mass / mass[-1], draw.random(size)).clip(max=num - 1)
