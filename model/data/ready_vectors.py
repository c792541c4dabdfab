"""Vectors that a user brings: of words in GloVe's or word2vec's text format, of titles in Parquet.

GloVe's text has a word and its numbers a line; word2vec's has a line before them, with the number
of words and their width. Words are compared as the vocabulary holds them, after tokenizing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from contracts.errors import BadInput
from contracts.tables import TITLES
from contracts.storage.file_checksum import file_checksum
from model.data.vocabulary import NUM_SPECIAL, Arrow, Vocabulary

if TYPE_CHECKING:
    import pyarrow as pa

_LONGEST_WORD = 40  # characters of a word that an error repeats


@dataclass(frozen=True)
class GivenWords:
    """The vectors of the vocabulary's words that a file has.

    Shapes: F words found, E width.
    """

    word_ids: NDArray[np.int64]  # (F,) ascending
    vectors: NDArray[np.float32]  # (F, E)


@dataclass(frozen=True)
class GivenTitles:
    """The vectors of all titles that a file has.

    Shapes: T titles, E width.
    """

    title_ids: NDArray[np.int64]  # (T,) ascending, distinct
    vectors: NDArray[np.float32]  # (T, E)

    @cached_property
    def table(self) -> NDArray[np.float32]:
        """(1 + T, E): the vectors behind their mean, which stands for a title without a vector."""
        mean = self.vectors.mean(0, dtype=np.float64).astype(np.float32)
        table: NDArray[np.float32] = np.concatenate([mean[None], self.vectors])
        return table

    def table_for(self, title_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """(1 + n, E): the mean, then a row for each of these titles, which is the mean where the
        file has none."""
        rows = np.searchsorted(self.title_ids, title_ids)
        found = self.title_ids[np.minimum(rows, len(self.title_ids) - 1)] == title_ids  # (n,)
        of_titles: NDArray[np.float32] = self.table[np.where(found, rows + 1, 0)]  # (n, E)
        return np.concatenate([self.table[:1], of_titles])

    def num_found(self, title_ids: NDArray[np.int64]) -> int:
        return int(np.isin(title_ids, self.title_ids).sum())


def file_sha256(path: Path) -> str:
    """The name of a file's content; BadInput where the file cannot be read."""
    try:
        return file_checksum(path)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from error


def read_word_vectors(path: Path, vocabulary: Vocabulary) -> GivenWords:
    """The vectors of the words that both have; of a word that comes twice, the first."""
    ids = {word: nth + NUM_SPECIAL for nth, word in enumerate(vocabulary.words)}
    found: dict[int, NDArray[np.float32]] = {}
    for nth, word, numbers in _lines(path):
        word_id = ids.get(word)
        if word_id is not None and word_id not in found:
            found[word_id] = _numbers(path, nth, word, numbers)
    if not found:
        raise BadInput(
            f"{path} has none of the {len(vocabulary.words)} words of the vocabulary: it must hold "
            "a word and its numbers a line, with words as the titles have them after tokenizing"
        )
    word_ids = np.array(sorted(found), np.int64)
    return GivenWords(word_ids, np.stack([found[word_id] for word_id in word_ids]))


def _lines(path: Path) -> Iterator[tuple[int, str, list[str]]]:
    """(number of the line, word, its numbers as text), each as wide as the first."""
    width = 0
    try:
        with path.open(encoding="utf-8") as file:
            for nth, line in enumerate(file, start=1):
                fields = line.rstrip("\n").rstrip(" ").split(" ")
                if nth == 1 and len(fields) == 2 and all(each.isdigit() for each in fields):
                    width = int(fields[1])  # word2vec's first line
                    continue
                width = width or len(fields) - 1
                if width < 1 or len(fields) <= width:
                    raise BadInput(
                        f"{path}, line {nth}, has {len(fields) - 1} numbers behind its word, and "
                        f"the lines before have {width}"
                    )
                # GloVe has words with spaces in them: the numbers are counted from the end.
                yield nth, " ".join(fields[:-width]), fields[-width:]
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{path} is not UTF-8 text ({error.reason}): word2vec's binary format must be written "
            "as text first"
        ) from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from error


def _numbers(path: Path, nth: int, word: str, numbers: list[str]) -> NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):  # too large a number becomes infinite, which is refused
            values = np.array([np.float32(each) for each in numbers])
    except ValueError as error:
        raise BadInput(
            f"{path}, line {nth}, has no number behind {word[:_LONGEST_WORD]!r}: {error}"
        ) from error
    if not np.isfinite(values).all():
        raise BadInput(f"{path}, line {nth}: the vector of {word[:_LONGEST_WORD]!r} is not finite")
    return values


def read_title_vectors(path: Path, lake: str) -> GivenTitles:
    """The vectors of a Parquet file with the columns `vector` and `title_id`, or `title`.

    A title in words is looked up in the lake's table titles; those that it lacks are left out. Of
    a title that comes twice the first vector counts.
    """
    table = _read_parquet(path)
    vectors = _matrix(path, table["vector"])  # (n, E)
    if "title_id" in table.column_names:
        title_ids = table["title_id"].to_numpy().astype(np.int64)
    else:
        title_ids, is_known = _ids_of_titles(table["title"], lake)
        title_ids, vectors = title_ids[is_known], vectors[is_known]
    distinct, first = np.unique(title_ids, return_index=True)
    if not len(distinct):
        raise BadInput(f"{path} has no title of the table titles ({lake})")
    return GivenTitles(distinct, vectors[first])


def _read_parquet(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
        titles = next((name for name in ("title_id", "title") if name in names), None)
        if titles is None or "vector" not in names:
            raise BadInput(
                f"{path} has the columns {', '.join(names)}: it needs vector, and title_id or title"
            )
        return pq.read_table(path, columns=[titles, "vector"])
    except (OSError, pa.ArrowInvalid) as error:
        raise BadInput(f"{path} cannot be read as Parquet: {error}") from error


def _matrix(path: Path, column: Arrow) -> NDArray[np.float32]:
    """(n, E) of a column of lists of numbers, all equally long."""
    import pyarrow as pa

    kind = column.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    is_list = is_list or pa.types.is_fixed_size_list(kind)
    if not (is_list and pa.types.is_floating(kind.value_type)):
        raise BadInput(f"{path}: the column vector is {kind}; it must be a list of floats")
    lists: Any = column.combine_chunks()
    if isinstance(lists, pa.ChunkedArray):  # of no rows, or of more than one array can hold
        lists = pa.concat_arrays(lists.chunks) if lists.num_chunks else pa.array([], kind)
    lengths = lists.value_lengths().to_numpy(zero_copy_only=False)
    if not len(lengths) or lists.null_count or lengths.min() < 1 or lengths.min() != lengths.max():
        raise BadInput(f"{path}: the vectors must be there and equally long, 1 number or more")
    values = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    vectors: NDArray[np.float32] = values.reshape(len(lengths), -1)
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(1))[0])
        raise BadInput(f"{path}: the vector of row {row} is not finite")
    return vectors


def _ids_of_titles(
    titles: Arrow, lake: str
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The id of each title, and whether the table titles has it."""
    from model.data.delta_source import Source

    # As the table has them: lower case, white space folded.
    texts = [" ".join((title or "").lower().split()) for title in titles.to_pylist()]
    by_title: dict[str, int] = {}
    wanted = set(texts)
    for batch in Source.open(lake, TITLES, None).batches("title_id", "title"):
        rows = zip(batch["title"].to_pylist(), batch["title_id"].to_pylist(), strict=True)
        by_title |= {title: title_id for title, title_id in rows if title in wanted}
    found = [by_title.get(title) for title in texts]
    ids = np.array([each or 0 for each in found], np.int64)
    return ids, np.array([each is not None for each in found], bool)


@dataclass(frozen=True, eq=False)
class EarlierWeights:
    """A finished model, for a training that begins from its weights.

    title_ids  (T,) int64 ascending: the rows of a table of titles; empty where it reads words
    """

    model_id: str
    sha256: str  # of the file of the weights
    settings: Mapping[str, Any]
    vocabulary: Vocabulary
    title_ids: NDArray[np.int64]
    weights: Mapping[str, Any]  # tensors by name


@dataclass(frozen=True)
class ReadyVectors:
    """What a training starts from besides its tables."""

    words: GivenWords | None = None
    titles: GivenTitles | None = None
    weights: EarlierWeights | None = None


NO_READY_VECTORS = ReadyVectors()
