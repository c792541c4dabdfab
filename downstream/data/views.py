"""All views of the judged users as numpy arrays, and the cut between vectors and labels."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyst.lake_access.open_lake import OpenLake
from contracts.instants import midnight_microseconds
from contracts.errors import MissingTable
from contracts.limits import PRETRAINING_DAYS
from contracts.tables import BROWSING_LOGS, SESSIONS, TITLES
from model.data.ragged import Ragged, offsets_of, owners_of
from model.data.vocabulary import Arrow



@dataclass(frozen=True, eq=False)
class TitleCatalog:
    """Every title that a judged user viewed.

    Shapes: T titles.
        title_ids  (T,) int64, ascending
        words      (T,) Arrow lists of words
        hosts      (T,) int64 rows of `host_names`: the host that logs name most often for a title
    """

    title_ids: NDArray[np.int64]
    words: Arrow
    hosts: NDArray[np.int64]
    host_names: list[str]


@dataclass(frozen=True, eq=False)
class Views:
    """The views of N users, oldest first, one user after the other.

    Shapes: N users, R views.
        user_ids         (N,) text, ascending
        offsets          (N + 1,) int64: user i has the views offsets[i] to offsets[i + 1]
        titles           (R,) int64 rows of the catalog
        times            (R,) int64 microseconds since 1970, UTC
        starts_session   (R,) bool
    """

    user_ids: NDArray[np.str_]
    offsets: NDArray[np.int64]
    titles: NDArray[np.int64]
    times: NDArray[np.int64]
    starts_session: NDArray[np.bool_]
    catalog: TitleCatalog

    def __len__(self) -> int:
        return len(self.user_ids)

    def counts(self) -> NDArray[np.int64]:
        """(N,) views of each user."""
        return np.diff(self.offsets)

    def owners(self) -> NDArray[np.int64]:
        """(R,) the row of the user of each view."""
        return owners_of(self.counts())

    def title_rows(self) -> Ragged:
        """(N rows) of the catalog, oldest first."""
        return Ragged(self.titles, self.offsets)

    def between(self, start: int, end: int) -> "Views":
        """The views with start <= time < end, in microseconds, of the same users."""
        return self.where((self.times >= start) & (self.times < end))

    def before(self, day: date) -> "Views":
        return self.where(self.times < midnight_microseconds(day))

    def newest(self, limit: int) -> "Views":
        """At most `limit` views of each user, the newest."""
        places_from_end = np.repeat(self.offsets[1:], self.counts()) - np.arange(len(self.times))
        return self.where(places_from_end <= limit)

    def of_users(self, chosen: NDArray[np.bool_]) -> "Views":
        """The users for whom the (N,) mask holds."""
        kept = self.where(np.repeat(chosen, self.counts()))
        offsets = offsets_of(kept.counts()[chosen])
        return Views(
            self.user_ids[chosen],
            offsets,
            kept.titles,
            kept.times,
            kept.starts_session,
            self.catalog,
        )

    def where(self, chosen: NDArray[np.bool_]) -> "Views":
        """The views for which the (R,) mask holds, of the same users."""
        totals = offsets_of(chosen.astype(np.int64))  # (R,) -> (R + 1,) views kept so far
        return Views(
            self.user_ids,
            totals[self.offsets],
            self.titles[chosen],
            self.times[chosen],
            self.starts_session[chosen],
            self.catalog,
        )


def newest_cut(lake: OpenLake, horizon_days: int) -> date:
    """The latest day that still has `horizon_days` whole days of views after it."""
    lake.need(SESSIONS)
    newest = lake.sql("SELECT max(end_time)::DATE FROM sessions").fetchone()
    if newest is None or newest[0] is None:
        raise MissingTable("sessions has no rows: run `userbert sessions` for some days first")
    day: date = newest[0]
    return day + timedelta(days=1 - horizon_days)


def read_views(lake: OpenLake, as_of: date, horizon_days: int, max_users: int) -> Views:
    """The views until the end of the horizon of each user who viewed in the window before `as_of`.

    The window is that of pre-training. Of more than `max_users` users those with the lowest hash
    are kept, so that a second run judges the same ones. The order of views is that of
    `user_sequences`, so the newest of them are the sequence that a night embeds.
    """
    lake.need(SESSIONS, TITLES, BROWSING_LOGS)
    table = lake.connection.execute(
        """WITH judged AS (
            SELECT user_id FROM sessions
            WHERE start_time < $cut::DATE AND end_time >= $window::DATE
            GROUP BY user_id ORDER BY hash(user_id), user_id LIMIT $max_users
        ), viewed AS (
            SELECT user_id, start_time, unnest(title_ids) AS title_id,
                unnest(event_times) AS event_time, unnest(range(num_views)) AS place
            FROM sessions JOIN judged USING (user_id) WHERE start_time < $end::DATE
        )
        SELECT user_id, title_id, epoch_us(event_time) AS time, place = 0 AS starts
        FROM viewed WHERE event_time < $end::DATE ORDER BY user_id, start_time, place""",
        {
            "cut": as_of,
            "window": as_of - timedelta(days=PRETRAINING_DAYS),
            "end": as_of + timedelta(days=horizon_days),
            "max_users": max_users,
        },
    ).to_arrow_table()
    if not table.num_rows:
        raise MissingTable(
            f"no user has a view in the {PRETRAINING_DAYS} days before {as_of}: "
            "choose another day with --as-of"
        )
    users = np.array(table["user_id"].to_pylist(), np.str_)
    titles = table["title_id"].to_numpy()
    title_ids, rows = np.unique(titles, return_inverse=True)
    # DuckDB orders text by bytes and numpy by code points: for UTF-8 these orders are the same.
    user_ids, firsts = np.unique(users, return_index=True)
    return Views(
        user_ids,
        np.append(firsts, len(users)).astype(np.int64),
        rows.astype(np.int64),
        table["time"].to_numpy(),
        table["starts"].to_numpy(zero_copy_only=False),
        _catalog(lake, title_ids),
    )


def _catalog(lake: OpenLake, title_ids: NDArray[np.int64]) -> TitleCatalog:
    import pyarrow as pa

    lake.connection.register("judged_titles", pa.table({"title_id": pa.array(title_ids)}))
    try:
        table: Any = lake.sql(
            """WITH hosts AS (
                SELECT title_id, host, row_number() OVER (
                    PARTITION BY title_id ORDER BY count(*) DESC, host
                ) AS place
                FROM browsing_logs WHERE host IS NOT NULL GROUP BY title_id, host
            )
            SELECT title_id, words, coalesce(host, '') AS host
            FROM judged_titles JOIN titles USING (title_id)
            LEFT JOIN (FROM hosts WHERE place = 1) USING (title_id) ORDER BY title_id"""
        ).to_arrow_table()
    finally:
        lake.connection.unregister("judged_titles")
    if table.num_rows < len(title_ids):
        raise MissingTable(
            f"titles lacks {len(title_ids) - table.num_rows} of the titles that users viewed: "
            "run `userbert titles` for the days of these views"
        )
    host_names, hosts = np.unique(table["host"].to_pylist(), return_inverse=True)
    words = table["words"].combine_chunks()
    return TitleCatalog(title_ids, words, hosts.astype(np.int64), host_names.tolist())
