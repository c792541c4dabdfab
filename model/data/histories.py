"""All views of all users in the window of pre-training, as the memory form learns from them.

Two passes over `sessions`: the first gives each session its place, the second writes its views.
Where hosts are classes, `browsing_logs` of the window say which host a title is of.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from contracts.instants import midnight_microseconds
from contracts.errors import BadInput, MissingTable
from contracts.limits import PRETRAINING_DAYS
from model.data.ragged import Ragged, offsets_of, owners_of, positions_of
from model.data.row_hashes import list_values, row_fingerprints, string_bytes

if TYPE_CHECKING:
    from model.data.delta_source import Source

HOSTS_FILE = "title_hosts.npy"
NO_HOST = -1
HISTORY_FILES = ("histories.values.npy", "histories.offsets.npy", "history_times.npy")


@dataclass(frozen=True)
class Histories:
    """Each user's views before `end`, oldest first.

    Shapes: U users with V views. Training users come first, then those of validation, then those of
    test. A user without a view in the window is not there.
    """

    titles: Ragged  # (U rows) int32 rows of the corpus's titles
    times: NDArray[np.int64]  # (V,) microseconds UTC, beside titles.values
    num_training: int  # users
    num_validation: int
    end: int  # microseconds UTC: the instant of as_of

    def users_of(self, part: str) -> NDArray[np.int64]:
        """The rows of training, validation or test users; of an empty part all held-out users."""
        first = self.num_training
        middle = first + self.num_validation
        if part == "training":
            return np.arange(first)
        rows = np.arange(first, middle) if part == "validation" else np.arange(middle, len(self))
        return rows if len(rows) else np.arange(first, len(self))

    def __len__(self) -> int:
        return len(self.titles)

    def first_view_at(
        self, users: NDArray[np.int64], instants: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """(B,) where in `times` each user's first view at or after the instant is, by bisection.

        The end of the user's views where there is none.
        """
        low = self.titles.offsets[users].copy()
        high = self.titles.offsets[users + 1].copy()
        while (is_open := low < high).any():
            middle = (low + high) // 2
            # A finished search stands at `low`, which may be past the last view.
            is_before = is_open & (self.times[np.minimum(middle, len(self.times) - 1)] < instants)
            low = np.where(is_before, middle + 1, low)
            high = np.where(is_open & ~is_before, middle, high)
        return low


def history_source(sessions: Source, as_of: date) -> Source:
    """`sessions` cut to the days that have views of the window; a session may pass midnight."""
    import pyarrow.dataset as ds

    first = as_of - timedelta(days=PRETRAINING_DAYS + 1)
    day = ds.field("session_date")
    return replace(sessions, where=(day >= first) & (day < as_of))


@dataclass(frozen=True)
class _Session:
    """The sessions of all batches, in the order of reading."""

    users: NDArray[np.uint64]  # (S,) fingerprints
    starts: NDArray[np.int64]  # (S,) microseconds
    lengths: NDArray[np.int64]  # (S,) views in the window


def survey_histories(source: Source, as_of: date) -> tuple[_Session, NDArray[np.int64]]:
    """Who viewed how much in each session, and all titles that were viewed, ascending."""
    import pyarrow as pa

    parts: list[tuple[NDArray[Any], ...]] = []
    title_ids = np.empty(0, np.int64)
    for batch in source.batches("user_id", "start_time", "title_ids", "event_times"):
        titles, times = _views_in_window(batch, as_of)
        users = row_fingerprints(string_bytes(batch["user_id"]))
        starts = batch["start_time"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
        parts.append((users, starts, titles.lengths()))
        title_ids = np.union1d(title_ids, titles.values)
    if not len(title_ids):
        raise MissingTable(
            f"sessions has no view in the {PRETRAINING_DAYS} days before {as_of}: "
            "run `userbert sessions` for these days first"
        )
    return _Session(*(np.concatenate(each) for each in zip(*parts, strict=True))), title_ids


def write_histories(
    source: Source,
    survey: _Session,
    parts: NDArray[np.int64],
    title_ids: NDArray[np.int64],
    as_of: date,
    folder: Path,
) -> None:
    """Write `HISTORY_FILES`. `parts` (S,) are the parts of the users, by session."""
    order = np.lexsort((survey.starts, survey.users, parts))
    ends = np.cumsum(survey.lengths[order])
    first_place = np.empty(len(order), np.int64)  # (S,) by the order of reading
    first_place[order] = ends - survey.lengths[order]
    by_user = survey.users[order]
    is_new = np.append(True, by_user[1:] != by_user[:-1])
    lengths = np.bincount(np.cumsum(is_new) - 1, survey.lengths[order]).astype(np.int64)
    np.save(folder / HISTORY_FILES[1], offsets_of(lengths[lengths > 0]))
    titles = np.zeros(int(ends[-1]), np.int32)
    times = np.zeros(int(ends[-1]), np.int64)
    done = 0
    for batch in source.batches("title_ids", "event_times"):
        seen, when = _views_in_window(batch, as_of)
        starts = first_place[done : done + len(batch)]
        done += len(batch)
        places = np.repeat(starts, seen.lengths()) + positions_of(seen.lengths())
        titles[places] = np.searchsorted(title_ids, seen.values)
        times[places] = when.values
    np.save(folder / HISTORY_FILES[0], titles)
    np.save(folder / HISTORY_FILES[2], times)


def num_users_of(survey: _Session, parts: NDArray[np.int64], part: int) -> int:
    """The number of users of a part who have a view in the window."""
    return len(np.unique(survey.users[(parts == part) & (survey.lengths > 0)]))


def _views_in_window(batch: Any, as_of: date) -> tuple[Ragged, Ragged]:
    """Titles and times of each session, without views before the window or from `as_of` on."""
    titles, times = (list_values(batch[name]) for name in ("title_ids", "event_times"))
    end = midnight_microseconds(as_of)
    start = midnight_microseconds(as_of - timedelta(days=PRETRAINING_DAYS))
    is_inside = (times.values >= start) & (times.values < end)
    if is_inside.all():
        return titles, times
    owners = owners_of(times.lengths())[is_inside]
    offsets = offsets_of(np.bincount(owners, minlength=len(times)).astype(np.int64))
    return Ragged(titles.values[is_inside], offsets), Ragged(times.values[is_inside], offsets)


def logs_of_window(logs: Source, as_of: date) -> Source:
    """`browsing_logs` cut to the days of pre-training before `as_of`: no later view is read."""
    import pyarrow.dataset as ds

    day = ds.field("event_date")
    first = as_of - timedelta(days=PRETRAINING_DAYS)
    return replace(logs, where=(day >= first) & (day < as_of))


def write_title_hosts(logs: Source, title_ids: NDArray[np.int64], folder: Path) -> None:
    """Write `HOSTS_FILE`: (T,) int32 the number of each title's host, `NO_HOST` without one.

    Hosts are numbered in the order of their names. Of hosts that are named equally often for a
    title the first name is taken.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    parts: list[pa.Table] = []
    for batch in logs.batches("title_id", "host"):
        named = pa.table(batch).filter(pc.is_valid(batch["host"]))
        parts.append(named.group_by(["title_id", "host"]).aggregate([([], "count_all")]))
    views = pa.concat_tables(parts) if parts else pa.table({"title_id": [], "host": []})
    if not views.num_rows:
        raise BadInput(
            f"browsing_logs, version {logs.delta.version()}, names no host in these months, so no "
            "host can be a class: train with --classes-of word"
        )
    counted = views.group_by(["title_id", "host"]).aggregate([("count_all", "sum")])
    ids, counts = counted["title_id"].to_numpy(), counted["count_all_sum"].to_numpy()
    _, hosts = np.unique(np.array(counted["host"].to_pylist(), np.str_), return_inverse=True)
    order = np.lexsort((hosts, -counts, ids))  # the best host of a title is its first row
    ids, hosts = ids[order], hosts[order]
    ids, first = np.unique(ids, return_index=True)
    found = np.full(len(title_ids), NO_HOST, np.int32)  # (T,)
    rows = np.searchsorted(title_ids, ids)
    is_known = title_ids[np.minimum(rows, len(title_ids) - 1)] == ids
    found[rows[is_known]] = hosts[first][is_known]
    np.save(folder / HOSTS_FILE, found)
