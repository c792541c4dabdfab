"""Which models were trained on users who have been forgotten since: their weights keep it.

The suppression list says of each forgotten user, by a keyed hash, which models had seen the user.
A model inherits what the model had seen whose weights it began from (`--warm-start`), or that it
is an aligned copy of. Reads no Spark, so that commands which only look may ask.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from contracts.errors import GateFailed
from contracts.paths import Places
from contracts.settings.embedding import EmbeddingSettings
from model.storage.training_record import recorded_seconds
from spark_jobs.ingest.suppression_list import forgotten_users

_ALIGNED_COPY = "-aligned-"  # between the id of a model and what names its alignment


@dataclass(frozen=True)
class SeenUsers:
    """Forgotten users whom a model was trained on."""

    num_users: int
    first_asked: date  # the UTC day on which the first of them was forgotten

    def num_days(self, today: date | None = None) -> int:
        """Days since then."""
        return ((today or datetime.now(UTC).date()) - self.first_asked).days

    def __str__(self) -> str:
        return f"{self.num_users:,} since {self.first_asked}"


def seen_by_models(places: Places, settings: Mapping[str, str]) -> dict[str, SeenUsers]:
    """The models that saw somebody who was forgotten; `settings` are all models' JSON, by id."""
    by_model: dict[str, dict[str, date]] = {}
    for entry in forgotten_users(places):
        for model_id in entry.models:
            users = by_model.setdefault(model_id, {})
            users[entry.user_hash] = min(entry.asked, users.get(entry.user_hash, entry.asked))
    seen = {}
    for model_id in settings:
        users = {}
        for each in _with_ancestors(model_id, settings):
            users |= by_model.get(each, {})
        if users:
            seen[model_id] = SeenUsers(len(users), min(users.values()))
    return seen


def _with_ancestors(model_id: str, settings: Mapping[str, str]) -> Set[str]:
    """The model, and those whose weights it began from, and theirs."""
    found: set[str] = set()
    waiting = [model_id]
    while waiting:
        each = waiting.pop()
        if each and each not in found:
            found.add(each)
            waiting += _parents(each, settings.get(each) or "{}")
    return found


def _parents(model_id: str, settings: str) -> Iterator[str]:
    if _ALIGNED_COPY in model_id:
        yield model_id.rpartition(_ALIGNED_COPY)[0]
    # As `memory-2017-07-01-d050133ab3 sha256:...`; empty where the training began at random.
    yield str(json.loads(settings).get("warm_start") or "").partition(" ")[0]


def why_overdue(seen: SeenUsers | None, limit_days: int, today: date | None = None) -> str:
    """What is against serving the model; empty where nothing is, or no limit is set (0)."""
    if seen is None or not limit_days or seen.num_days(today) <= limit_days:
        return ""
    return (
        f"was trained on {seen.num_users:,} users who were forgotten, the first "
        f"{seen.num_days(today)} days ago, and retrain_within_days is {limit_days}"
    )


def must_not_be_overdue(
    places: Places, model_id: str, read_settings: Callable[[], Mapping[str, str]]
) -> None:
    """`GateFailed` where the model may not be served any longer.

    `read_settings` gives all models' JSON by id; without a limit it is not called.
    """
    limit = EmbeddingSettings.from_environment().retrain_within_days
    if not limit:
        return
    if reason := why_overdue(seen_by_models(places, read_settings()).get(model_id), limit):
        raise GateFailed(
            f"{model_id} {reason}: train a model without them (`userbert pretrain`) and promote "
            "it, or raise the limit in conf/embedding.toml"
        )


def forgotten_lines(seen: SeenUsers | None, folder: Path) -> Iterator[str]:
    """A section of the model's card; nothing where the model saw nobody who was forgotten."""
    if seen is None:
        return
    yield from ("", "## Forgotten users", "")
    yield (
        f"It was trained on {seen.num_users:,} users who were forgotten since, the first on "
        f"{seen.first_asked}. Its weights keep what they have learned: only a training without "
        f"these users ends that. {describe_cost(folder)}"
    )


def describe_cost(folder: Path) -> str:
    """What a retraining takes, by the record of the model's own training."""
    seconds = recorded_seconds(folder)
    if seconds is None:
        return "What its own training took is not recorded."
    return f"Its own training took {seconds / 60:,.1f} minutes."
