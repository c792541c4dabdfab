"""Settings of the memory form of the user model, and of the tasks that train it."""

from dataclasses import dataclass
from typing import Annotated, Literal

from model.settings.checks import negative_values, not_positive


@dataclass(frozen=True, kw_only=True)
class MemorySettings:
    """What `ModelConfig` inherits; each is written only where it differs from its default."""

    form: Annotated[
        Literal["window", "memory"],
        "what is read of a user: the window of the newest views, or decayed sums over all of them",
    ] = "window"
    half_lives: Annotated[
        tuple[int, ...], "form memory: days after which a view counts half, a sum for each"
    ] = (7, 28, 91, 182)
    title_width: Annotated[int, "form memory: width of title vectors"] = 64
    soft_counts: Annotated[int, "form memory: soft counts of titles, for each half-life"] = 96
    activity_soft_counts: Annotated[
        int, "form memory: soft counts of titles that the activity block reads"
    ] = 8
    hidden_width: Annotated[int, "form memory: width of the network behind the sums"] = 384
    activity_width: Annotated[
        int, "form memory: first numbers of the vector, the activity block; the rest is preference"
    ] = 64
    activity_bottleneck: Annotated[
        int, "form memory: dimensions that the activity block is spread from"
    ] = 6
    num_classes: Annotated[
        int, "form memory: frequent title words that the tasks predict and reconstruct"
    ] = 200

    def memory_mistakes(self, width: int) -> list[str | bool]:
        """What is wrong with these settings, in words; `width` is that of the user's vector."""
        return [
            *not_positive(
                self,
                "title_width soft_counts activity_soft_counts hidden_width activity_width "
                "activity_bottleneck num_classes",
            ),
            not (self.half_lives and min(self.half_lives) > 0)
            and f"half_lives is {self.half_lives}; name days, each 1 or more",
            self.form == "memory"
            and self.activity_width >= width
            and f"activity_width is {self.activity_width}; it must be below width {width}",
        ]


@dataclass(frozen=True, kw_only=True)
class PeriodSettings:
    """What `PretrainConfig` inherits; each is written only where it differs from its default."""

    weight_decay: Annotated[float, "decay of the weights that a step subtracts, as in AdamW"] = 0.0
    class_weight: Annotated[
        float, "weight of the frequent words that are viewed next, in the task next_period"
    ] = 20.0
    title_weight: Annotated[
        float, "weight of the titles that are viewed next, in the task next_period"
    ] = 1.0
    reconstruction_weight: Annotated[float, "weight of the task reconstruction"] = 3.0
    matching_weight: Annotated[float, "weight of the task period_matching"] = 0.3
    matching_temperature: Annotated[float, "temperature of cosines in period_matching"] = 0.1
    matching_groups: Annotated[
        int,
        "parts of a step within which period_matching contrasts users; a multiple of "
        "processes x accumulation makes each process encode its own users alone",
    ] = 1
    classes_of: Annotated[
        Literal["word", "host"],
        "form memory: what num_classes are: the frequent words of titles, or their hosts",
    ] = "word"
    next_titles: Annotated[
        int, "titles among which next_period finds those that are viewed next; all, if fewer"
    ] = 4096

    def period_mistakes(self, batch_size: int) -> list[str | bool]:
        """What is wrong with these settings, in words."""
        return [
            *not_positive(self, "matching_groups next_titles"),
            *negative_values(
                self,
                "weight_decay class_weight title_weight reconstruction_weight matching_weight",
            ),
            not self.matching_temperature > 0
            and f"matching_temperature is {self.matching_temperature}; it must be above 0",
            self.matching_groups > 0
            and batch_size % self.matching_groups != 0
            and f"batch_size {batch_size} does not divide by matching_groups "
            f"{self.matching_groups}",
        ]
