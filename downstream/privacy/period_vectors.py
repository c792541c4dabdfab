"""Vectors of the same users in two periods that share no view, and who finds whom by them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from contracts.errors import BadInput
from contracts.instants import midnight_microseconds
from contracts.limits import PRETRAINING_DAYS
from downstream.data.views import Views
from downstream.privacy.measured_users import MeasuredUsers, was_trained_on
from downstream.privacy.reidentification import (
    FeatureRows,
    Reidentification,
    ranks_of_own,
    standardized_columns,
    summarized_ranks,
)
from downstream.rivals.aggregates import recency_frequency
from downstream.rivals.encoders import model_vectors
from downstream.tasks.from_logs import user_titles

HALF_DAYS = PRETRAINING_DAYS // 2  # of each period
TRAINED_GROUP, HELD_OUT_GROUP = "trained on", "held out"
_MIN_USERS = 60  # with views in both periods
_COSINE, _STANDARDIZED = "cosine", "standardized"


@dataclass(frozen=True, eq=False)
class PeriodVectors:
    """M users with a view in each period. The periods are the halves of the window."""

    measured: MeasuredUsers
    earlier: Views
    later: Views

    @cached_property
    def of_model(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(M, D) each: of the earlier period as of its end, of the later one as of the day.

        Each is made of the views of its period alone.
        """
        trained, end = self.measured.trained, self.measured.as_of
        middle = end - timedelta(days=HALF_DAYS)
        return model_vectors(trained, self.earlier, middle), model_vectors(trained, self.later, end)

    def _compared(self) -> Iterator[tuple[str, str, tuple[FeatureRows, FeatureRows]]]:
        """The model's vectors beside what anybody could make of the logs."""
        middle = self.measured.as_of - timedelta(days=HALF_DAYS)
        counted = (
            recency_frequency(self.earlier, middle),
            recency_frequency(self.later, self.measured.as_of),
        )
        counts = user_titles(self.earlier), user_titles(self.later)  # (M, T) each
        yield "model", _COSINE, self.of_model
        yield "model", _STANDARDIZED, _both_standardized(self.of_model)
        yield "title counts", _COSINE, (counts[0].log1p(), counts[1].log1p())
        yield "title TF-IDF", _COSINE, _tfidf(counts)
        yield "six activity numbers", _STANDARDIZED, _both_standardized(counted)

    def reidentified(self) -> Iterator[Reidentification]:
        """Each kind of vectors, for the users who were held out and for those trained on."""
        was_trained = was_trained_on(self.earlier)
        for name, compared_by, pair in self._compared():
            ranks = ranks_of_own(*pair)
            for group, chosen in ((HELD_OUT_GROUP, ~was_trained), (TRAINED_GROUP, was_trained)):
                if chosen.any():
                    rows, names = np.flatnonzero(chosen), (name, compared_by, group)
                    yield summarized_ranks(ranks, names, rows, self.measured.choices.seed)


def split_periods(measured: MeasuredUsers) -> PeriodVectors:
    """The users with views in both halves; `BadInput` where they are too few."""
    middle = measured.as_of - timedelta(days=HALF_DAYS)
    start, half, end = (
        midnight_microseconds(day)
        for day in (middle - timedelta(days=HALF_DAYS), middle, measured.as_of)
    )
    earlier, later = measured.views.between(start, half), measured.views.between(half, end)
    has_both = (earlier.counts() > 0) & (later.counts() > 0)
    if has_both.sum() < _MIN_USERS:
        raise BadInput(
            f"{has_both.sum()} users have views both in the {HALF_DAYS} days before {middle} and "
            f"in those from it on, and {_MIN_USERS} are needed: choose another day with --as-of"
        )
    return PeriodVectors(measured, earlier.of_users(has_both), later.of_users(has_both))


def _both_standardized(
    pair: tuple[NDArray[np.floating], NDArray[np.floating]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each by the mean and deviation of its own period, which whoever has both files can do."""
    return standardized_columns(pair[0]), standardized_columns(pair[1])


def _tfidf(counts: tuple[csr_matrix, csr_matrix]) -> tuple[csr_matrix, csr_matrix]:
    """(M, T) each: what the earlier period says of a title's rarity serves both."""
    from sklearn.feature_extraction.text import TfidfTransformer

    weights = TfidfTransformer(sublinear_tf=True).fit(counts[0])
    return weights.transform(counts[0]), weights.transform(counts[1])
