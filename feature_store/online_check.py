"""Do the online rows equal the table's newest vectors? Feast neither checks nor expires them."""

from collections.abc import Iterator
from datetime import date

import pandas as pd

from contracts.errors import GateFailed
from contracts.vectors import service_name
from feature_store.consistency import Consistency, compare_fetches, compare_rows
from feature_store.definitions import USER_KEY
from feature_store.published import Published
from feature_store.store import Store, exact_frame

# Users whose features are fetched and compared whole, others on each day; the days are everybody's.
MAX_FETCHES = 10_000
_USERS_A_FETCH = 1_000


def check_online(
    store: Store, published: Published, as_of: date, max_fetches: int = MAX_FETCHES
) -> str:
    """One line when all is well; `GateFailed` with all that differs when it is not."""
    differing = list(_differences(store, published, as_of, max_fetches))
    if differing:
        raise GateFailed(
            f"the online store is not what the table holds: {'; '.join(differing)}; `userbert "
            f"features apply` and `userbert features materialize --as-of {published.days[0]}` mend "
            "it: they write everybody anew"
        )
    users = len(published.user_rows())
    return (
        f"online: {users:,} users, newest as of {published.days[-1]}, {published.model_id}; "
        f"{Consistency()}; {min(users, max_fetches):,} fetched and compared whole"
    )


def _differences(
    store: Store, published: Published, as_of: date, max_fetches: int
) -> Iterator[str]:
    serving, model_id = store.serving(), published.model_id
    if as_of not in published.days:
        yield f"nothing is published as of {as_of}, the newest day is {published.days[-1]}"
    if serving != model_id:
        yield f"it serves {serving or 'nothing'}, published is {model_id}"
        return
    found = measure_consistency(store, published, max_fetches)
    if not found.is_consistent:
        yield str(found)


def measure_consistency(
    store: Store, published: Published, max_fetches: int = MAX_FETCHES
) -> Consistency:
    """Of everybody's day and content, and of all features of `max_fetches` users."""
    rows = compare_rows(
        store.online.user_rows(service_name(published.model_id)), published.user_rows()
    )
    expected = exact_frame(published.newest_rows(max_fetches))
    users = list(expected[USER_KEY])
    parts = [users[i : i + _USERS_A_FETCH] for i in range(0, len(users), _USERS_A_FETCH)]
    if not parts:
        return rows
    fetched = pd.concat([store.get(part) for part in parts], ignore_index=True)
    return rows.joined(compare_fetches(fetched, expected))
