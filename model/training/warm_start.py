"""A training that begins from the weights of an earlier model, whose vocabulary is another one.

Everything that has no row a word or a title is taken as it is, also the constants that the memory
form has measured, so that before its first step the new model gives the old one's vectors where it
knows the same words. A row of a word goes to that word, by its text; a title's to that title, by
its id. New words and titles, and classes that the earlier model did not predict, keep first weights
as if there were no earlier model.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contracts.errors import BadInput, MissingTable
from contracts.tables import MODELS
from model.config import PretrainConfig
from model.data.ready_vectors import EarlierWeights
from model.data.vocabulary import NUM_SPECIAL, Vocabulary
from model.layers.user_encoder import UserEncoder
from model.storage.checkpoint import read_manifest, read_tensors
from model.storage.checkpoint_files import TITLES_FILE, VOCABULARY_FILE, WEIGHTS_FILE

_WORD_TABLE = "words.weight"  # how the name of a table with a row a word ends
_TITLE_TABLE = "titles.weight"  # of the behavior encoder `id`
_GIVEN_VECTORS = "behavior.vectors"  # they come from a file each time
_KNOWN_TITLES = "known."  # keys are made of word ids, which are others now: they begin at zero
_CLASS_WORDS = "class_words"
_OF_NEW_CLASSES = (_CLASS_WORDS, "class_deviations")  # measured for this training's own classes
_CLASS_HEADS = tuple(
    f"heads.{name}_classes.{kind}"
    for name in ("next", "soon", "all", "recent")
    for kind in ("weight", "bias")
)


def read_earlier_weights(folder: Path) -> EarlierWeights:
    """Of a finished model, after every check; of an aligned one those from before its map."""
    manifest = read_manifest(folder)
    titles = read_tensors(folder, TITLES_FILE) if TITLES_FILE in manifest.files else {}
    return EarlierWeights(
        model_id=manifest.model_id,
        sha256=manifest.files[WEIGHTS_FILE],
        settings=manifest.settings,
        vocabulary=Vocabulary.load(folder / VOCABULARY_FILE),
        title_ids=titles["title_ids"].numpy() if titles else np.zeros(0, np.int64),
        weights=read_tensors(folder, WEIGHTS_FILE),
    )


def champion_id_or_none(lake: str) -> str | None:
    """The model that is the champion now, by the table `models`."""
    from model.data.delta_source import Source  # it imports pyarrow

    try:
        batches = list(Source.open(lake, MODELS, None).batches("model_id", "status"))
    except MissingTable:
        return None
    rows = [row for batch in batches for row in batch.to_pylist()]
    return next((row["model_id"] for row in rows if row["status"] == "champion"), None)


def begin_from_weights(
    model: UserEncoder,
    config: PretrainConfig,
    earlier: EarlierWeights,
    vocabulary: Vocabulary,
    title_ids: NDArray[np.int64],
) -> None:
    """Give `model` the earlier weights; `BadInput` where the settings of the two models differ."""
    _must_have_the_same_settings(config, earlier)
    if config.model.class_counts:
        raise BadInput(
            f"--warm-start {earlier.model_id}: its vectors carry counts of words that each "
            "training chooses anew, so their last numbers would mean others: train without "
            "--class-counts"
        )
    held = {name: value for name, value in earlier.weights.items() if name != _GIVEN_VECTORS}
    words = _shared_rows(earlier.vocabulary.words, vocabulary.words, NUM_SPECIAL)
    titles = _shared_rows(earlier.title_ids.tolist(), title_ids.tolist(), 1)
    classes = _shared_classes(model, config, earlier, vocabulary)
    with torch.no_grad():
        for name, own in model.state_dict().items():
            if name not in held or name in _OF_NEW_CLASSES or name.startswith(_KNOWN_TITLES):
                continue
            if name.endswith(_WORD_TABLE):
                _take_rows(own, held[name], words)
            elif name.endswith(_TITLE_TABLE):
                _take_rows(own, held[name], titles)
            elif name in _CLASS_HEADS:
                _take_rows(own, held[name], classes)
            else:
                own.copy_(held[name])


def _must_have_the_same_settings(config: PretrainConfig, earlier: EarlierWeights) -> None:
    ours, theirs = asdict(config.model), asdict(PretrainConfig.from_json(earlier.settings).model)
    wrong = [
        f"{name} is {ours[name]}, not {theirs[name]}" for name in ours if ours[name] != theirs[name]
    ]
    if wrong:
        raise BadInput(
            f"--warm-start {earlier.model_id}: its model has other settings: {'; '.join(wrong)}"
        )


def _shared_rows(
    earlier: Sequence[object], now: Sequence[object], num_special: int = 0
) -> tuple[Tensor, Tensor]:
    """Rows of what both have, (n,) in the new and (n,) in the earlier table; special rows first."""
    places = {each: place for place, each in enumerate(earlier) if each is not None}
    shared = [(row, places[each]) for row, each in enumerate(now) if each in places]
    rows = np.array(shared, np.int64).reshape(-1, 2) + num_special  # (n, 2)
    special = np.repeat(np.arange(num_special)[:, None], 2, axis=1)
    both = torch.from_numpy(np.concatenate([special, rows]))
    return both[:, 0], both[:, 1]


def _shared_classes(
    model: UserEncoder, config: PretrainConfig, earlier: EarlierWeights, vocabulary: Vocabulary
) -> tuple[Tensor, Tensor]:
    """Where a word stands that both models predict; none where the classes are no words."""
    own = model.state_dict().get(_CLASS_WORDS)
    kinds = {config.classes_of, PretrainConfig.from_json(earlier.settings).classes_of}
    if own is None or kinds != {"word"}:
        return _shared_rows((), ())
    theirs = _class_texts(earlier.weights[_CLASS_WORDS], earlier.vocabulary)
    return _shared_rows(theirs, _class_texts(own, vocabulary))


def _class_texts(ids: Tensor, vocabulary: Vocabulary) -> list[str | None]:
    """The word of each class; None for a place without one."""
    return [
        vocabulary.words[each - NUM_SPECIAL] if each >= NUM_SPECIAL else None
        for each in ids.tolist()
    ]


def _take_rows(own: Tensor, earlier: Tensor, rows: tuple[Tensor, Tensor]) -> None:
    here, there = (each.to(own.device) for each in rows)
    own[here] = earlier.to(own)[there]
