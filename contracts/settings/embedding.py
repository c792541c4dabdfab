"""Whom the nights embed and publish: conf/embedding.toml, or USERBERT_EMBEDDING's file."""

import os
from dataclasses import dataclass
from pathlib import Path

from contracts.commands import CONF_FOLDER
from contracts.errors import BadInput
from contracts.storage.toml_files import Rule, broken_rules, is_count, read_toml

_DEFAULT_FILE = CONF_FOLDER / "embedding.toml"
_STALE_USERS = ("keep", "leave")


@dataclass(frozen=True, kw_only=True)
class EmbeddingSettings:
    """The window of days in which a view makes a user usable, and what comes after it."""

    window_days: int = 182
    stale_users: str = "keep"  # or "leave": whose newest view is before the window
    # Days after which a model that was trained on a user who was forgotten is neither promoted nor
    # published; 0: it is marked, and served on.
    retrain_within_days: int = 0

    @property
    def do_stale_users_leave(self) -> bool:
        """Whether the rows of a user who left the window leave the published table."""
        return self.stale_users == "leave"

    @classmethod
    def read(cls, path: Path) -> "EmbeddingSettings":
        """The settings in `path`, or `BadInput` with everything that is wrong with them."""
        values = read_toml(path)
        if wrong := broken_rules(values, _RULES):
            raise BadInput(f"{path}: {'; '.join(wrong)}")
        return cls(**values)

    @classmethod
    def from_environment(cls) -> "EmbeddingSettings":
        return cls.read(Path(os.environ.get("USERBERT_EMBEDDING", _DEFAULT_FILE)))


def _is_positive(value: object) -> bool:
    return type(value) is int and value > 0


_RULES: dict[str, Rule] = {
    "window_days": ("a whole number of 1 or more", _is_positive),
    "stale_users": (" or ".join(map(repr, _STALE_USERS)), _STALE_USERS.__contains__),
    "retrain_within_days": ("a whole number of 0 or more", is_count),
}
