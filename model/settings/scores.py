"""Settings of scores, negatives and weights, each for a task; their defaults change nothing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

NegativesName = Literal["random", "medium", "hardest"]
_ScoreName = Literal["dot", "cosine"]
_OwnNegatives = Literal["common", "random", "medium", "hardest"]


@dataclass(frozen=True)
class VectorScore:
    """How alike two vectors are: their dot product, or their cosine divided by `temperature`."""

    name: _ScoreName = "dot"
    temperature: float = 1.0


DOT_PRODUCT = VectorScore()


@dataclass(frozen=True, kw_only=True)
class ScoreSettings:
    """What `PretrainConfig` inherits; each is written only where it differs from its default."""

    behavior_score: Annotated[
        _ScoreName, "score of a behavior against what predicts it, in the tasks mbp and nbp"
    ] = "dot"
    matching_score: Annotated[
        _ScoreName, "score of two sequences' vectors, in the tasks bsm and cp"
    ] = "dot"
    temperature: Annotated[float, "what a cosine is divided by to be a logit"] = 0.1
    behavior_negatives: Annotated[
        _OwnNegatives, "how negative behaviors are chosen; common: as the setting negatives says"
    ] = "common"
    sequence_negatives: Annotated[
        _OwnNegatives, "how negative sequences are chosen; common: as the setting negatives says"
    ] = "common"
    set_aside_own: Annotated[
        bool,
        "never take what the same user viewed in A or B, or another pair of the same user, as a "
        "negative",
    ] = False
    task_weights: Annotated[
        tuple[str, ...], "weights of the tasks' losses, as TASK=WEIGHT; a task not named has 1"
    ] = ()

    @property
    def score_of_behaviors(self) -> VectorScore:
        return self._score(self.behavior_score)

    @property
    def score_of_sequences(self) -> VectorScore:
        return self._score(self.matching_score)

    def _score(self, name: _ScoreName) -> VectorScore:
        return VectorScore(name, self.temperature) if name == "cosine" else DOT_PRODUCT

    def weight_of(self, task: str) -> float:
        """What the loss of `task` is multiplied with."""
        weights = {task: _number(text) for task, text in self._weights_as_written()}
        return weights.get(task, 1.0)

    def _weights_as_written(self) -> list[tuple[str, str]]:
        parts = (each.partition("=") for each in self.task_weights)
        return [(task.strip(), text.strip()) for task, _, text in parts]

    def score_mistakes(self, tasks: Sequence[str]) -> list[str | bool]:
        """What is wrong with these settings, in words, where a run has these tasks."""
        return [
            not self.temperature > 0 and f"temperature is {self.temperature}; it must be above 0",
            *(
                f"task_weights has {task}={text}; write TASK=WEIGHT with a task of the run "
                f"({', '.join(tasks)}) and a finite number above 0"
                for task, text in self._weights_as_written()
                if task not in tasks or not 0 < _number(text) < math.inf
            ),
        ]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
