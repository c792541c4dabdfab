"""The data of a click experiment: histories, impressions, and three parts that follow in time.

Pre-training reads views from before `as_of`. Training, validation and test impressions are from
`as_of` on, in this order, and a history holds views from before its impression alone, with their
times where the lake knows them.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from analyst.lake_access.open_lake import OpenLake
from contracts.instants import midnight_microseconds
from contracts.errors import BadInput
from contracts.storage.atomic_write import atomic_folder
from downstream.data.views import Views, read_views
from experiments.data.impression_files import (
    are_view_times_logged,
    impression_file,
    shifted_rows,
    shown_from_file,
)
from experiments.data.shown import Shown, TitleList
from experiments.data.views_as_impressions import shown_from_views
from model.data.impressions import Impressions, ViewTimes
from model.data.keyed_random import keyed_bits
from model.data.ragged import Ragged

_FROM_VIEWS = "views"  # the name of impressions that are made out of views
_DATA_PARTS = ("training", "validation", "test")
_FORMAT = 2  # of the arrays


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which impressions, and how they are cut into parts."""

    as_of: date
    impressions: str = _FROM_VIEWS  # or the name of a file in the data root's folder impressions
    training_days: int = 21
    validation_days: int = 7
    test_days: int = 14
    max_impressions: int = 5_000  # of each part; of more, an even choice over time
    max_users: int = 20_000

    def __post_init__(self) -> None:
        names = ("training_days", "validation_days", "test_days", "max_impressions", "max_users")
        if wrong := [f"{n} is {getattr(self, n)}" for n in names if getattr(self, n) < 1]:
            raise BadInput(f"{', '.join(wrong)}; each must be 1 or more")

    @property
    def days(self) -> tuple[date, ...]:
        """The first day of each part, and the day after the last one."""
        lengths = (self.training_days, self.validation_days, self.test_days)
        return tuple(self.as_of + timedelta(days=sum(lengths[:n])) for n in range(4))


@dataclass(frozen=True)
class ClickData:
    """Titles, and the impressions of each part. `content` names them: equal data, equal name."""

    titles: TitleList
    parts: dict[str, Impressions]
    content: str
    facts: dict[str, Any]

    def training_share(self, share: float, seed: int) -> Impressions:
        """A share of the training impressions, by their number and the seed: a smaller share is
        part of a larger one."""
        whole = self.parts["training"]
        order = np.argsort(keyed_bits(seed, "label share", 0, np.arange(len(whole))))
        return whole.take(np.sort(order[: max(1, round(share * len(whole)))]))


def click_data(lake: OpenLake, settings: DataSettings, folder: Path) -> ClickData:
    """The data of these settings, made unless they lie below `folder` already."""
    facts = _facts(lake, settings)
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    path = folder / f"{settings.as_of}-{key}"
    if not path.exists():
        titles, shown, views, counts = _read(lake, settings)
        parts = _split(shown, views, settings)
        counts |= {f"{name}_impressions": len(part) for name, part in parts.items()}
        if empty := [name for name in _DATA_PARTS if not len(parts[name])]:
            first, *_, last = settings.days
            raise BadInput(
                f"{settings.impressions}: no impression for {', '.join(empty)} in {first} to "
                f"{last - timedelta(days=1)}: choose an earlier --as-of or other numbers of days"
            )
        try:
            _write(path, titles, views, parts, facts | {"counts": counts})
        except OSError:
            if not path.exists():
                raise  # not because another process made the same data first
    return read_click_data(path)


def read_click_data(path: Path) -> ClickData:
    facts = json.loads((path / "facts.json").read_text())
    with np.load(path / "views.npz", allow_pickle=False) as arrays:
        views, times = arrays["titles"], arrays["times"]
    are_known = facts["view_times"] == "logged"
    parts = {}
    for name in _DATA_PARTS:
        with np.load(path / f"{name}.npz", allow_pickle=False) as arrays:
            parts[name] = Impressions(
                views,
                arrays["history_starts"],
                arrays["history_ends"],
                Ragged(arrays["candidate_titles"], arrays["candidate_offsets"]),
                arrays["clicked"],
                ViewTimes(times, arrays["times"]) if are_known else None,
            )
    table = pq.read_table(path / "titles.parquet")
    words: Any = table["words"].combine_chunks()
    return ClickData(TitleList(table["title_id"].to_numpy(), words), parts, path.name, facts)


def _facts(lake: OpenLake, settings: DataSettings) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "settings": asdict(settings) | {"as_of": settings.as_of.isoformat()},
        "inputs": {name: lake.versions.get(name) for name in ("sessions", "titles")},
        "format": _FORMAT,
        "view_times": "logged",
    }
    if settings.impressions != _FROM_VIEWS:
        file = impression_file(lake.places, settings.impressions)
        facts["view_times"] = "logged" if are_view_times_logged(file) else "made up"
        facts["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    return facts


def _read(lake: OpenLake, settings: DataSettings) -> tuple[TitleList, Shown, Views, dict[str, int]]:
    first, *_, end = settings.days
    views = read_views(lake, first, (end - first).days, settings.max_users)
    if settings.impressions == _FROM_VIEWS:
        titles = TitleList(views.catalog.title_ids, views.catalog.words)
        return titles, shown_from_views(views, first), views, {}
    file = impression_file(lake.places, settings.impressions)
    shown, titles, counts = shown_from_file(file, lake, views)
    return titles, shown, shifted_rows(views, titles), counts


def _split(shown: Shown, views: Views, settings: DataSettings) -> dict[str, Impressions]:
    """Impressions by their times; those before `as_of` or without a view before are left out."""
    bounds = [midnight_microseconds(day) for day in settings.days]
    begins, ends = history_bounds(views, shown.users, shown.times)
    parts = {}
    for name, start, end in zip(_DATA_PARTS, bounds[:-1], bounds[1:], strict=True):
        in_part = (shown.times >= start) & (shown.times < end) & (ends > begins)
        rows = np.flatnonzero(in_part)
        rows = rows[:: max(1, -(-len(rows) // settings.max_impressions))]
        chosen = shown.take(rows)
        parts[name] = Impressions(
            views.titles,
            begins[rows],
            ends[rows],
            chosen.candidates,
            chosen.clicked,
            ViewTimes(views.times, chosen.times),
        )
    return parts


def history_bounds(
    views: Views, users: NDArray[np.int64], times: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(I,) the first view of each user, and the first that is not before the time: R views."""
    begins = views.offsets[users]
    ends = np.array(
        [
            begin + np.searchsorted(views.times[begin:stop], time, side="left")
            for begin, stop, time in zip(
                begins.tolist(), views.offsets[users + 1].tolist(), times.tolist(), strict=True
            )
        ],
        np.int64,
    )
    return begins, ends


def _write(
    path: Path,
    titles: TitleList,
    views: Views,
    parts: dict[str, Impressions],
    facts: dict[str, Any],
) -> None:
    with atomic_folder(path) as building:
        np.savez(building / "views.npz", titles=views.titles, times=views.times)
        for name, part in parts.items():
            assert part.times is not None  # read_click_data leaves out those that are made up
            np.savez(
                building / f"{name}.npz",
                history_starts=part.starts,
                history_ends=part.ends,
                times=part.times.impressions,
                candidate_titles=part.candidates.values,
                candidate_offsets=part.candidates.offsets,
                clicked=part.clicked,
            )
        table = pa.table({"title_id": pa.array(titles.title_ids), "words": titles.words})
        pq.write_table(table, building / "titles.parquet")
        (building / "facts.json").write_text(json.dumps(facts, indent=1, sort_keys=True))
