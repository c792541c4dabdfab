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

from model.data.row_hashes import mix_bits
from model.data.ragged import Ragged
from model.data.vocabulary import Vocabulary

# Users that no training ever sees, so that any two models are compared on the same ones.
HELD_OUT_PER_MILLE = 100
_SALT = np.uint64(0x6F7574)  # so that the split has nothing to do with other uses of the hash


@dataclass(frozen=True)
class Corpus:
    """Titles, sequences and pairs from views before one day. A title is a row of `title_ids`.

    Shapes: T titles, S sequences, N pairs, V views. Rows of training users come before those of
    held-out users everywhere, so that the first pairs, sequences and views are the training's.
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


@dataclass(frozen=True)
class TrainingInput:
    """A corpus, and all that a checkpoint must say of it."""

    corpus: Corpus
    vocabulary: Vocabulary
    training_pairs: NDArray[np.int32]  # rows of corpus.pairs
    held_out_pairs: NDArray[np.int32]
    as_of: date
    inputs: dict[str, int]  # the Delta version of each table that was read
    content: str  # sha256 of the arrays: equal input, whatever the versions that held it

    @property
    def facts(self) -> dict[str, int]:
        corpus = self.corpus
        return {
            "titles": len(corpus.title_ids),
            "words": len(self.vocabulary.words),
            "sequences": len(corpus.sequences),
            "views": len(corpus.sequences.values),
            "training_pairs": len(self.training_pairs),
            "held_out_pairs": len(self.held_out_pairs),
        }


def is_held_out(users: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which users, by the fingerprint of their user_id, are held out: a tenth, always the same."""
    held_out: NDArray[np.bool_] = mix_bits(users ^ _SALT) % np.uint64(1000) < HELD_OUT_PER_MILLE
    return held_out


_RAGGED = ("title_words", "sequences")


def array_files(name: str) -> tuple[str, ...]:
    """The files of one field of `Corpus`."""
    return (f"{name}.values.npy", f"{name}.offsets.npy") if name in _RAGGED else (f"{name}.npy",)


def load_training_input(folder: Path) -> TrainingInput:
    """Map the arrays of `folder`; nothing is read before it is used."""

    def array(file: str) -> Any:
        return np.load(folder / file, mmap_mode="r", allow_pickle=False)

    told = json.loads((folder / "corpus.json").read_text())
    stored = [field.name for field in fields(Corpus) if field.name != "behaviors"]
    columns: dict[str, Any] = {
        name: Ragged(*map(array, array_files(name))) if name in _RAGGED else array(f"{name}.npy")
        for name in stored
    }
    behaviors = columns["sequences"].values[: told["training_views"]]
    num_pairs = len(columns["pairs"])
    return TrainingInput(
        corpus=Corpus(**columns, behaviors=behaviors),
        vocabulary=Vocabulary.load(folder / "vocabulary.json"),
        training_pairs=np.arange(told["training_pairs"], dtype=np.int32),
        held_out_pairs=np.arange(told["training_pairs"], num_pairs, dtype=np.int32),
        as_of=date.fromisoformat(told["as_of"]),
        inputs=told["inputs"],
        content=told["content"],
    )
