"""Tasks from files of labels: data/labels/NAME.csv or .parquet, with NAME.toml beside it.

    kind = "classes"        # binary (0 and 1), classes (text or numbers) or number
    is_static = true        # a fact that does not change, such as a birth year: no time is needed
    doc = "age group"
    is_sensitive = true     # may be left out: the privacy card measures what vectors say of it
    ids = "raw"             # or "pseudonyms", where the file names users as the tables do

The file has the columns user_id and value, and event_time unless `is_static`. A label from before
the cut is refused: it could stand in the views that the vectors were made from.
"""

import tomllib
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from contracts.errors import BadInput
from contracts.instants import midnight_microseconds
from contracts.paths import Places
from contracts.settings.pseudonyms import ids_as_stored
from downstream.data.views import Views
from downstream.tasks.task import Kind, Task

_FILE_KINDS: tuple[Kind, ...] = ("binary", "classes", "number")
_MAX_CLASSES = 50
_RAW, _PSEUDONYMS = "raw", "pseudonyms"  # how the file names users


@dataclass(frozen=True)
class _LabelSettings:
    """What NAME.toml says of NAME.csv or NAME.parquet."""

    kind: Kind
    is_static: bool
    doc: str
    is_sensitive: bool = False
    are_pseudonyms: bool = False


def labels_files(folder: Path) -> dict[str, Path]:
    """The files of labels by task name."""
    paths = [p for suffix in ("csv", "parquet") for p in folder.glob(f"*.{suffix}")]
    names = {path.stem: path for path in sorted(paths)}
    if len(names) < len(paths):
        twice = sorted(p.stem for p in paths if sum(q.stem == p.stem for q in paths) > 1)
        raise BadInput(f"{folder} has two files of labels named {twice[0]}: keep one of them")
    return names


def read_task(path: Path, past: Views, as_of: date) -> Task:
    """The labels of the judged users who are in the file; others in it are left out."""
    settings = _read_settings(path.with_suffix(".toml"))
    table = _read_table(path, settings)
    if not settings.is_static:
        _must_be_after(path, table, as_of)
    users = np.array(table["user_id"].to_pylist(), np.str_)
    _must_name_users_once(path, users)
    rows = np.searchsorted(past.user_ids, users).clip(max=len(past) - 1)
    is_judged = past.user_ids[rows] == users
    order = np.argsort(rows[is_judged], kind="stable")
    chosen = np.flatnonzero(is_judged)[order]
    column: Any = table["value"].combine_chunks()
    values = column.take(pa.array(chosen))
    labels, columns = _labels(path, values, settings.kind)
    return Task(path.stem, settings.kind, rows[is_judged][order], labels, columns, settings.doc)


def read_labels(path: Path) -> tuple[pa.Table, str]:
    """The labels of a file, a row a user, and what they say, in words."""
    settings = _read_settings(path.with_suffix(".toml"))
    return _read_table(path, settings), settings.doc


def sensitive_files(folder: Path) -> dict[str, Path]:
    """Those files of labels whose settings say `is_sensitive`, by task name."""
    files = labels_files(folder)
    return {
        name: path
        for name, path in files.items()
        if _read_settings(path.with_suffix(".toml")).is_sensitive
    }


def _read_settings(path: Path) -> _LabelSettings:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{path} cannot be read ({error}): it says of the labels beside it, for example, "
            'kind = "binary", is_static = false and doc = "what a label means"'
        ) from error
    kind, is_static, doc = (values.pop(n, None) for n in ("kind", "is_static", "doc"))
    is_sensitive = values.pop("is_sensitive", False)
    ids = values.pop("ids", _RAW)
    if ids not in (_RAW, _PSEUDONYMS):
        raise BadInput(f'{path}: ids is {ids!r}; say "{_RAW}" or "{_PSEUDONYMS}"')
    if kind not in _FILE_KINDS or not isinstance(is_static, bool) or not isinstance(doc, str):
        raise BadInput(
            f"{path} must have kind ({', '.join(_FILE_KINDS)}), is_static (true or false) and doc"
        )
    if not isinstance(is_sensitive, bool):
        raise BadInput(f"{path}: is_sensitive is {is_sensitive!r}; it must be true or false")
    if values:
        raise BadInput(f"{path}: there is no setting {next(iter(values))}")
    return _LabelSettings(kind, is_static, doc, is_sensitive, ids == _PSEUDONYMS)


def _read_table(path: Path, settings: _LabelSettings) -> pa.Table:
    try:
        options = csv.ConvertOptions(column_types={"user_id": pa.string()})
        table = (
            csv.read_csv(path, convert_options=options)
            if path.suffix == ".csv"
            else pq.read_table(path)
        )
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInput(f"{path} cannot be read: {error}") from error
    needed = ["user_id", "value", *([] if settings.is_static else ["event_time"])]
    if missing := [name for name in needed if name not in table.column_names]:
        raise BadInput(f"{path} has no column {missing[0]}; it must have {', '.join(needed)}")
    table = table.select(needed)
    if empty := [name for name in needed if table[name].null_count]:
        raise BadInput(f"{path}: {table[empty[0]].null_count} rows have no {empty[0]}")
    given: list[Any] = table["user_id"].cast(pa.string()).to_pylist()
    users = ids_as_stored(given, settings.are_pseudonyms, Places(path.absolute().parents[1]))
    return table.set_column(0, "user_id", pa.array(users, pa.string()))


def _must_be_after(path: Path, table: pa.Table, as_of: date) -> None:
    try:
        times: Any = table["event_time"].cast(pa.timestamp("us"))
    except pa.ArrowInvalid as error:
        raise BadInput(f"{path}: event_time is not a time: {error}") from error
    micros = times.cast(pa.int64()).to_numpy()
    early = micros < midnight_microseconds(as_of)
    if early.any():
        first = datetime.fromtimestamp(int(micros.min()) / 1e6, UTC)
        raise BadInput(
            f"{path}: {early.sum()} labels are from before the cut, {as_of} (the first of "
            f"{first:%Y-%m-%d %H:%M} UTC), where the vectors could have seen them: take them out, "
            "or judge as of an earlier day with --as-of"
        )


def _must_name_users_once(path: Path, users: NDArray[np.str_]) -> None:
    names, counts = np.unique(users, return_counts=True)
    if (counts > 1).any():
        raise BadInput(
            f"{path} has {counts.max()} labels of user {names[counts.argmax()]}: keep one"
        )


def _labels(path: Path, values: Any, kind: Kind) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    if kind == "classes":
        texts = pc.cast(values, pa.string()).to_pylist()
        names, rows = np.unique(np.array(texts, np.str_), return_inverse=True)
        if len(names) > _MAX_CLASSES:
            raise BadInput(f"{path} has {len(names)} classes; at most {_MAX_CLASSES} can be judged")
        return np.eye(len(names))[rows], tuple(names.tolist())
    try:
        numbers = pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid as error:
        raise BadInput(f"{path}: a value is not a number: {error}") from error
    if not np.isfinite(numbers).all():
        raise BadInput(f"{path}: {(~np.isfinite(numbers)).sum()} values are not finite")
    if kind == "binary" and not np.isin(numbers, (0, 1)).all():
        raise BadInput(f"{path}: a value is neither 0 nor 1, and its kind is binary")
    return numbers[:, None], (path.stem,)
