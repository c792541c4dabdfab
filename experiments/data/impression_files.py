"""Impressions from files: a row for each title that was shown, in CSV, Parquet or JSON lines.

    user_id, event_time, title, clicked      and impression_id, where one instant has several

Rows of one user and one instant (or of one impression_id) are one impression. A time without a zone
is UTC. `clicked` is 1, 0, true or false; rows without it, as in MIND's test set, are left out. The
files lie in the data root: impressions/NAME.csv, .parquet or .jsonl. A history and the times of its
views come from the lake. Where those times are made up, as those of MIND's histories are, a Parquet
file says so in its metadata (`VIEW_TIMES_MADE_UP` in contracts/provenance.py).
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.json as pyarrow_json
import pyarrow.parquet as pq
from numpy.typing import NDArray

from analyst.lake_access.open_lake import OpenLake
from contracts.errors import BadInput, MissingTable
from contracts.landing_settings import read_settings
from contracts.limits import MAX_TITLE_WORDS
from contracts.paths import Places
from contracts.provenance import VIEW_TIMES_MADE_UP
from downstream.data.views import Views
from experiments.data.shown import Shown, TitleList, in_time_order
from model.data.ragged import Ragged, offsets_of
from spark_jobs.transforms.plain_title import normalized_text

_COLUMNS = ("user_id", "event_time", "title", "clicked")
_READERS: dict[str, Callable[[Path], pa.Table]] = {
    ".parquet": pq.read_table,
    ".csv": lambda path: csv.read_csv(
        path,
        convert_options=csv.ConvertOptions(
            column_types={name: pa.string() for name in ("user_id", "title", "impression_id")}
        ),
    ),
    ".jsonl": pyarrow_json.read_json,
}


def impression_file(places: Places, name: str) -> Path:
    """impressions/NAME in one of the forms, below the data root."""
    folder = places.root / "impressions"
    found = [folder / f"{name}{suffix}" for suffix in _READERS]
    found = [path for path in found if path.is_file()]
    if len(found) != 1:
        wanted = ", ".join(f"{name}{suffix}" for suffix in _READERS)
        raise MissingTable(
            f"{folder} must hold one of {wanted}; `userbert logs mind` and `userbert logs generate "
            "--impressions` write such files, and --impressions views makes impressions out of "
            "the lake's views"
        )
    return found[0]


def are_view_times_logged(path: Path) -> bool:
    """Whether the times of the views that come with these impressions are those of the site."""
    if path.suffix != ".parquet":
        return True
    return VIEW_TIMES_MADE_UP not in (pq.read_schema(path).metadata or {})


def read_impression_file(path: Path) -> pa.Table:
    """user_id, event_time (microseconds, UTC), title, clicked and impression_id, in order of time.

    Of rows without `clicked` none is left.
    """
    try:
        table = _READERS[path.suffix](path)
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInput(f"{path} cannot be read: {error}") from error
    if missing := [name for name in _COLUMNS if name not in table.column_names]:
        raise BadInput(
            f"{path} has no column {', '.join(missing)}; it must have {', '.join(_COLUMNS)}"
        )
    table = table.filter(pc.is_valid(table["clicked"]))
    if empty := [name for name in _COLUMNS if table[name].null_count]:
        raise BadInput(f"{path}: {table[empty[0]].null_count} rows have no {empty[0]}")
    if not table.num_rows:
        raise BadInput(f"{path} has no row that says whether a title was clicked")
    columns = {
        "user_id": table["user_id"].cast(pa.string()),
        "event_time": _microseconds(path, table["event_time"]),
        "title": table["title"].cast(pa.string()),
        "clicked": _marks(path, table["clicked"]),
    }
    columns["impression_id"] = (
        table["impression_id"].cast(pa.string())
        if "impression_id" in table.column_names
        else pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
    )
    return pa.table(columns)


def _microseconds(path: Path, times: Any) -> Any:
    try:
        if pa.types.is_string(times.type):
            times = times.cast(pa.timestamp("us", "UTC" if _have_zones(times) else None))
        return times.cast(pa.timestamp("us", times.type.tz)).cast(pa.int64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, AttributeError) as error:
        raise BadInput(f"{path}: event_time is not a time such as 2026-01-31T08:30:00: {error}") from (
            error
        )


def _have_zones(times: Any) -> bool:
    return bool(pc.match_substring_regex(times, r"(Z|[+-]\d\d:?\d\d)$")[0].as_py())


def _marks(path: Path, clicked: Any) -> Any:
    if pa.types.is_boolean(clicked.type):
        return clicked
    wrong = pc.invert(pc.is_in(clicked.cast(pa.string()), value_set=pa.array(["0", "1"])))
    if pc.any(wrong).as_py():
        first = clicked.filter(wrong)[0].as_py()
        raise BadInput(f"{path}: clicked is {first!r}; it must be 0, 1, true or false")
    return pc.is_in(clicked.cast(pa.string()), value_set=pa.array(["1"]))


def shown_from_file(
    path: Path, lake: OpenLake, views: Views
) -> tuple[Shown, TitleList, dict[str, int]]:
    """The impressions of the users in `views`; the titles of both; and counts of what was read."""
    table = read_impression_file(path)
    users = np.array(table["user_id"].to_pylist(), np.str_)
    rows = np.searchsorted(views.user_ids, users).clip(max=len(views) - 1)  # (C,)
    is_known = views.user_ids[rows] == users
    counts = {
        "rows": table.num_rows,
        "rows of users without views before": int((~is_known).sum()),
    }
    table = table.filter(pa.array(is_known))
    titles, places = _with_titles_of(table["title"], lake, views)
    shown = _grouped(table, rows[is_known], places)
    return in_time_order(shown), titles, counts


def _grouped(table: pa.Table, users: NDArray[np.int64], titles: NDArray[np.int64]) -> Shown:
    """Rows to impressions: those of one impression_id, or of one user and instant."""
    times = table["event_time"].to_numpy()
    names = table["impression_id"].combine_chunks().dictionary_encode()
    ids = names.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    order = np.lexsort((ids, times, users))
    keys = np.column_stack([users, times, ids])[order]  # (C, 3)
    is_first = np.ones(len(order), bool)
    is_first[1:] = (keys[1:] != keys[:-1]).any(axis=1)
    starts = np.flatnonzero(is_first)
    lengths = np.diff(np.append(starts, len(order)))
    clicked = table["clicked"].to_numpy()[order].astype(bool)
    candidates = Ragged(titles[order], offsets_of(lengths))
    return Shown(users[order][starts], times[order][starts], candidates, clicked)


def _with_titles_of(
    shown: Any, lake: OpenLake, views: Views
) -> tuple[TitleList, NDArray[np.int64]]:
    """The titles of views and impressions, and (C,) which of them each shown title is.

    A title that the lake has keeps its title_id; any other gets a number below 0 and its words by
    the lake's own tokenizer.
    """
    encoded = shown.combine_chunks().dictionary_encode()
    normal = np.array([normalized_text(text) for text in encoded.dictionary.to_pylist()], np.str_)
    distinct, of_text = np.unique(normal, return_inverse=True)
    table = pa.table({"title": pa.array(distinct.tolist(), pa.string())})
    lake.connection.register("shown_titles", table)
    try:
        known: Any = lake.sql(
            "SELECT title, title_id, words FROM titles JOIN shown_titles USING (title)"
        ).to_arrow_table()
    finally:
        lake.connection.unregister("shown_titles")
    ids = dict(zip(known["title"].to_pylist(), known["title_id"].to_pylist(), strict=True))
    unknown = [text for text in distinct.tolist() if text not in ids]
    ids |= {text: place - len(unknown) for place, text in enumerate(unknown)}
    words = dict(zip(known["title_id"].to_pylist(), known["words"].to_pylist(), strict=True))
    words |= {ids[text]: some for text, some in zip(unknown, _words_of(lake.places, unknown),
                                                    strict=True)}  # fmt: skip
    catalog = views.catalog
    of_distinct = np.array([ids[text] for text in distinct.tolist()], np.int64)
    title_ids = np.union1d(catalog.title_ids, of_distinct)
    in_catalog = np.searchsorted(catalog.title_ids, title_ids).clip(max=len(catalog.title_ids) - 1)
    is_viewed = catalog.title_ids[in_catalog] == title_ids
    rest = pa.array([words[each] for each in title_ids[~is_viewed].tolist()], pa.list_(pa.string()))
    both = pa.concat_arrays([catalog.words.cast(rest.type), rest])
    rows = np.where(is_viewed, in_catalog, len(catalog.title_ids) + np.cumsum(~is_viewed) - 1)
    titles = TitleList(title_ids, both.take(pa.array(rows)))
    places = np.searchsorted(title_ids, of_distinct)[of_text]  # of each distinct shown text
    return titles, places[encoded.indices.to_numpy()]


def _words_of(places: Places, titles: list[str]) -> list[list[str]]:
    from spark_jobs.transforms.segmenters import segment_words, segmenter_of
    from spark_jobs.transforms.tokenizer import Tokenizer

    path = places.landing / "settings.toml"
    segment = segmenter_of(read_settings(path).tokenizer if path.exists() else "nltk")
    words_of = Tokenizer()
    found = [words_of(title) or [title or "-"] for title in titles]
    if segment is not None:
        found = [segment_words(some, segment) for some in found]
    return [some[:MAX_TITLE_WORDS] for some in found]


def shifted_rows(views: Views, titles: TitleList) -> Views:
    """The same views by rows of `titles`, which holds all titles of their catalog."""
    rows = np.searchsorted(titles.title_ids, views.catalog.title_ids)
    return replace(views, titles=rows[views.titles])
