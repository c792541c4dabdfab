"""How vectors are judged: conf/downstream.toml, or the file that USERBERT_DOWNSTREAM names."""

import os
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

from contracts.commands import PROJECT_ROOT
from contracts.errors import BadInput

_DEFAULT_FILE = PROJECT_ROOT / "conf" / "downstream.toml"


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """Every choice that changes a figure of the judge."""

    horizon_days: int = 28  # of the labels, from the cut on
    splits: int = 20  # random splits of the users into training and test
    tree_splits_of_many: int = 5  # of them, for LightGBM on tasks of many columns
    tree_columns: int = 10  # the first of many that LightGBM is asked of: 0.2 s a column and fit
    canary_splits: int = 4  # in which labels that were shuffled must give chance
    label_shares: tuple[float, ...] = (0.1, 0.25, 1.0)  # of the training users
    stale_days: tuple[int, ...] = (1, 3, 7, 28)  # ages of vectors in the staleness curve
    stale_splits: int = 10  # of the splits, for that curve
    cold_below_views: int = 10  # a user with fewer views before the cut is cold
    propensity_of: str = "word"  # the 50 most viewed words of titles, or "host"
    next_topic_of: str = "host"
    max_users: int = 20_000  # more are sampled by a hash of their ids
    seed: int = 0
    tasks: tuple[str, ...] = ()  # empty: all tasks from logs, and every labels file
    rivals: tuple[str, ...] = ()  # empty: all
    promotion_tasks: tuple[str, ...] = ("propensity", "preference", "churn", "activity")

    def __post_init__(self) -> None:
        at_least_1 = (
            "horizon_days splits tree_splits_of_many tree_columns stale_splits canary_splits "
            "max_users"
        )
        wrong = [
            *(f"{n} must be 1 or more" for n in at_least_1.split() if getattr(self, n) < 1),
            *(
                f"{name} must be word or host"
                for name in ("propensity_of", "next_topic_of")
                if getattr(self, name) not in ("word", "host")
            ),
            *(
                f"label_shares has {share}; each must be above 0 and at most 1"
                for share in self.label_shares
                if not 0 < share <= 1
            ),
        ]
        if wrong:
            raise BadInput(f"settings of the judge: {'; '.join(wrong)}")

    @classmethod
    def read(cls, path: Path) -> "EvaluationSettings":
        """The settings in `path`, or `BadInput` with everything that is wrong with them."""
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadInput(f"{path} cannot be read: {error}") from error
        types = {each.name: each.type for each in fields(cls)}
        wrong = [
            f"there is no setting {name}"
            if name not in types
            else f"{name} is {value!r}; it must be {_in_words(types[name])}"
            for name, value in values.items()
            if name not in types or not _fits(value, types[name])
        ]
        if wrong:
            raise BadInput(f"{path}: {'; '.join(wrong)}")
        parts: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(**parts)

    @classmethod
    def from_environment(cls) -> "EvaluationSettings":
        return cls.read(Path(os.environ.get("USERBERT_DOWNSTREAM", _DEFAULT_FILE)))


def _fits(value: object, kind: Any) -> bool:
    if item := get_args(kind):
        return isinstance(value, list) and all(_fits(each, item[0]) for each in value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is kind


def _in_words(kind: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "text"}
    return f"a list, each {names[item[0]]}" if (item := get_args(kind)) else names[kind]
