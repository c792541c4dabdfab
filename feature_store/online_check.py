"""Do the online rows equal the table's newest vectors? Feast neither checks nor expires them."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from contracts.errors import GateFailed
from feature_store.definitions import view_name
from feature_store.published import Published
from feature_store.store import Store

_MAX_COMPARED_USERS = (
    1000  # users whose vectors are compared float by float; days and counts are of all
)


def check_online(store: Store, published: Published, as_of: date) -> str:
    """One line when all is well; `GateFailed` with all that differs when it is not."""
    differing = list(_differences(store, published, as_of))
    if differing:
        raise GateFailed(
            f"the online store is not what the table holds: {'; '.join(differing)}; "
            f"`userbert features apply` and `userbert features materialize --as-of {as_of}` mend it"
        )
    users = sum(published.newest_days().values())
    return f"online: {users:,} users, newest as of {published.days[-1]}, {published.model_id}"


def _differences(store: Store, published: Published, as_of: date) -> Iterator[str]:
    serving, model_id = store.serving(), published.model_id
    if as_of not in published.days:
        yield f"nothing is published as of {as_of}, the newest day is {published.days[-1]}"
    if serving != model_id:
        yield f"it serves {serving or 'nothing'}, published is {model_id}"
        return
    yield from _days(store.online.days(view_name(model_id)), published.newest_days())
    yield from _vectors(store, published)


def _days(online: dict[date, int], table: dict[date, int]) -> Iterator[str]:
    """How many users have their newest vector as of which day."""
    for day in sorted(online.keys() | table.keys()):
        if online.get(day, 0) != table.get(day, 0):
            here, there = online.get(day, 0), table.get(day, 0)
            yield f"{here:,} users online as of {day}, {there:,} in the table"


def _vectors(store: Store, published: Published) -> Iterator[str]:
    """By a fixed rule a thousand users, all where there are fewer."""
    expected = published.some_newest(_MAX_COMPARED_USERS)
    found = store.get([user for user, *_ in expected])
    for column, values in (
        ("sequence_hash", [row[2] for row in expected]),
        ("embedding", [row[3] for row in expected]),
    ):
        wrong = [
            row[0]
            for row, ours, theirs in zip(expected, found[column], values, strict=True)
            if not _equal(ours, theirs)
        ]
        if wrong:
            yield f"{len(wrong):,} of {len(expected):,} users differ in {column}, e.g. {wrong[0]}"


def _equal(ours: Any, theirs: object) -> bool:
    """A user who is not there has None for a vector, and pandas' NA for a number."""
    if isinstance(theirs, list):
        return np.array_equal(np.asarray(ours, np.float32), np.asarray(theirs, np.float32))
    return ours is not pd.NA and bool(ours == theirs)
