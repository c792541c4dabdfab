"""Words and their ids: 0 is padding, 1 is any word that was not seen, the rest never change.

pyarrow is imported where words are counted and looked up: a training needs no more than the ids,
and must run where torch, numpy and safetensors are all there is.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from contracts.errors import BadInput

if TYPE_CHECKING:
    import pyarrow as pa

PADDING_ID = 0
UNKNOWN_ID = 1
NUM_SPECIAL = 2  # ids before the first word's
Arrow = Any  # a pyarrow array: its type stubs lack what lists have, and most functions


class WordCounts:
    """How often each word was seen, gathered batch by batch; memory is that of distinct words."""

    def __init__(self) -> None:
        import pyarrow as pa

        self._parts: list[pa.Table] = [
            pa.table({"word": pa.array([], pa.string()), "count": pa.array([], pa.int64())})
        ]

    def add(self, words: Arrow) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        seen = pc.value_counts(words.cast(pa.string()))  # distinct words of this batch, with counts
        self._parts.append(pa.table({"word": seen.field("values"), "count": seen.field("counts")}))
        if len(self._parts) > 64:  # summed now and then, so that a word is not held once a batch
            self._parts = [self.table()]

    def table(self) -> pa.Table:
        """(word, count): most frequent first; words of equal count in the order of their bytes."""
        import pyarrow as pa

        summed = pa.concat_tables(self._parts).group_by("word").aggregate([("count", "sum")])
        return (
            summed.rename_columns({"word": "word", "count_sum": "count"})
            .select(["word", "count"])
            .sort_by([("count", "descending"), ("word", "ascending")])
            .combine_chunks()
        )


@dataclass(frozen=True)
class Vocabulary:
    """`words[i]` has the id `i + 2`. Grown, never renumbered."""

    words: tuple[str, ...]

    @classmethod
    def of(
        cls, counts: WordCounts, min_count: int = 1, earlier: Vocabulary | None = None
    ) -> Vocabulary:
        """Words seen at least `min_count` times; those of `earlier` come first, seen or not."""
        import pyarrow as pa
        import pyarrow.compute as pc

        frequent: Arrow = counts.table().filter(pc.field("count") >= min_count)["word"]
        old = earlier.words if earlier else ()
        is_new = pc.invert(pc.is_in(frequent, value_set=pa.array(old, pa.string())))  # (W,) bool
        return cls(old + tuple(frequent.filter(is_new).to_pylist()))

    def __len__(self) -> int:
        """How many ids there are, padding and unknown among them."""
        return len(self.words) + NUM_SPECIAL

    def ids(self, words: Arrow) -> NDArray[np.int32]:
        """The id of each word, UNKNOWN for those that are not in the vocabulary."""
        import pyarrow as pa
        import pyarrow.compute as pc

        # null: not in it
        places: Arrow = pc.index_in(words.cast(pa.string()), value_set=self._value_set)
        found: NDArray[np.int32] = places.fill_null(UNKNOWN_ID - NUM_SPECIAL).to_numpy(
            zero_copy_only=False
        )
        return found + np.int32(NUM_SPECIAL)  # the word at place 0 has the id 2

    def unknown_share(self, words: Arrow) -> float:
        """The share of these words that the vocabulary does not have; of no words 0."""
        return float((self.ids(words) == UNKNOWN_ID).mean()) if len(words) else 0.0

    # Made once: `ids` is called for each batch of titles.
    @cached_property
    def _value_set(self) -> Arrow:
        import pyarrow as pa

        return pa.array(self.words, pa.string())

    @cached_property
    def text(self) -> str:
        """The vocabulary as its file holds it: a JSON list, one word a line."""
        return json.dumps(self.words, ensure_ascii=False, indent=0) + "\n"

    @cached_property
    def sha256(self) -> str:
        """Of the file's bytes, so `sha256sum vocabulary.json` shows it too."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def save(self, path: Path) -> None:
        path.write_bytes(self.text.encode())

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        try:
            words = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise BadInput(f"{path} is not a vocabulary: {error}") from error
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise BadInput(f"{path} is not a vocabulary: it must be a JSON list of words")
        if len(set(words)) < len(words):
            raise BadInput(f"{path} is not a vocabulary: a word stands in it twice")
        return cls(tuple(words))
