"""The host of each title: the one that logs before a day name most often for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from contracts.errors import BadInput
from contracts.limits import PRETRAINING_DAYS

if TYPE_CHECKING:
    from model.data.delta_source import Source

HOSTS_FILE = "title_hosts.npy"
NO_HOST = -1


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
