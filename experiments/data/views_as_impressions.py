"""Impressions out of the lake's views alone, where nobody logged what was shown.

A user's session after the cut is an impression: titles of it count as clicked, and next to them
stand titles that other users viewed in the same seven days and this user did not. They are drawn as
often as they were viewed, so that popularity alone separates nothing. On the demo that is what a
household bought against what others bought that week.
"""

from datetime import date

import numpy as np
from numpy.typing import NDArray

from contracts.instants import DAY_MICROSECONDS, midnight_microseconds
from downstream.data.views import Views
from experiments.data.shown import Shown, in_time_order
from model.data.keyed_random import keyed_generator
from model.data.ragged import Ragged, offsets_of

_MAX_CLICKED = 3  # titles of a session that are shown, so that long sessions do not rule
_OTHERS_PER_CLICK = 4
_TRIES = 4  # draws for each other title, of which those that the user viewed are left out


def shown_from_views(views: Views, as_of: date, seed: int = 0) -> Shown:
    """An impression for each session that begins on `as_of` or later. Candidates are rows of the
    catalog; the users are all of `views`."""
    first = midnight_microseconds(as_of)
    late = views.between(first, np.iinfo(np.int64).max)
    weeks = (late.times - first) // (7 * DAY_MICROSECONDS)  # (R,)
    owners = late.owners()  # (R,)
    users, times, candidates, clicked = [], [], [], []
    for week in np.unique(weeks):
        in_week = weeks == week
        draw = keyed_generator(seed, "impressions of views", int(week))
        pool = late.titles[in_week]  # (n,) a title as often as it was viewed
        viewed = set(zip(owners[in_week].tolist(), pool.tolist(), strict=True))
        for start, end in _sessions(late, np.flatnonzero(in_week)):
            user, bought = int(owners[start]), np.unique(late.titles[start:end])
            if len(bought) > _MAX_CLICKED:
                bought = np.sort(draw.choice(bought, _MAX_CLICKED, replace=False))
            wanted = len(bought) * _OTHERS_PER_CLICK
            others = dict.fromkeys(draw.choice(pool, wanted * _TRIES).tolist())
            wrong = [title for title in others if (user, title) not in viewed][:wanted]
            if not wrong:
                continue
            users.append(user)
            times.append(int(late.times[start]))
            candidates.append(np.concatenate([bought, np.array(wrong, np.int64)]))
            clicked.append(np.arange(len(bought) + len(wrong)) < len(bought))
    lengths = np.array([len(row) for row in candidates], np.int64)
    return in_time_order(
        Shown(
            np.array(users, np.int64),
            np.array(times, np.int64),
            Ragged(np.concatenate([np.empty(0, np.int64), *candidates]), offsets_of(lengths)),
            np.concatenate([np.empty(0, bool), *clicked]),
        )
    )


def _sessions(views: Views, rows: NDArray[np.int64]) -> list[tuple[int, int]]:
    """(first row, end) of each session among these ascending rows; one that goes on from the week
    before counts as one that begins."""
    owners = views.owners()[rows]
    begins = views.starts_session[rows].copy()
    begins[1:] |= (owners[1:] != owners[:-1]) | (rows[1:] != rows[:-1] + 1)
    begins[:1] = True
    starts = np.flatnonzero(begins)
    ends = np.append(starts[1:], len(rows))
    return [(int(rows[a]), int(rows[b - 1]) + 1) for a, b in zip(starts, ends, strict=True)]
