"""The cells of a grid: each is one fine-tuning (or one embedding), and has a file of its own.

A cell's name follows from everything that changes its figures, so that a killed grid goes on where
it was, and experiments that share cells compute them once.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from contracts.paths import Places
from contracts.provenance import code_version
from contracts.storage.atomic_write import write_json
from model.config import PretrainConfig
from model.training.finetuning import FinetuneSettings


@dataclass(frozen=True)
class Folders:
    """Where experiments keep what they make: experiments/ in the data root. Safe to delete."""

    places: Places

    @property
    def root(self) -> Path:
        return self.places.root / "experiments"

    @property
    def data(self) -> Path:
        """Impressions as arrays."""
        return self.root / "data"

    @property
    def models(self) -> Path:
        """Pre-trained models."""
        return self.root / "models"

    def model(self, pretraining: "Pretraining") -> Path:
        """The folder of a pre-trained model."""
        folder = self.places.models if pretraining.is_given else self.models
        return folder / pretraining.model_id

    @property
    def cells(self) -> Path:
        """A JSON file for each finished cell and pre-training."""
        return self.root / "cells"

    @property
    def results(self) -> Path:
        """A folder for each run: tables, JSON and a picture."""
        return self.root / "results"


@dataclass(frozen=True)
class Pretraining:
    """One model to pre-train."""

    base_model: str
    variant: str
    config: PretrainConfig
    model_id: str
    as_of: date
    is_given: bool = False  # a model of the data root, which no grid pre-trains


@dataclass(frozen=True)
class Cell:
    """One row of the results. `share` is 1 where nothing is fine-tuned."""

    kind: str
    pretraining: Pretraining
    data: str  # the name of the click data, or of the planted interests
    finetuning: FinetuneSettings | None
    share: float  # of the training impressions
    seed: int

    @property
    def key(self) -> str:
        """Names the cell's file."""
        facts = {
            "kind": self.kind,
            "model": self.pretraining.model_id,
            "data": self.data,
            "finetuning": asdict(self.finetuning) if self.finetuning else None,
            "share": self.share,
            "seed": self.seed,
        }
        return _digest(facts)

    @property
    def cost_key(self) -> str:
        """Equal for cells that cost about the same: all but the weights and the seed are equal."""
        facts = {
            "kind": self.kind,
            "model": self.pretraining.config.model.to_json(),
            "data": self.data,
            "finetuning": asdict(self.finetuning) if self.finetuning else None,
            "share": self.share,
        }
        return _digest(facts)


def _digest(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:20]


@dataclass(frozen=True)
class CellResult:
    """What a cell measured."""

    metrics: dict[str, float]
    seconds: float  # on the clock
    facts: dict[str, Any] = field(default_factory=dict)  # steps, validation score
    cpu_seconds: float | None = None  # of its process; None of older files


def finished_result(cell: Cell, folders: Folders) -> CellResult | None:
    path = folders.cells / f"{cell.key}.json"
    if not path.exists():
        return None
    stored = json.loads(path.read_text())
    return CellResult(
        stored["metrics"], stored["seconds"], stored["facts"], stored.get("cpu_seconds")
    )


def keep_result(cell: Cell, result: CellResult, folders: Folders) -> None:
    """Write the cell's file, whole or not at all, with what it takes to make it again."""
    about = {
        "base_model": cell.pretraining.base_model,
        "variant": cell.pretraining.variant,
        "model_id": cell.pretraining.model_id,
        "data": cell.data,
        "share": cell.share,
        "seed": cell.seed,
        "code_version": code_version(),
        "cost_key": cell.cost_key,
    }
    write_json(folders.cells / f"{cell.key}.json", asdict(result) | about)
