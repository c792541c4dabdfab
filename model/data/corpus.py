"""What a model is pre-trained on, as memory-mapped arrays: it may be larger than memory.

The arrays are made once for a set of Delta versions and settings (`model/data/build_corpus.py`), below
`Places.arrays`, and every process of a training maps the same files. They may be deleted.
"""

import json
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.instants import midnight_microseconds
from contracts.errors import BadInput
from model.data.histories import HISTORY_FILES, HOSTS_FILE, Histories
from model.data.row_hashes import mix_bits
from model.data.ragged import Ragged
from model.data.vocabulary import Vocabulary

# Users that no training ever sees, so that any two models are compared on the same ones. The first
# half of them validates: it decides when a training stops and which weights are kept. The other
# half tests: a model's reported and gated measures are of users that decided nothing.
HELD_OUT_PER_MILLE = 100
VALIDATION_PER_MILLE = 50
TRAINING, VALIDATION, TEST = 0, 1, 2  # parts of the users, in the order of their rows
_SALT = np.uint64(0x6F7574)  # so that the split has nothing to do with other uses of the hash


@dataclass(frozen=True)
class Corpus:
    """Titles, sequences and pairs from views before one day. A title is a row of `title_ids`.

    Shapes: T titles, S sequences, N pairs, V views. Everywhere rows of training users come first,
    then those of validation users, then those of test users.
    """

    title_ids: NDArray[np.int64]  # (T,) ascending
    title_words: Ragged  # (T rows) int32 word ids, 1 to 30 of them; never padding
    title_identity: NDArray[np.int32]  # (T,) equal where the encoder cannot tell titles apart
    sequences: Ragged  # (S rows) int32 titles, oldest first, 1 to 100 of them
    times: NDArray[np.int64]  # microseconds UTC, beside sequences.values
    sequence_users: NDArray[np.int32]  # (S,) row of the user
    pairs: NDArray[
        np.int32
    ]  # (N, 2) rows of sequences: A and B of one user, A over before B begins
    behaviors: NDArray[np.int32]  # (V,) titles, a view of a training user each: the paper's set
    histories: Histories | None = None  # for the memory form alone
    title_hosts: NDArray[np.int32] | None = None  # (T,) where hosts are classes; -1: no host

    @property
    def sequence_times(self) -> Ragged:
        """(S rows) microseconds UTC of the sequences' views."""
        return Ragged(self.times, self.sequences.offsets)


@dataclass(frozen=True)
class TrainingInput:
    """A corpus, and all that a checkpoint must say of it."""

    corpus: Corpus
    vocabulary: Vocabulary
    training_pairs: NDArray[np.int32]  # rows of corpus.pairs
    validation_pairs: NDArray[np.int32]
    test_pairs: NDArray[np.int32]  # where either part has no pair, both are all held-out pairs
    as_of: date
    inputs: dict[str, int]  # the Delta version of each table that was read
    content: str  # sha256 of the arrays: equal input, whatever the versions that held it

    @property
    def held_out_pairs(self) -> NDArray[np.int32]:
        """Those of validation and of test users, ascending."""
        return np.union1d(self.validation_pairs, self.test_pairs)

    @property
    def num_users(self) -> int:
        return len(np.unique(self.corpus.sequence_users))

    @property
    def facts(self) -> dict[str, int]:
        corpus = self.corpus
        return {
            "titles": len(corpus.title_ids),
            "words": len(self.vocabulary.words),
            "sequences": len(corpus.sequences),
            "views": len(corpus.sequences.values),
            "training_pairs": len(self.training_pairs),
            "validation_pairs": len(self.validation_pairs),
            "test_pairs": len(self.test_pairs),
        } | ({"histories": len(corpus.histories)} if corpus.histories else {})


def part_of_users(users: NDArray[np.uint64]) -> NDArray[np.int64]:
    """(U,) TRAINING, VALIDATION or TEST for each user, by the fingerprint of the user_id.

    A user is always in the same part.
    """
    share = mix_bits(users ^ _SALT) % np.uint64(1000)  # (U,)
    is_held_out, validates = share < HELD_OUT_PER_MILLE, share < VALIDATION_PER_MILLE
    return np.where(validates, VALIDATION, np.where(is_held_out, TEST, TRAINING))


_RAGGED = ("title_words", "sequences")
_NOT_ALWAYS = ("behaviors", "histories", "title_hosts")  # derived, or in some arrays alone


def _array_files(name: str) -> tuple[str, ...]:
    """The files of one field of `Corpus`."""
    return (f"{name}.values.npy", f"{name}.offsets.npy") if name in _RAGGED else (f"{name}.npy",)


class DamagedArrays(BadInput):
    """A folder of arrays is not whole. The arrays are a copy of the lake's tables."""


def load_training_input(folder: Path) -> TrainingInput:
    """Map the arrays of `folder`; nothing is read before it is used.

    A file that is missing, truncated or torn raises DamagedArrays.
    """
    facts = _read_facts(folder)
    stored = [field.name for field in fields(Corpus) if field.name not in _NOT_ALWAYS]
    columns: dict[str, Any] = {}
    for name in stored:
        arrays = [_mapped(folder / file) for file in _array_files(name)]
        columns[name] = Ragged(*arrays) if name in _RAGGED else arrays[0]
    training, validation = facts["training_pairs"], facts["validation_pairs"]
    pairs = np.arange(len(columns["pairs"]), dtype=np.int32)
    held_out = pairs[training:]
    is_split = 0 < validation < len(held_out)
    return TrainingInput(
        corpus=Corpus(
            **columns,
            behaviors=columns["sequences"].values[: facts["training_views"]],
            histories=_histories(folder, facts),
            title_hosts=_mapped(folder / HOSTS_FILE) if facts.get("with_hosts") else None,
        ),
        vocabulary=Vocabulary.load(folder / "vocabulary.json"),
        training_pairs=pairs[:training],
        validation_pairs=held_out[:validation] if is_split else held_out,
        test_pairs=held_out[validation:] if is_split else held_out,
        as_of=date.fromisoformat(facts["as_of"]),
        inputs=facts["inputs"],
        content=facts["content"],
    )


def stored_files(with_histories: bool, with_hosts: bool = False) -> list[str]:
    """The names of all files that hold what was read from the tables."""
    names = [field.name for field in fields(Corpus) if field.name not in _NOT_ALWAYS]
    files = [file for name in names for file in _array_files(name)]
    files += [*(HISTORY_FILES if with_histories else ()), *([HOSTS_FILE] if with_hosts else [])]
    return [*files, "vocabulary.json"]


def _histories(folder: Path, facts: dict[str, Any]) -> Histories | None:
    if not (held := facts.get("histories")):
        return None
    values, offsets, times = (_mapped(folder / name) for name in HISTORY_FILES)
    end = midnight_microseconds(date.fromisoformat(facts["as_of"]))
    return Histories(
        Ragged(values, np.array(offsets)), times, held["training"], held["validation"], end
    )


def _read_facts(folder: Path) -> dict[str, Any]:
    path = folder / "corpus.json"
    needed = {"training_pairs", "validation_pairs", "training_views", "as_of", "inputs", "content"}
    try:
        facts: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DamagedArrays(f"{path} cannot be read: {error}") from error
    missing = needed - (facts.keys() if isinstance(facts, dict) else set())
    if missing:
        raise DamagedArrays(f"{path} lacks {', '.join(sorted(missing))}")
    return facts


def _mapped(path: Path) -> Any:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DamagedArrays(f"{path} is damaged: {error}") from error
