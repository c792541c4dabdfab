"""The choices of a model and of one pre-training run: checked, written as JSON, read from flags."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args, get_origin

from contracts.errors import BadInput
from contracts.limits import EMBEDDING_WIDTH, MAX_TITLE_WORDS, MAX_VIEWS
from model.task_registry import TASKS

BehaviorEncoderName = Literal["id", "cnn", "transformer"]
ContextEncoderName = Literal["self_attention", "gru", "lstm", "cnn"]
AggregatorName = Literal["attentive", "max", "average", "last"]


def _refuse(*mistakes: str | bool | int) -> None:
    """Raise BadInput that names all the mistakes, if there is one."""
    if found := [mistake for mistake in mistakes if isinstance(mistake, str)]:
        raise BadInput("; ".join(found))


def _not_in_choices(config: Any) -> list[str]:
    literals = [each for each in fields(config) if get_origin(each.type) is Literal]
    return [
        f"{each.name} is {getattr(config, each.name)!r}; choose {', '.join(get_args(each.type))}"
        for each in literals
        if getattr(config, each.name) not in get_args(each.type)
    ]


def _not_positive(config: Any, names: str) -> list[str]:
    values = {name: getattr(config, name) for name in names.split()}
    return [
        f"{name} is {value}; it must be 1 or more" for name, value in values.items() if value < 1
    ]


def _negative(config: Any, names: str) -> list[str]:
    values = {name: getattr(config, name) for name in names.split()}
    return [
        f"{name} is {value}; it must not be below 0" for name, value in values.items() if value < 0
    ]


def _unknown(owner: type[Any], values: Mapping[str, Any]) -> list[str]:
    known = {each.name for each in fields(owner)}
    return [f"{owner.__name__} has no field {name!r}" for name in values if name not in known]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The user model of section 3.1. The defaults are NRMS at the paper's widths (Table 4)."""

    behavior_encoder: BehaviorEncoderName = "transformer"
    context_encoder: ContextEncoderName = "self_attention"
    aggregator: AggregatorName = "attentive"
    width: int = EMBEDDING_WIDTH  # of a title's and a user's vector and of every hidden state
    word_width: int = 300  # of a word's embedding
    query_width: int = 200  # of the attention queries
    heads: int = 16  # of every self-attention
    window: int = 3  # words, or behaviors, that a convolution sees at once; odd
    dropout: float = 0.2  # of behavior embeddings and of their states, drawn an occurrence
    max_words: int = MAX_TITLE_WORDS  # of a title
    max_views: int = MAX_VIEWS  # of a sequence

    def __post_init__(self) -> None:
        _refuse(
            *_not_in_choices(self),
            *_not_positive(self, "width word_width query_width heads window max_words max_views"),
            self.heads > 0
            and self.width % self.heads
            and f"width {self.width} does not divide into {self.heads} heads",
            self.window % 2 == 0 and f"window is {self.window}; it must be odd",
            not 0 <= self.dropout < 1 and f"dropout is {self.dropout}; it must be in [0, 1)",
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "ModelConfig":
        _refuse(*_unknown(cls, values))
        return cls(**values)


# The paper's six base models in its own general framework (Fig. 2); docs/decisions.md says why.
BASE_MODELS: dict[str, ModelConfig] = {
    "naml": ModelConfig(behavior_encoder="cnn", context_encoder="cnn"),
    "lstur": ModelConfig(behavior_encoder="cnn", context_encoder="gru", aggregator="last"),
    "nrms": ModelConfig(behavior_encoder="transformer", context_encoder="self_attention"),
    "gru4rec": ModelConfig(behavior_encoder="id", context_encoder="gru", aggregator="last"),
    "nativectr": ModelConfig(behavior_encoder="cnn", context_encoder="lstm"),
    "bert4rec": ModelConfig(behavior_encoder="id", context_encoder="self_attention"),
}


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """One pre-training run. The defaults are the paper's; written as JSON beside the checkpoint."""

    model: ModelConfig = field(default_factory=ModelConfig)
    tasks: tuple[str, ...] = ("mbp", "bsm")  # summed: mbp, bsm, nbp, cp
    masked_from: Literal["state", "user"] = "state"  # what predicts a masked behavior; PTUM: user
    masked_sequences: Literal["a", "both"] = "a"  # of a pair: where behaviors are masked
    negatives: Literal["random", "medium", "hardest"] = "medium"
    behavior_pool: int = 1000  # behaviors drawn anew each step (the paper's m)
    sequence_pool: int = 100  # crops drawn each refresh (the paper's u)
    refresh_interval: int = 50  # steps that a sequence pool serves
    ranking_dtype: Literal["auto", "float32", "bfloat16"] = (
        "auto"  # auto: model/objective/negatives.py
    )
    K: int = 4  # negative behaviors a target
    P: int = 4  # negative sequences a target
    next_behaviors: int = 2  # of the task nbp (PTUM's K)
    mask_rate: float = 0.1  # share of a sequence's behaviors hidden; at least one
    first_weights: Literal["plain", "centered"] = (
        "plain"  # centered: model/training/initialization.py
    )
    reduction: Literal["mean", "sum"] = "mean"  # equations 1 and 2 are sums
    learning_rate: float = 1e-5  # Table 4
    batch_size: int = 32  # pairs a step, over all processes and micro-batches
    accumulation: int = 1  # micro-batches a step
    steps: int = 100_000  # updates of the weights; 0: the untrained model, to compare with
    warmup_steps: int = 0  # over which the learning rate rises
    cooldown_steps: int = 0  # the last ones, over which it falls to nothing
    max_norm: float = 0.0  # of the whole gradient; 0 leaves it as it is
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the multiplications
    compile: bool = False  # by torch.compile
    seed: int = 0
    min_count: int = 1  # titles that a word must stand in to be in the vocabulary
    validation_interval: int = 1000  # steps between looks at the held-out users; 0: never
    validation_pairs: int = 2048  # held-out pairs looked at, at most
    patience: int = 0  # looks without improvement before an early stop; 0: never stop early
    checkpoint_interval: int = 1000  # steps; 0: only at the end and on SIGTERM

    def __post_init__(self) -> None:
        _refuse(
            *_not_in_choices(self),
            *_not_positive(
                self,
                "behavior_pool sequence_pool refresh_interval K P next_behaviors batch_size "
                "accumulation validation_pairs min_count",
            ),
            *_negative(
                self,
                "steps warmup_steps cooldown_steps max_norm seed validation_interval patience "
                "checkpoint_interval",
            ),
            *(
                f"tasks has {task!r}; the tasks are {', '.join(TASKS)}"
                for task in self.tasks
                if task not in TASKS
            ),
            (not self.tasks or len(set(self.tasks)) < len(self.tasks))
            and f"tasks is {','.join(self.tasks)!r}; name each task once, and at least one",
            not 0 < self.mask_rate < 1
            and f"mask_rate is {self.mask_rate}; it must lie between 0 and 1",
            not self.learning_rate > 0
            and f"learning_rate is {self.learning_rate}; it must be above 0",
            self.accumulation > 0
            and self.batch_size % self.accumulation
            and f"batch_size {self.batch_size} does not divide by accumulation {self.accumulation}",
        )

    def to_json(self) -> dict[str, Any]:
        """What `json.dumps` takes and `from_json` reads."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "PretrainConfig":
        _refuse(*_unknown(cls, values))
        rest = {name: value for name, value in values.items() if name not in {"model", "tasks"}}
        if "tasks" in values:
            rest["tasks"] = tuple(values["tasks"])
        return cls(model=ModelConfig.from_json(values.get("model", {})), **rest)


_TINY = ModelConfig(
    behavior_encoder="cnn", width=16, word_width=12, query_width=8, heads=2, max_views=100
)

PRESETS: dict[str, PretrainConfig] = {
    "paper": PretrainConfig(),
    # Two minutes on two cores, NRMS at the paper's widths. Of a few thousand titles the hardest
    # teach which titles are like all others, and sequences that serve many steps are learned by
    # heart: negatives are random and drawn anew each step (docs/decisions.md has the trials).
    "small": PretrainConfig(
        learning_rate=1e-3,
        first_weights="centered",
        negatives="random",
        behavior_pool=200,
        sequence_pool=50,
        refresh_interval=1,
        batch_size=16,
        warmup_steps=20,
        cooldown_steps=350,
        steps=500,
        validation_interval=100,
        checkpoint_interval=100,
        patience=5,
    ),
    # The whole pipeline in seconds: vectors as wide as the tables ask, a handful of steps.
    "smoke": PretrainConfig(
        learning_rate=1e-4,
        first_weights="centered",
        behavior_pool=50,
        sequence_pool=20,
        refresh_interval=10,
        batch_size=8,
        steps=10,
        validation_interval=5,
        checkpoint_interval=5,
    ),
    # Seconds: what tests and the end-to-end run use.
    "tiny": PretrainConfig(
        model=_TINY,
        learning_rate=3e-3,
        steps=60,
        batch_size=8,
        behavior_pool=50,
        sequence_pool=20,
        refresh_interval=20,
        validation_interval=20,
        validation_pairs=64,
        checkpoint_interval=20,
    ),
    # The paper's baselines, otherwise as "paper".
    "ptum": PretrainConfig(tasks=("mbp", "nbp"), masked_from="user", negatives="random"),
    "cp": PretrainConfig(tasks=("cp",), negatives="random"),
}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """`--preset`, `--base-model`, and a flag for each field of both dataclasses; all optional."""
    parser.add_argument("--preset", choices=PRESETS, default="paper", help="default: %(default)s")
    parser.add_argument("--base-model", choices=BASE_MODELS, help="its encoders and aggregator")
    for owner in (ModelConfig, PretrainConfig):
        for each in fields(owner):
            if each.name != "model":
                flag = "--" + each.name.replace("_", "-")
                parser.add_argument(
                    flag, default=None, help="over the preset", **_reader(each.type)
                )


def from_flags(flags: argparse.Namespace) -> PretrainConfig:
    """The preset, then the base model, then each flag that was given."""
    config = PRESETS[flags.preset]
    given = {name: value for name, value in vars(flags).items() if value is not None}
    parts: dict[str, Any] = {}
    if flags.base_model:
        base = BASE_MODELS[flags.base_model]
        parts = {name: getattr(base, name) for name in _PARTS}
    parts |= {each.name: given[each.name] for each in fields(ModelConfig) if each.name in given}
    rest = {each.name: given[each.name] for each in fields(PretrainConfig) if each.name in given}
    return replace(config, model=replace(config.model, **parts), **rest)


_PARTS = ("behavior_encoder", "context_encoder", "aggregator")


def _reader(kind: Any) -> dict[str, Any]:
    """How argparse reads a field of this type."""
    if kind is bool:
        return {"action": argparse.BooleanOptionalAction}
    if get_origin(kind) is Literal:
        return {"choices": get_args(kind)}
    if get_origin(kind) is tuple:
        return {"type": lambda text: tuple(text.split(",")), "metavar": "NAME,NAME"}
    return {"type": kind}
