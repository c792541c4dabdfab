"""The choices of a model and of one pre-training run: checked, and written as JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from model.settings.checks import (
    changed_settings,
    negative_values,
    not_finite,
    not_in_choices,
    not_positive,
    refuse_mistakes,
    unknown_settings,
    with_tuples,
    written_settings,
)
from model.settings.memory import PeriodSettings
from model.settings.model_config import (
    BASE_MODELS,
    AggregatorName,
    BehaviorEncoderName,
    ContextEncoderName,
    ModelConfig,
)
from model.settings.ready_vectors import ReadyVectorSettings
from model.settings.scores import NegativesName, ScoreSettings
from model.task_registry import TASKS

__all__ = [
    "BASE_MODELS",
    "PRESETS",
    "AggregatorName",
    "BehaviorEncoderName",
    "ContextEncoderName",
    "ModelConfig",
    "PretrainConfig",
]


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(ScoreSettings, ReadyVectorSettings, PeriodSettings):
    """One pre-training run. The defaults are the paper's; written as JSON beside the checkpoint."""

    model: Annotated[ModelConfig, "the user model"] = field(default_factory=ModelConfig)
    tasks: Annotated[
        tuple[str, ...],
        "tasks whose losses are summed: mbp, bsm (the paper's), nbp (PTUM's), cp (contrastive); of "
        "the form memory next_period, reconstruction, period_matching",
    ] = ("mbp", "bsm")
    masked_from: Annotated[
        Literal["state", "user"],
        "what predicts a masked behavior: its state, or the user's vector, as in PTUM",
    ] = "state"
    masked_sequences: Annotated[
        Literal["a", "both"], "which sequences of a pair have masked behaviors"
    ] = "a"
    negatives: Annotated[NegativesName, "how negative samples are chosen from the pools"] = "medium"
    behavior_pool: Annotated[int, "behaviors drawn at each step (the paper's m)"] = 1000
    sequence_pool: Annotated[int, "sequence crops drawn at each refresh (the paper's u)"] = 100
    refresh_interval: Annotated[int, "steps that a sequence pool serves"] = 50
    ranking_dtype: Annotated[
        Literal["auto", "float32", "bfloat16"],
        "precision in which candidates for negatives are ranked; auto decides by device",
    ] = "auto"
    K: Annotated[int, "negative behaviors of each target"] = 4
    P: Annotated[int, "negative sequences of each target"] = 4
    next_behaviors: Annotated[int, "behaviors that the task nbp predicts (PTUM's K)"] = 2
    mask_rate: Annotated[float, "share of a sequence's behaviors that is masked; at least one"] = (
        0.1
    )
    word_dropout: Annotated[
        float,
        "chance of a word, or of a title that is known by its id, to be the unknown one in a step, "
        "which trains the unknown one",
    ] = 0.0
    first_weights: Annotated[
        Literal["plain", "centered"],
        "initialization; centered is explained in model/training/initialization.py",
    ] = "plain"
    reduction: Annotated[
        Literal["mean", "sum"], "how the losses of a batch are reduced; equations 1 and 2 sum"
    ] = "mean"
    learning_rate: Annotated[float, "learning rate of Adam; Table 4 has 1e-5"] = 1e-5
    batch_size: Annotated[int, "pairs of a step, over all processes and micro-batches"] = 32
    accumulation: Annotated[int, "micro-batches of a step"] = 1
    steps: Annotated[
        int, "updates of the weights; 0 gives the untrained model, to compare with"
    ] = 100_000
    warmup_steps: Annotated[int, "first steps, over which the learning rate rises"] = 0
    cooldown_steps: Annotated[int, "last steps, over which the learning rate falls to 0"] = 0
    max_norm: Annotated[float, "norm to which the whole gradient is clipped; 0: no clipping"] = 0.0
    dtype: Annotated[Literal["float32", "bfloat16"], "precision of matrix products"] = "float32"
    compile: Annotated[bool, "compile the model by torch.compile"] = False
    seed: Annotated[int, "seed of every random draw"] = 0
    min_count: Annotated[int, "titles that must hold a word for it to enter the vocabulary"] = 1
    validation_interval: Annotated[
        int, "steps between evaluations on the validation users; 0: never"
    ] = 1000
    validation_pairs: Annotated[
        int, "validation pairs, and at the end test pairs, that are evaluated, at most"
    ] = 2048
    patience: Annotated[
        int, "evaluations without improvement that end the training early; 0: never"
    ] = 0
    checkpoint_interval: Annotated[
        int, "steps between checkpoints; 0: only at the end and on SIGTERM"
    ] = 1000

    def __post_init__(self) -> None:
        refuse_mistakes(*not_finite(self))
        refuse_mistakes(
            *not_in_choices(self),
            *not_positive(
                self,
                "behavior_pool sequence_pool refresh_interval K P next_behaviors batch_size "
                "accumulation validation_pairs min_count",
            ),
            *negative_values(
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
            *(
                f"the task {task} trains the form {TASKS[task].form}, and form is {self.model.form}"
                for task in self.tasks
                if task in TASKS and TASKS[task].form != self.model.form
            ),
            *self.period_mistakes(self.batch_size),
            not 0 < self.mask_rate < 1
            and f"mask_rate is {self.mask_rate}; it must lie between 0 and 1",
            not 0 <= self.word_dropout < 1
            and f"word_dropout is {self.word_dropout}; it must be in [0, 1)",
            not self.learning_rate > 0
            and f"learning_rate is {self.learning_rate}; it must be above 0",
            self.accumulation > 0
            and self.batch_size % self.accumulation
            and f"batch_size {self.batch_size} does not divide by accumulation {self.accumulation}",
            *self.score_mistakes(self.tasks),
            *(
                f"{name} is a setting of the form window, and form is {self.model.form}"
                for name in changed_settings(self, ScoreSettings)
                if self.model.form != "window"
            ),
            self.model.time_features
            and "cp" in self.tasks
            and "the task cp reorders behaviors, which leaves them without their times: train it "
            "without time_features",
        )

    @property
    def negatives_of_behaviors(self) -> NegativesName:
        own = self.behavior_negatives
        return self.negatives if own == "common" else own

    @property
    def negatives_of_sequences(self) -> NegativesName:
        own = self.sequence_negatives
        return self.negatives if own == "common" else own

    def to_json(self) -> dict[str, Any]:
        """What `json.dumps` takes and `from_json` reads."""
        values = written_settings(self) | {"model": self.model.to_json()}
        return json.loads(json.dumps(values))  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "PretrainConfig":
        refuse_mistakes(*unknown_settings(cls, values))
        model = ModelConfig.from_json(values.get("model", {}))
        return cls(**with_tuples(cls, values) | {"model": model})


_TINY = ModelConfig(
    behavior_encoder="cnn", width=16, word_width=12, query_width=8, heads=2, max_views=100
)

# Table 4, and two things that the paper leaves open: words have positions, as in the authors'
# published code of PTUM, and a tenth of them is dropped, which trains the unknown word.
_PAPER = PretrainConfig(model=ModelConfig(word_positions=True), word_dropout=0.1)

_MEMORY = PretrainConfig(
    model=ModelConfig(form="memory", dropout=0.15),
    tasks=("next_period", "reconstruction", "period_matching"),
    learning_rate=2e-3,
    weight_decay=1e-2,
    word_dropout=0.1,
    max_norm=1.0,
    batch_size=128,
    warmup_steps=30,
    cooldown_steps=1500,
    steps=1500,
    validation_interval=500,
    checkpoint_interval=500,
)

PRESETS: dict[str, PretrainConfig] = {
    "paper": _PAPER,
    # Two minutes on two cores, NRMS at the paper's widths. Of a few thousand titles the hardest
    # teach which titles are like all others, and sequences that serve many steps are learned by
    # heart: negatives are random and drawn anew each step (docs/performance.md has the trials).
    # Word dropout: where a tenth of a user's words is new, the cosine to the vector with all words
    # known is 0.91 and not 0.66, at the same accuracies (200 steps, width 64, three seeds).
    "small": PretrainConfig(
        word_dropout=0.1,
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
        word_dropout=0.1,
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
        word_dropout=0.1,
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
    # Three minutes on two cores: the long memory over all views (docs/results/search.md).
    "memory": _MEMORY,
    # The same, wider, for GPUs and logs of many users and titles: a guess that no judge has seen.
    "strong": replace(
        _MEMORY,
        model=replace(
            _MEMORY.model, title_width=128, soft_counts=256, hidden_width=1024, num_classes=1000
        ),
        batch_size=1024,
        matching_groups=8,
        next_titles=16_384,
        steps=20_000,
        warmup_steps=200,
        cooldown_steps=20_000,
        validation_interval=1000,
        checkpoint_interval=1000,
    ),
    # The paper's baselines, otherwise as "paper".
    "ptum": replace(_PAPER, tasks=("mbp", "nbp"), masked_from="user", negatives="random"),
    "cp": replace(_PAPER, tasks=("cp",), negatives="random"),
}
