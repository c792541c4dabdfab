"""Whose vectors a privacy card looks at: users with a view in the window before its day."""

from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analyst.lake_access.open_lake import OpenLake
from analyst.vectors.private_noise import PrivacySettings
from contracts.errors import BadInput
from contracts.evaluation_settings import EvaluationSettings
from contracts.forecasts import FORECAST_DAYS
from contracts.instants import midnight_microseconds
from contracts.limits import PRETRAINING_DAYS
from contracts.tables import SEQUENCE_PAIRS
from downstream.data.views import Views, newest_cut, read_views
from model.data.corpus import TRAINING, part_of_users
from model.data.row_hashes import row_fingerprints, string_bytes
from model.storage.checkpoint import Manifest, TrainedModel

_NO_NOISE = PrivacySettings(epsilon=1.0)


@dataclass(frozen=True)
class CardChoices:
    """What shapes a card, besides the model."""

    as_of: date | None = None  # None: the day of the model's training
    labels: tuple[str, ...] = ()  # files of labels; none: those that are marked as sensitive
    splits: int = 10  # of the labelled users
    seed: int = 0
    epsilons: tuple[float, ...] = ()  # of the table of noise; none: no table
    noise: PrivacySettings = _NO_NOISE  # of that table, but for epsilon


@dataclass(frozen=True, eq=False)
class MeasuredUsers:
    """A model, and the views of N judged users before the day, and after it where labels need it.

    `notes` gathers what had to be left out, and why.
    """

    lake: OpenLake
    trained: TrainedModel
    views: Views
    as_of: date
    choices: CardChoices
    settings: EvaluationSettings
    has_later_views: bool
    notes: list[str] = field(default_factory=list)

    @cached_property
    def past(self) -> Views:
        return self.views.before(self.as_of)

    @property
    def manifest(self) -> Manifest:
        return self.trained.manifest

    def training_candidates(self) -> Views:
        """Those of both parts of whom a training would have learned, were they all in its part.

        Their views before the day of the training.
        """
        day = self.manifest.trained_before
        past = self.views.before(day)
        start, end = midnight_microseconds(day - timedelta(days=PRETRAINING_DAYS)), day
        if self.manifest.config.model.form == "memory":
            # A user is cut at a day that leaves so many days for targets.
            end = day - timedelta(days=FORECAST_DAYS)
        elif len(paired := self._users_with_pairs(day)):
            return past.of_users(np.isin(past.user_ids, paired))
        return past.of_users(past.between(start, midnight_microseconds(end)).counts() > 0)

    def _users_with_pairs(self, day: date) -> NDArray[np.str_]:
        if not self.lake.has(SEQUENCE_PAIRS):
            return np.empty(0, np.str_)
        query = "SELECT DISTINCT user_id FROM sequence_pairs WHERE as_of = $day"
        rows = self.lake.connection.execute(query, {"day": day}).fetchall()
        return np.array([user for (user,) in rows], np.str_)


def read_users(lake: OpenLake, trained: TrainedModel, choices: CardChoices) -> MeasuredUsers:
    """Everybody with a view in the window before the day; of very many a sample by hash."""
    manifest = trained.manifest
    day = choices.as_of or manifest.trained_before
    if day < manifest.trained_before:
        raise BadInput(
            f"--as-of {day} is before {manifest.trained_before}, the day of the training: the "
            "model has seen what it would be asked about. Choose that day or a later one"
        )
    settings = EvaluationSettings.from_environment()
    has_later_views = bool(choices.epsilons) and day <= newest_cut(lake, settings.horizon_days)
    horizon_days = settings.horizon_days if has_later_views else 0
    views = read_views(lake, day, horizon_days, settings.max_users)
    return MeasuredUsers(lake, trained, views, day, choices, settings, has_later_views)


def was_trained_on(views: Views) -> NDArray[np.bool_]:
    """(N,) whether a user is in the part that every training learns from, by a hash of the id."""
    ids = pa.array(views.user_ids.tolist(), pa.string())
    return np.asarray(part_of_users(row_fingerprints(string_bytes(ids))) == TRAINING)
