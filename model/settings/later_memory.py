"""Settings of the memory form that came after its first models: sums in the vector, own titles."""

from dataclasses import dataclass
from typing import Annotated

from model.settings.checks import negative_values


@dataclass(frozen=True, kw_only=True)
class LaterMemorySettings:
    """What `ModelConfig` inherits; each is written only where it differs from its default."""

    activity_sums: Annotated[
        int,
        "form memory: how often the activity block repeats the standardized logs of its sums of "
        "views and sessions and of the two ages, behind what is learned; 0: not at all",
    ] = 0
    class_counts: Annotated[
        int,
        "form memory: last numbers of the vector, the standardized log counts of as many of the "
        "num_classes words",
    ] = 0

    own_titles: Annotated[
        bool,
        "form memory: whether each title of the training has a vector of its own, zero at first, "
        "beside its words; a title that came later has its words alone",
    ] = False

    def later_memory_mistakes(
        self, num_half_lives: int, activity_width: int, width: int, num_classes: int
    ) -> list[str | bool]:
        """What is wrong with these settings, in words."""
        repeated = self.activity_sums * num_activity_sums(num_half_lives)
        return [
            *negative_values(self, "activity_sums class_counts"),
            repeated >= activity_width
            and f"activity_sums is {self.activity_sums}, which makes {repeated} numbers of "
            f"{num_half_lives} half-lives; they must be fewer than activity_width {activity_width}",
            self.class_counts > num_classes
            and f"class_counts is {self.class_counts}; there are num_classes {num_classes}",
            activity_width < width
            and self.class_counts >= width - activity_width
            and f"class_counts is {self.class_counts}; it must be below width {width} without "
            f"activity_width {activity_width}",
        ]


def num_activity_sums(num_half_lives: int) -> int:
    """Views and sessions of each half-life, and the ages of the last and the first view."""
    return 2 * num_half_lives + 2
