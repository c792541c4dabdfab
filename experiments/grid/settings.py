"""What is compared, on what and how large: conf/experiments.toml, or USERBERT_EXPERIMENTS."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from contracts.commands import CONF_FOLDER
from contracts.errors import BadInput
from contracts.storage.toml_files import read_toml
from model.config import BASE_MODELS, PRESETS, ModelConfig, PretrainConfig
from model.training.finetuning import FinetuneSettings

_MODEL_SETTINGS = frozenset(each.name for each in fields(ModelConfig))
DEFAULT_FILE = CONF_FOLDER / "experiments.toml"
FINETUNING, INTERESTS = "finetuning", "interests"  # kinds of experiments
_MEMORY = "memory"  # the base model of the memory form, which the paper does not have
_ENCODERS = ("behavior_encoder", "context_encoder", "aggregator")


@dataclass(frozen=True, kw_only=True)
class SizePreset:
    """How large the cells of a grid are, and how many."""

    pretraining_preset: str
    seeds: int
    pretraining_seeds: int  # seed n is fine-tuned from pre-training n modulo this number
    label_shares: tuple[float, ...]
    max_impressions: int
    max_users: int
    memory_preset: str = "memory"  # of pre-training, for the base model `memory`
    memory_model: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)  # what differs from the base model
    pretraining: dict[str, Any] = field(default_factory=dict)
    finetuning: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ExperimentSettings:
    """A table or a figure."""

    name: str
    caption: str
    clicks: str  # news or ads
    baseline: str  # the variant that the others are tested against
    kind: str = FINETUNING
    base_models: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    sweep: dict[str, list[Any]] = field(default_factory=dict)  # one setting and its values
    metrics: tuple[str, ...] = ()
    negatives: int = 4
    finding: str = ""  # of the paper, in words
    paper: dict[str, Any] = field(default_factory=dict)

    @property
    def swept(self) -> str | None:
        """The setting that a sweep varies."""
        return next(iter(self.sweep), None)

    def with_variants(self, names: tuple[str, ...]) -> "ExperimentSettings":
        """The same experiment with some of its variants, or with others; of a sweep some values."""
        if self.swept is None:
            return replace(self, variants=names)
        values = {f"{self.swept}={value}": value for value in self.sweep[self.swept]}
        if unknown := [name for name in names if name not in values]:
            raise BadInput(
                f"{unknown[0]!r} is no variant of {self.name}; choose {', '.join(values)}"
            )
        return replace(self, sweep={self.swept: [values[name] for name in names]})

    def paper_mean(self, metric: str, base_model: str, variant: str, share: float) -> float | None:
        """What the paper reports for a cell, or None."""
        means = self.paper.get(metric, {}).get(base_model, {}).get(variant)
        shares = (0.1, 0.25, 1.0)
        return means[shares.index(share)] / 100 if means and share in shares else None


@dataclass(frozen=True)
class ExperimentFile:
    """The whole file."""

    experiments: dict[str, ExperimentSettings]
    variants: dict[str, dict[str, Any]]
    presets: dict[str, SizePreset]

    @classmethod
    def from_environment(cls) -> "ExperimentFile":
        return cls.read(Path(os.environ.get("USERBERT_EXPERIMENTS", DEFAULT_FILE)))

    @classmethod
    def read(cls, path: Path) -> "ExperimentFile":
        values = read_toml(path)
        try:
            return cls._checked(values)
        except (BadInput, KeyError, TypeError) as error:
            raise BadInput(f"{path}: {error}") from error

    @classmethod
    def _checked(cls, values: Mapping[str, Any]) -> "ExperimentFile":
        for section in ("variants", "clicks", "presets", "experiments"):
            if section not in values:
                raise BadInput(f"it has no section [{section}.NAME]")
        experiments = {
            name: _experiment(name, facts, values["clicks"])
            for name, facts in values["experiments"].items()
        }
        presets = {
            name: _of_fields(SizePreset, f"presets.{name}", facts)
            for name, facts in values["presets"].items()
        }
        whole = cls(experiments, values["variants"], presets)
        for experiment in experiments.values():
            whole.require_known(experiment)
        return whole

    def experiment(self, name: str) -> ExperimentSettings:
        if name not in self.experiments:
            raise BadInput(f"{name!r} is no experiment; choose {', '.join(self.experiments)}")
        return self.experiments[name]

    def preset(self, name: str) -> SizePreset:
        if name not in self.presets:
            raise BadInput(f"{name!r} is no preset; choose {', '.join(self.presets)}")
        return self.presets[name]

    def require_known(self, experiment: ExperimentSettings) -> None:
        """Refuse base models, variants and a baseline that do not exist."""
        names = variant_names(experiment)
        wrong = [f"base model {name!r}" for name in experiment.base_models
                 if name not in (*BASE_MODELS, _MEMORY)]  # fmt: skip
        wrong += [f"variant {name!r}" for name in experiment.variants if name not in self.variants]
        wrong += [] if experiment.baseline in names else [f"baseline {experiment.baseline!r}"]
        if wrong:
            raise BadInput(f"experiments.{experiment.name} names no known {', '.join(wrong)}")

    def pretraining(
        self, experiment: ExperimentSettings, preset: SizePreset, base_model: str, variant: str
    ) -> PretrainConfig:
        """The settings of one pre-training, with seed 0; held-out users do not end it."""
        of_variant = self._variant(experiment, variant)
        of_model = {n: of_variant.pop(n) for n in list(of_variant) if n in _MODEL_SETTINGS}
        if base_model == _MEMORY:
            base = PRESETS[preset.memory_preset]
            model = replace(base.model, **preset.memory_model | of_model)
        else:
            base = PRESETS[preset.pretraining_preset]
            encoders = {name: getattr(BASE_MODELS[base_model], name) for name in _ENCODERS}
            model = replace(base.model, **encoders | preset.model | of_model)
        held_out = {"patience": 0, "validation_interval": 0}
        return replace(base, model=model, **_once(preset.pretraining, of_variant, held_out))

    def _variant(self, experiment: ExperimentSettings, variant: str) -> dict[str, Any]:
        """What a variant changes; of a sweep, UserBERT with another value of one setting."""
        if experiment.swept is None:
            return dict(self.variants[variant])
        value = experiment.sweep[experiment.swept][variant_names(experiment).index(variant)]
        return {**self.variants["UserBERT"], experiment.swept: value}


def _once(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """The later of equal names; lists as the tuples that settings have."""
    joined = {name: value for part in parts for name, value in part.items()}
    return {n: tuple(value) if isinstance(value, list) else value for n, value in joined.items()}


def variant_names(experiment: ExperimentSettings) -> tuple[str, ...]:
    """The variants of an experiment; those of a sweep are SETTING=VALUE."""
    if experiment.swept is None:
        return experiment.variants
    return tuple(f"{experiment.swept}={v}" for v in experiment.sweep[experiment.swept])


def finetune_settings(experiment: ExperimentSettings, preset: SizePreset) -> FinetuneSettings:
    return FinetuneSettings(**{"negatives": experiment.negatives, **preset.finetuning})


def _experiment(
    name: str, facts: Mapping[str, Any], kinds: Mapping[str, Any]
) -> ExperimentSettings:
    clicks = str(facts.get("clicks"))
    if clicks not in kinds:
        raise BadInput(f"experiments.{name}: clicks is {clicks!r}; choose {', '.join(kinds)}")
    kind = kinds[clicks]
    defaults = {
        "metrics": kind["metrics"],
        "negatives": kind["negatives"],
        "base_models": [kind["base_model"]],
    }
    experiment: ExperimentSettings = _of_fields(
        ExperimentSettings, f"experiments.{name}", {"name": name, **defaults, **facts}
    )
    return experiment


def _of_fields(owner: Any, where: str, facts: Mapping[str, Any]) -> Any:
    known = {each.name for each in fields(owner)}
    if unknown := [name for name in facts if name not in known]:
        raise BadInput(f"{where} has no setting {unknown[0]}")
    parts = {n: tuple(value) if isinstance(value, list) else value for n, value in facts.items()}
    try:
        return owner(**parts)
    except TypeError as error:
        raise BadInput(f"{where}: {error}") from error
