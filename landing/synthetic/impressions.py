"""What generated users are shown and click, with the truth behind each click.

impressions/generated.parquet   impression_id, user_id, event_time, title, clicked: what a site logs
planted/impressions.parquet     the same rows with topic, weight, is_lasting and probability

An impression shows ten titles. Some are of topics that interest the user, the others of any topic,
and the chance of a click rises with the weight of the topic in the user's interests of that day.
The draws have a key of their own, so the logs' bytes do not depend on them.
"""

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from contracts.storage.atomic_write import atomic_file
from landing.synthetic.browsing import Purpose, Users, World, day_number
from landing.synthetic.lines import user_ids
from landing.synthetic.titles import (
    NUM_TOPICS,
    TOPIC_NAMES,
    Catalogue,
    Floats,
    Ints,
    title_codes,
)

TITLES_SHOWN = 10
_SHARE_OF_INTERESTING = 0.4  # of the titles shown: drawn from the user's interests
_CLICK_OF_NO_INTEREST, _CLICK_OF_WEIGHT = 0.04, 1.1  # chance of a click: the one + the other * w
_DAY_MS = 86_400_000
_LOGGED: dict[str, pa.DataType] = {
    "impression_id": pa.string(),
    "user_id": pa.string(),
    "event_time": pa.timestamp("ms", "UTC"),
    "title": pa.string(),
    "clicked": pa.bool_(),
}
_PLANTED: dict[str, pa.DataType] = {
    **_LOGGED,
    "topic": pa.string(),
    "weight": pa.float64(),  # of the topic in the user's interests; 0 of none
    "is_lasting": pa.bool_(),  # null where the topic is no interest
    "probability": pa.float64(),  # of the click
}


@dataclass(frozen=True)
class ShownTitles:
    """The impressions of a block and a day.

    Shapes: I impressions, S = TITLES_SHOWN.
        users, ms                       (I,) rows of the block; milliseconds of the day
        codes, topics                   (I, S)
        weights, is_lasting, clicked    (I, S)
    """

    users: Ints
    ms: Ints
    codes: Ints
    topics: Ints
    weights: Floats
    is_lasting: npt.NDArray[np.bool_]
    clicked: npt.NDArray[np.bool_]


def _click_probability(weights: Floats) -> Floats:
    """The chance of a click on a title of a topic with this weight among the user's interests."""
    return np.minimum(_CLICK_OF_NO_INTEREST + _CLICK_OF_WEIGHT * weights, 1.0)


def _shown_titles(world: World, users: Users, block: int, day: int, rate: float) -> ShownTitles:
    """The impressions of one day: `rate` for each session, on average; active users have more."""
    rng = world.rng(Purpose.IMPRESSIONS, block, day)
    num = rng.poisson(users.activity[-1] * rate)
    rows = np.searchsorted(users.activity, np.sort(rng.random(num)) * users.activity[-1])  # (I,)
    topics, weights = _interests(world, users, rows, day)  # (I, L + 1) each
    shape = (num, TITLES_SHOWN)
    upto = np.cumsum(weights, axis=1)[:, None, :]  # (I, 1, L + 1)
    slot = (rng.random((*shape, 1)) >= upto).sum(axis=2)  # (I, S)
    own = np.take_along_axis(topics, np.minimum(slot, topics.shape[1] - 1), axis=1)  # (I, S)
    anything = rng.integers(0, NUM_TOPICS, shape)
    shown = np.where(rng.random(shape) < _SHARE_OF_INTERESTING, own, anything)
    is_interest = (shown[:, :, None] == topics[:, None, :]) & (weights[:, None, :] > 0)
    weight = (is_interest * weights[:, None, :]).sum(axis=2)  # (I, S, L + 1) -> (I, S)
    is_news = rng.random(shape) < 0.5
    size = np.where(is_news, world.news, world.evergreens)
    # Zipf's law by its inverse, as `zipf_ranks`, for titles of two sizes of catalogue.
    ranks = np.minimum((size + 1.0) ** rng.random(shape) - 1.0, size - 1.0).astype(np.int64)
    codes = title_codes(shown, np.where(is_news, day, 0), ranks, np.zeros(shape, np.int64))
    return ShownTitles(
        users.first + rows,
        (rng.random(num) * _DAY_MS).astype(np.int64),
        codes,
        shown,
        weight,
        is_interest[:, :, :-1].any(axis=2),
        rng.random(shape) < _click_probability(weight),
    )


def _interests(world: World, users: Users, rows: Ints, day: int) -> tuple[Ints, Floats]:
    """Topics and weights of these users on a day, the passing interest last: (I, L + 1) each."""
    lasting = np.diff(users.upto[rows].astype(np.float64), axis=1, prepend=0.0)  # (I, L)
    epoch = (day + users.phase[rows].astype(np.int64)) // users.period[rows]
    passing = world.drifting(users, rows, epoch)  # (I,)
    weights = np.column_stack(
        [lasting * (1 - world.drifting_share), np.full(len(rows), world.drifting_share)]
    )
    return np.column_stack([users.topics[rows].astype(np.int64), passing]), weights


def write_impressions(world: World, days: Iterable[date], rate: float, root: Path) -> int:
    """Write the impressions of all users and days below `root`; returns how many."""
    num, catalogue = 0, Catalogue(world.seed)
    blocks = [world.users(block) for block in range(world.num_blocks)]
    with ExitStack() as stack:
        logged, planted = (
            stack.enter_context(
                pq.ParquetWriter(stack.enter_context(atomic_file(root / path)), pa.schema(columns))
            )
            for path, columns in (
                ("impressions/generated.parquet", _LOGGED),
                ("planted/impressions.parquet", _PLANTED),
            )
        )
        for day in map(day_number, days):
            for block, users in enumerate(blocks):
                shown = _shown_titles(world, users, block, day, rate)
                table = _table(shown, catalogue, f"{day}-{block}-", day)
                planted.write_table(table)
                logged.write_table(table.select(list(_LOGGED)))
                num += len(shown.users)
    return num


def _table(shown: ShownTitles, catalogue: Catalogue, prefix: str, day: int) -> pa.Table:
    """A row for each title that was shown."""
    repeated = [np.repeat(each, TITLES_SHOWN) for each in (shown.users, shown.ms)]
    names = [f"{prefix}{n}" for n in range(len(shown.users)) for _ in range(TITLES_SHOWN)]
    weights, is_lasting = shown.weights.ravel(), shown.is_lasting.ravel()
    columns: list[Any] = [
        pa.array(names, pa.string()),
        user_ids(repeated[0]),
        pa.array(repeated[1] + day * _DAY_MS).cast(_LOGGED["event_time"]),
        catalogue.texts(shown.codes.ravel()),
        pa.array(shown.clicked.ravel()),
        pa.array(TOPIC_NAMES).take(shown.topics.ravel()),
        pa.array(weights),
        pa.array(is_lasting, mask=weights == 0),
        pa.array(_click_probability(weights)),
    ]
    return pa.Table.from_arrays(columns, schema=pa.schema(_PLANTED))
