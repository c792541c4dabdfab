"""Delta tables to a corpus on disk: streamed twice, so that only what is of the size of the
number of pairs and of distinct titles is ever in memory (about 60 bytes each).

First pass: each pair's user, lengths and fingerprints, and which titles there are. From these
follows the place of every sequence. Second pass: views and words go to their places.
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from contracts.storage.atomic_write import atomic_folder
from contracts.storage.mapped_arrays import new_mapped_array
from contracts.errors import BadInput, MissingTable
from contracts.paths import Places
from contracts.tables import BROWSING_LOGS, SEQUENCE_PAIRS, SESSIONS, TITLES
from model.config import PretrainConfig
from model.data.corpus import (
    HELD_OUT_PER_MILLE,
    Corpus,
    DamagedArrays,
    TrainingInput,
    stored_files,
    TRAINING,
    VALIDATION,
    VALIDATION_PER_MILLE,
    load_training_input,
    part_of_users,
)
from model.data.row_hashes import string_bytes, row_fingerprints, list_values
from model.data.ragged import Ragged, offsets_of, positions_of
from model.data.delta_source import Source
from model.data.histories import (
    history_source,
    logs_of_window,
    num_users_of,
    survey_histories,
    write_histories,
    write_title_hosts,
)
from model.data.vocabulary import Arrow, Vocabulary, WordCounts

_FORMAT = 2  # of the arrays; another one is another folder


def training_input_for(
    config: PretrainConfig,
    places: Places,
    as_of: date,
    versions: Mapping[str, int] | None = None,
    earlier: Vocabulary | None = None,
    *,
    verify: bool = True,
) -> TrainingInput:
    """`training_input` as a training of these settings reads it."""
    return training_input(
        places.lake,
        as_of,
        places.arrays,
        max_words=config.model.max_words,
        max_views=config.model.max_views,
        min_count=config.min_count,
        versions=versions,
        earlier=earlier,
        verify=verify,
        with_histories=config.model.form == "memory",
        with_hosts=config.classes_of == "host",
    )


def training_input(
    lake: str,
    as_of: date,
    arrays: Path,
    *,
    max_words: int,
    max_views: int,
    min_count: int = 1,
    versions: Mapping[str, int] | None = None,
    earlier: Vocabulary | None = None,
    verify: bool = True,
    with_histories: bool = False,
    with_hosts: bool = False,
) -> TrainingInput:
    """The corpus of `sequence_pairs`' partition `as_of`, made unless it lies in `arrays` already.

    `versions` pins tables to Delta versions; without it, the newest. The vocabulary is of the
    pairs' titles alone, and grows `earlier`'s. Arrays are a copy of the tables: where those of an
    earlier run are damaged, they are made again. With `verify` every byte of them is compared with
    the sum that was taken when they were made. `with_histories` adds all views of `sessions` in the
    window before `as_of`, and their titles; `with_hosts` the host of each title.
    """
    versions = versions or {}
    pairs = Source.open(lake, SEQUENCE_PAIRS, versions.get(SEQUENCE_PAIRS.name), as_of=as_of)
    titles = Source.open(lake, TITLES, versions.get(TITLES.name))
    sources = [pairs, titles]
    sessions: Source | None = None
    if with_histories:
        sessions = Source.open(lake, SESSIONS, versions.get(SESSIONS.name))
        sessions = history_source(sessions, as_of)
        sources.append(sessions)
    logs: Source | None = None
    if with_hosts:
        logs = Source.open(lake, BROWSING_LOGS, versions.get(BROWSING_LOGS.name))
        logs = logs_of_window(logs, as_of)
        sources.append(logs)
    facts: dict[str, object] = {
        "as_of": as_of.isoformat(),
        "inputs": {s.table.name: s.delta.version() for s in sources},
        "tables": [str(s.delta.metadata().id) for s in sources],
        "max_words": max_words,
        "max_views": max_views,
        "min_count": min_count,
        "earlier": earlier.sha256 if earlier else None,
        "held_out_per_mille": HELD_OUT_PER_MILLE,
        "validation_per_mille": VALIDATION_PER_MILLE,
        "format": _FORMAT,
    }
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    folder = arrays / f"{as_of}-{key}"
    _remove_damaged(folder, verify)
    if not folder.exists():
        try:
            with atomic_folder(folder) as building:
                facts |= _build(
                    (pairs, titles, sessions, logs),
                    building,
                    as_of,
                    (max_words, max_views, min_count),
                    earlier,
                )
                facts["content"] = _content(building, with_histories, with_hosts)
                (building / "corpus.json").write_text(json.dumps(facts, indent=1, sort_keys=True))
        except OSError:
            if not (folder / "corpus.json").exists():
                raise  # not because another process made the same arrays first
    return load_training_input(folder)


def _remove_damaged(folder: Path, verify: bool) -> None:
    """Remove arrays that are not as they were made, saying so; whoever maps them keeps them."""
    if not folder.exists():
        return
    try:
        given = load_training_input(folder)
        has = (given.corpus.histories is not None, given.corpus.title_hosts is not None)
        if verify and _content(folder, *has) != given.content:
            raise DamagedArrays(f"{folder} does not hold the arrays that were made there")
    except BadInput as error:
        sys.stderr.write(f"{error}. They are a copy of the lake's tables and are made again.\n")
        shutil.rmtree(folder)


def newest_versions(lake: str, config: PretrainConfig) -> dict[str, int]:
    """The tables that a training of these settings reads, at their newest Delta versions."""
    tables = [SEQUENCE_PAIRS, TITLES]
    tables += [SESSIONS] if config.model.form == "memory" else []
    tables += [BROWSING_LOGS] if config.classes_of == "host" else []
    sources = (Source.open(lake, table, None) for table in tables)
    return {source.table.name: source.delta.version() for source in sources}


@dataclass(frozen=True)
class _Layout:
    """Where each pair's sequences lie. Rows of `pairs` are in the order of the corpus."""

    rank: NDArray[np.int64]  # (N,) by the order of reading: the pair's row
    pairs: NDArray[np.int32]  # (N, 2) rows of sequences
    a_is_new: NDArray[np.bool_]  # (N,) by row: A is not the B of the pair before, stored once
    offsets: NDArray[np.int64]  # (S + 1,)
    sequence_users: NDArray[np.int32]  # (S,)
    training_pairs: int
    validation_pairs: int
    training_views: int


def _build(
    sources: tuple[Source, Source, Source | None, Source | None],
    folder: Path,
    as_of: date,
    limits: tuple[int, int, int],
    earlier: Vocabulary | None,
) -> dict[str, object]:
    pairs, titles, sessions, logs = sources
    max_words, max_views, min_count = limits
    survey, title_ids = _survey(pairs, max_views)
    # tables are read twice: first for the sizes, then into mapped files of these sizes
    layout = _layout(survey)
    facts: dict[str, object] = {}
    if sessions:
        views, their_titles = survey_histories(sessions, as_of)
        title_ids = np.union1d(title_ids, their_titles)
        parts = part_of_users(views.users)
        write_histories(sessions, views, parts, title_ids, as_of, folder)
        named = {"training": TRAINING, "validation": VALIDATION}
        facts["histories"] = {
            name: num_users_of(views, parts, part) for name, part in named.items()
        }
    if logs:
        write_title_hosts(logs, title_ids, folder)
        facts["with_hosts"] = True
    np.save(folder / "title_ids.npy", title_ids)
    np.save(folder / "pairs.npy", layout.pairs)
    np.save(folder / "sequence_users.npy", layout.sequence_users)
    np.save(folder / "sequences.offsets.npy", layout.offsets)
    _write_sequences(pairs, layout, title_ids, max_views, folder)
    lengths, counts = _count_words(titles, title_ids, max_words)
    vocabulary = Vocabulary.of(counts, min_count, earlier)
    vocabulary.save(folder / "vocabulary.json")
    _write_words(titles, title_ids, lengths, vocabulary, max_words, folder)
    return facts | {
        "training_pairs": layout.training_pairs,
        "validation_pairs": layout.validation_pairs,
        "training_views": layout.training_views,
    }


def _tails(rows: Ragged, limit: int) -> Ragged:
    """The newest `limit` of each row; the rows themselves where none is longer."""
    whole = rows.lengths()
    lengths = np.minimum(whole, limit)  # (N,)
    if lengths.sum() == len(rows.values):
        return rows
    return rows.crop(np.arange(len(rows)), whole - lengths, lengths)


def _places(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """start, start + 1, ... of each row, one row after the other."""
    return np.repeat(starts, lengths) + positions_of(lengths)


def _survey(
    pairs: Source, max_views: int
) -> tuple[dict[str, NDArray[np.generic]], NDArray[np.int64]]:
    """By pair in the order of reading: user, pair_id, and each side's length and fingerprint.

    Also the titles that there are, ascending.
    """
    parts: dict[str, list[NDArray[np.generic]]] = {}
    title_ids = _SortedIds()
    columns = ("a_title_ids", "a_event_times", "b_title_ids", "b_event_times")
    for batch in pairs.batches("user_id", "pair_id", *columns):
        found: dict[str, NDArray[np.generic]] = {
            "user": row_fingerprints(string_bytes(batch["user_id"])),
            "pair_id": batch["pair_id"].to_numpy(),
        }
        for side in "ab":
            seen, times = _side(batch, side, max_views)
            found[f"{side}_length"] = seen.lengths()
            # (n,) Shifted, so that equal titles and times do not cancel out.
            found[f"{side}_print"] = row_fingerprints(seen) ^ (row_fingerprints(times) << np.uint64(1))
            title_ids.add(seen.values)
        for name, values in found.items():
            parts.setdefault(name, []).append(values)
    if not parts:
        raise MissingTable(
            f"sequence_pairs has no rows for {pairs.where} in version {pairs.delta.version()}: "
            "run `userbert sequence-pairs --as-of DAY` first"
        )
    return {name: np.concatenate(values) for name, values in parts.items()}, title_ids.all()


class _SortedIds:
    """The distinct ones of many ids. New ones wait until they are as many as the sorted ones, so
    that these are sorted again only a few times, however many batches there are."""

    def __init__(self) -> None:
        self._sorted = np.empty(0, np.int64)
        self._waiting: list[NDArray[np.int64]] = []
        self._num_waiting = 0

    def add(self, ids: NDArray[np.generic]) -> None:
        self._waiting.append(np.unique(ids).astype(np.int64, copy=False))
        self._num_waiting += len(self._waiting[-1])
        if self._num_waiting > len(self._sorted):
            self._merge()

    def all(self) -> NDArray[np.int64]:
        """(T,) ascending."""
        self._merge()
        return self._sorted

    def _merge(self) -> None:
        merged = np.concatenate([self._sorted, *self._waiting])
        self._waiting, self._num_waiting = [], 0
        self._sorted = merged[:0]  # what was merged is let go before it is sorted
        merged.sort()
        is_new = np.ones(len(merged), bool)
        is_new[1:] = merged[1:] != merged[:-1]
        self._sorted = merged[is_new]


def _side(batch: pa.RecordBatch, side: str, max_views: int) -> tuple[Ragged, Ragged]:
    titles, times = (list_values(batch[f"{side}_{name}"]) for name in ("title_ids", "event_times"))
    return _tails(titles, max_views), _tails(times, max_views)


def _layout(survey: Mapping[str, NDArray[np.generic]]) -> _Layout:
    """By part of the users, user and pair_id; a B that is the next pair's A is one row."""
    part = part_of_users(survey["user"].astype(np.uint64))  # (N,)
    # (N,) the last key sorts first: part
    order = np.lexsort((survey["pair_id"], survey["user"], part))
    by_row = {name: values[order] for name, values in survey.items()}
    same_user = np.zeros(len(order), bool)  # (N,)
    same_user[1:] = by_row["user"][1:] == by_row["user"][:-1]
    a_is_new = np.ones(len(order), bool)
    a_is_new[1:] = ~(same_user[1:] & (by_row["a_print"][1:] == by_row["b_print"][:-1]))
    b_row = np.cumsum(a_is_new + 1) - 1  # (N,) each pair adds B, and A where that is new
    rows = np.stack([b_row - 1, b_row], axis=1)  # (N, 2)
    lengths = np.zeros(b_row[-1] + 1, np.int64)  # (S,)
    users = np.zeros(b_row[-1] + 1, np.int32)  # (S,)
    for side, name in enumerate(("a_length", "b_length")):
        lengths[rows[:, side]] = by_row[name]
        users[rows[:, side]] = np.cumsum(~same_user) - 1  # users are numbered as they come
    offsets = offsets_of(lengths)
    training = int((part == TRAINING).sum())
    return _Layout(
        rank=np.argsort(order),
        pairs=rows.astype(np.int32),
        a_is_new=a_is_new,
        offsets=offsets,
        sequence_users=users,
        training_pairs=training,
        validation_pairs=int((part == VALIDATION).sum()),
        training_views=int(offsets[rows[training - 1, 1] + 1]) if training else 0,
    )


def _write_sequences(
    pairs: Source, layout: _Layout, title_ids: NDArray[np.int64], max_views: int, folder: Path
) -> None:
    num_views = int(layout.offsets[-1])
    titles = new_mapped_array(folder / "sequences.values.npy", (num_views,), np.int32)
    times = new_mapped_array(folder / "times.npy", (num_views,), np.int64)
    done = 0
    for batch in pairs.batches("a_title_ids", "a_event_times", "b_title_ids", "b_event_times"):
        rows = layout.rank[done : done + len(batch)]  # (n,) rows of `pairs`
        done += len(batch)
        for column, side in enumerate("ab"):
            seen, when = _side(batch, side, max_views)
            if column == 0:
                # the others are the B of the pair before
                chosen = np.flatnonzero(layout.a_is_new[rows])
                rows_of_side, seen, when = rows[chosen], seen.take(chosen), when.take(chosen)
            else:
                rows_of_side = rows
            starts = layout.offsets[layout.pairs[rows_of_side, column]]  # (n,)
            places = _places(starts, seen.lengths())  # (views of the batch's side,)
            # an id becomes its row of `title_ids`
            titles[places] = np.searchsorted(title_ids, seen.values)
            times[places] = when.values
    titles.flush()
    times.flush()


def _titles_of(
    titles: Source, title_ids: NDArray[np.int64], max_words: int
) -> Iterator[tuple[NDArray[np.int64], Arrow]]:
    """Rows of `title_ids` and their words, cut at `max_words`; other titles are left out."""
    for batch in titles.batches("title_id", "words"):
        found = batch["title_id"].to_numpy()
        rows = np.searchsorted(title_ids, found)  # (n,)
        known = title_ids[np.minimum(rows, len(title_ids) - 1)] == found  # (n,) bool
        words = batch["words"].filter(pa.array(known))
        yield rows[known], pc.list_slice(words, 0, max_words)


def _count_words(
    titles: Source, title_ids: NDArray[np.int64], max_words: int
) -> tuple[NDArray[np.int64], WordCounts]:
    """By title, how many words it has; and each word's count over the titles."""
    lengths = np.zeros(len(title_ids), np.int64)
    counts = WordCounts()
    for rows, words in _titles_of(titles, title_ids, max_words):
        lengths[rows] = words.value_lengths().to_numpy()
        counts.add(words.flatten())
    missing = title_ids[lengths == 0]
    if len(missing):
        raise BadInput(
            f"titles, version {titles.delta.version()}, lacks {len(missing)} of the "
            f"{len(title_ids)} titles of the pairs, for example {missing[:3].tolist()}: "
            "run `userbert titles` for the days that the pairs are of"
        )
    return lengths, counts


def _write_words(
    titles: Source,
    title_ids: NDArray[np.int64],
    lengths: NDArray[np.int64],
    vocabulary: Vocabulary,
    max_words: int,
    folder: Path,
) -> None:
    offsets = offsets_of(lengths)
    np.save(folder / "title_words.offsets.npy", offsets)
    values = new_mapped_array(folder / "title_words.values.npy", (int(offsets[-1]),), np.int32)
    prints = np.zeros(len(title_ids), np.uint64)
    for rows, words in _titles_of(titles, title_ids, max_words):
        ids = Ragged(
            vocabulary.ids(words.flatten()),
            offsets_of(lengths[rows]),
        )
        values[_places(offsets[rows], lengths[rows])] = ids.values
        prints[rows] = row_fingerprints(ids)
    values.flush()
    np.save(folder / "title_identity.npy", _ranks(prints))


def _ranks(prints: NDArray[np.uint64]) -> NDArray[np.int32]:
    """(T,) the place of each number among the distinct ones, ascending.

    As `np.unique` has it by `return_inverse`, which holds 33 bytes a number where this holds 20.
    """
    order = np.argsort(prints)  # (T,)
    ascending = prints[order]
    is_new = ascending[1:] != ascending[:-1]  # (T - 1,)
    ranks = np.zeros(len(prints), np.int32)
    ranks[order[1:]] = np.cumsum(is_new, dtype=np.int32)
    return ranks


def _content(folder: Path, with_histories: bool, with_hosts: bool) -> str:
    """sha256 over the arrays and the vocabulary, in the order of their names."""
    total = hashlib.sha256()
    for name in sorted(stored_files(with_histories, with_hosts)):
        with (folder / name).open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()
