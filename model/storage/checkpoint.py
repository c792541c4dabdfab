"""A model on disk: weights and their manifest, written whole or not at all, loaded without code.

A folder holds `manifest.json`, `vocabulary.json` and one or more safetensors files. The manifest
names every other file with its sha256; a folder without a manifest is not a model.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from contracts.errors import BadInput, MissingTable
from contracts.provenance import code_version
from contracts.storage.atomic_write import atomic_folder
from contracts.storage.file_checksum import file_checksum
from contracts.vectors import own_space
from model.config import PretrainConfig
from model.data.ready_vectors import NO_READY_VECTORS, GivenTitles, ReadyVectors
from model.data.vocabulary import Vocabulary
from model.forms.aligned_model import AlignedModel
from model.forms.build_user_model import build_user_model
from model.layers.user_encoder import UserEncoder
from model.storage.checkpoint_files import (
    ALIGNMENT_FILE,
    MANIFEST_FILE,
    TITLES_FILE,
    VOCABULARY_FILE,
    WEIGHTS_FILE,
)

_MAX_ORTHOGONAL_ERROR = 1e-9  # of a map in double precision


class BrokenCheckpoint(BadInput):
    """A folder's files are not those of its manifest, or not those that are needed."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What is known of a model, as `manifest.json` holds it and the table `models` takes it up."""

    model_id: str
    trained_before: date  # only views from before this UTC day were seen
    settings: dict[str, Any]  # PretrainConfig as JSON
    inputs: dict[str, int]  # the Delta version of each table that was read
    content: str  # sha256 of the arrays that were learned from
    num_words: int  # rows of the word table
    num_titles: int  # rows of a title table: of an `id` encoder, of own_titles; else 0
    measures: dict[str, float]  # on held-out users; and counts of what was learned from
    vocabulary_hash: str
    code_version: str = field(default_factory=code_version)
    space_id: str = ""  # the space of the model that it was aligned with; empty: its own
    alignment: dict[str, Any] = field(
        default_factory=dict
    )  # with which model, and how it was fitted
    progress: dict[str, Any] = field(default_factory=dict)  # of an unfinished training
    files: dict[str, str] = field(default_factory=dict)  # sha256 of each other file

    @property
    def space(self) -> str:
        """The space that its vectors live in."""
        return self.space_id or own_space(self.model_id)

    @property
    def config(self) -> PretrainConfig:
        return PretrainConfig.from_json(self.settings)

    def to_json(self) -> str:
        values = asdict(self) | {"trained_before": self.trained_before.isoformat()}
        return json.dumps(values, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        values = json.loads(text)
        return cls(**values | {"trained_before": date.fromisoformat(values["trained_before"])})


def write_checkpoint(
    folder: Path,
    manifest: Manifest,
    vocabulary: Vocabulary,
    tensors: Mapping[str, Mapping[str, Tensor]],
    copies: Mapping[str, Path] | None = None,
) -> None:
    """Make `folder`, which must not exist, in one rename: it is there whole, or not there.

    `tensors` by file name; `copies` are files to take along under other names.
    """
    with atomic_folder(folder) as building:
        vocabulary.save(building / VOCABULARY_FILE)
        for name, held in tensors.items():
            save_file({k: v.detach().cpu().contiguous() for k, v in held.items()}, building / name)
        for name, source in (copies or {}).items():
            shutil.copyfile(source, building / name)
        sums = {path.name: file_checksum(path) for path in sorted(building.iterdir())}
        whole = Manifest(**{**vars(manifest), "files": sums})
        (building / MANIFEST_FILE).write_text(whole.to_json())


def read_manifest(folder: Path) -> Manifest:
    """The manifest of `folder`, after a check of every file that it names."""
    if not (folder / MANIFEST_FILE).exists():
        raise MissingTable(
            f"{folder} holds no model ({MANIFEST_FILE} is missing): "
            "`userbert pretrain --as-of DAY` makes one, `userbert models list` shows all"
        )
    try:
        manifest = Manifest.from_json((folder / MANIFEST_FILE).read_text())
    except (ValueError, TypeError, KeyError) as error:
        raise BrokenCheckpoint(f"{folder / MANIFEST_FILE} cannot be read: {error}") from error
    if wrong := [
        fault for name, sha256 in manifest.files.items() if (fault := _fault(folder / name, sha256))
    ]:
        raise BrokenCheckpoint(
            f"{folder} is not as its manifest says: {'; '.join(wrong)}. The model was not loaded. "
            "Copy the folder again from the machine that trained it, or train it again"
        )
    return manifest


def _fault(path: Path, sha256: str) -> str:
    if not path.is_file():
        return f"{path.name} is missing"
    found = file_checksum(path)
    return "" if found == sha256 else f"{path.name} has sha256 {found[:12]}, not {sha256[:12]}"


def read_tensors(folder: Path, name: str) -> dict[str, Tensor]:
    """The tensors of one file; safetensors holds numbers alone, so no code can run."""
    try:
        return load_file(folder / name)
    except (SafetensorError, OSError) as error:
        raise BrokenCheckpoint(f"{folder / name} cannot be read: {error}") from error


def require_same_training(folder: Path, found: Manifest, expected: Manifest) -> None:
    """Refuse to go on from `found` where it is of another training, naming every difference."""
    ours, theirs = vars(expected), vars(found)
    names = ("model_id", "trained_before", "content", "vocabulary_hash", "num_words", "num_titles")
    wrong = [
        f"{name} is {theirs[name]}, not {ours[name]}"
        for name in names
        if theirs[name] != ours[name]
    ]
    wrong += [
        f"settings: {each}" for each in _differences(found.settings, expected.settings, prefix="")
    ]
    if wrong:
        raise BrokenCheckpoint(f"{folder} is of another training: {'; '.join(wrong)}")


def _differences(found: Any, expected: Any, prefix: str) -> list[str]:
    if isinstance(found, dict) and isinstance(expected, dict):
        names = sorted(found.keys() | expected.keys())
        dot = f"{prefix}." if prefix else ""
        return [
            difference
            for name in names
            for difference in _differences(found.get(name), expected.get(name), f"{dot}{name}")
        ]
    return [] if found == expected else [f"{prefix} is {found}, not {expected}"]


@dataclass(frozen=True)
class TrainedModel:
    """A model ready to embed with, and what must go with it."""

    model: UserEncoder  # in eval mode
    vocabulary: Vocabulary
    title_ids: Tensor  # (T,) int64 ascending: the rows of an `id` encoder; else empty
    manifest: Manifest


def load_model(folder: Path) -> TrainedModel:
    """The model of `folder`, after every check."""
    manifest = read_manifest(folder)
    vocabulary = Vocabulary.load(folder / VOCABULARY_FILE)
    wrong = [
        fault
        for found, expected, fault in (
            (vocabulary.sha256, manifest.vocabulary_hash, "the vocabulary is another one"),
            (len(vocabulary), manifest.num_words, "the vocabulary has another length"),
        )
        if found != expected
    ]
    if wrong:
        raise BrokenCheckpoint(f"{folder} does not fit together: {'; '.join(wrong)}")
    model = build_user_model(manifest.config.model, manifest.num_words, manifest.num_titles)
    load_weights(model, read_tensors(folder, WEIGHTS_FILE), folder)
    if ALIGNMENT_FILE in manifest.files:
        model = AlignedModel(model, _rotation_of(folder, manifest.config.model.width))
    has_titles = TITLES_FILE in manifest.files
    title_ids = read_tensors(folder, TITLES_FILE)["title_ids"] if has_titles else Tensor().long()
    return TrainedModel(model.eval(), vocabulary, title_ids, manifest)


def _rotation_of(folder: Path, width: int) -> Tensor:
    """(D, D) the map of an aligned model; one that does not only turn is refused."""
    rotation = read_tensors(folder, ALIGNMENT_FILE).get("rotation", Tensor())
    if rotation.shape != (width, width) or not _is_orthogonal(rotation):
        raise BrokenCheckpoint(
            f"{folder / ALIGNMENT_FILE} is no orthogonal map of {width} numbers: align the model "
            "again with `userbert models align`"
        )
    return rotation


def _is_orthogonal(rotation: Tensor) -> bool:
    """NaN is not."""
    exact = rotation.double()
    error = exact @ exact.T - torch.eye(len(exact), dtype=torch.float64)
    return bool(error.abs().max() < _MAX_ORTHOGONAL_ERROR)


def write_aligned_copy(
    folder: Path, out: Path, rotation: Tensor, alignment: Mapping[str, Any], **changes: Any
) -> Path:
    """A model of its own beside `folder`'s: its files byte by byte, and the map next to them.

    Its id follows from both models' files and the map, so the same alignment is the same model.
    `changes` are those of the manifest.
    """
    manifest = read_manifest(folder)
    map_bytes = rotation.numpy().tobytes()
    facts = f"{sorted(manifest.files.items())}{sorted(alignment.items())}".encode()
    name = f"{manifest.model_id}-aligned-{hashlib.sha256(facts + map_bytes).hexdigest()[:8]}"
    if (out / name).exists():
        read_manifest(out / name)
        return out / name
    aligned = replace(manifest, model_id=name, alignment=dict(alignment), **changes)
    copied = {file: folder / file for file in manifest.files if file != VOCABULARY_FILE}
    write_checkpoint(
        out / name,
        aligned,
        Vocabulary.load(folder / VOCABULARY_FILE),
        {ALIGNMENT_FILE: {"rotation": rotation}},
        copied,
    )
    return out / name


def ready_vectors_of(folder: Path) -> ReadyVectors:
    """The title vectors that a model was given, for another training on the same ones."""
    if read_manifest(folder).config.model.behavior_encoder != "given":
        return NO_READY_VECTORS
    vectors = read_tensors(folder, WEIGHTS_FILE)["behavior.vectors"][1:]  # (T, E)
    title_ids = read_tensors(folder, TITLES_FILE)["title_ids"]
    return ReadyVectors(titles=GivenTitles(title_ids.numpy(), vectors.numpy()))


def load_weights(model: UserEncoder, weights: Mapping[str, Tensor], folder: Path) -> None:
    try:
        model.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise BrokenCheckpoint(
            f"{folder / WEIGHTS_FILE} does not fit the settings in {MANIFEST_FILE}: {error}"
        ) from error
