"""What anybody can count by hand: how much, how often, how lately, when, and of what."""

from datetime import date

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from contracts.instants import DAY_MICROSECONDS, midnight_microseconds
from downstream.data.views import Views
from downstream.tasks.from_logs import title_hosts, title_words, user_titles

_Matrix = NDArray[np.float64]
_WINDOWS_DAYS = (7, 28, 91)  # beside all days
_NO_VIEW_DAYS = 365.0  # recency of a user without a view
TOP_HOSTS, TOP_TITLES, TOP_WORDS = 50, 250, 200


def num_views(past: Views, as_of: date) -> _Matrix:
    """(N, 1) the log of the number of views: the rival that every vector has to beat."""
    return np.asarray(np.log1p(past.counts())[:, None])


def recency_frequency(past: Views, as_of: date) -> _Matrix:
    """(N, 6): log days since the last and the first view, views and sessions of 28 days and all."""
    recent = _last_days(past, as_of, 28)
    counts = [_sums(each, starts) for each in (recent, past) for starts in (False, True)]
    return np.asarray(np.log1p(np.stack([*_ages(past, as_of), *counts], axis=1)))


def aggregate_counts(past: Views, as_of: date) -> _Matrix:
    """(N, about 570): recency, frequency, gaps, hours, weekdays, hosts, top titles and words."""
    counts = [
        _sums(_last_days(past, as_of, days), starts)
        for days in _WINDOWS_DAYS
        for starts in (False, True)
    ]
    recent = user_titles(_last_days(past, as_of, 28))
    everything = user_titles(past)
    hosts, words = title_hosts(past.catalog)[0], title_words(past.catalog)[0]
    return np.hstack(
        [
            recency_frequency(past, as_of),
            np.log1p(np.stack(counts, axis=1)),
            _gaps(past),
            _clock(past),
            _top_counts(everything @ hosts, TOP_HOSTS),
            _top_counts(recent @ hosts, TOP_HOSTS),
            _top_counts(everything, TOP_TITLES),
            _top_counts(everything @ words, TOP_WORDS),
        ]
    )


def _last_days(past: Views, as_of: date, days: int) -> Views:
    end = midnight_microseconds(as_of)
    return past.between(end - days * DAY_MICROSECONDS, end)


def _sums(views: Views, of_sessions: bool) -> _Matrix:
    """(N,) views, or sessions begun."""
    weights = views.starts_session.astype(np.float64) if of_sessions else None
    return np.bincount(views.owners(), weights, len(views)).astype(np.float64)


def _ages(past: Views, as_of: date) -> list[_Matrix]:
    """(N,) days since the last view, and (N,) days since the first one."""
    end, has_views = midnight_microseconds(as_of), past.counts() > 0
    ages = []
    for places in (past.offsets[1:] - 1, past.offsets[:-1]):
        days = np.full(len(past), _NO_VIEW_DAYS)
        days[has_views] = (end - past.times[places[has_views]]) / DAY_MICROSECONDS
        ages.append(days)
    return ages


def _gaps(past: Views) -> _Matrix:
    """(N, 3): mean, deviation and last of the log days between a user's sessions."""
    sessions = past.where(past.starts_session)
    days = np.log1p(np.diff(sessions.times, prepend=0).clip(0) / DAY_MICROSECONDS)
    owners = sessions.owners()
    is_gap = np.diff(owners, prepend=-1) == 0  # a user's first session follows no other
    counts = np.bincount(owners[is_gap], minlength=len(past)).clip(1)
    mean = np.bincount(owners[is_gap], days[is_gap], len(past)) / counts
    squares = np.bincount(owners[is_gap], days[is_gap] ** 2, len(past)) / counts
    last = np.zeros(len(past))
    last[owners[is_gap]] = days[is_gap]  # views are oldest first, so the newest gap stays
    return np.stack([mean, np.sqrt((squares - mean**2).clip(0)), last], axis=1)


def _clock(past: Views) -> _Matrix:
    """(N, 31) shares of a user's views by UTC hour and by weekday."""
    hours = past.times // (DAY_MICROSECONDS // 24) % 24
    weekdays = (past.times // DAY_MICROSECONDS + 3) % 7  # 1970-01-01 was a Thursday
    owners, totals = past.owners(), past.counts().clip(1)[:, None]
    shares = [
        np.bincount(owners * size + values, minlength=len(past) * size).reshape(-1, size) / totals
        for values, size in ((hours, 24), (weekdays, 7))
    ]
    return np.hstack(shares)


def _top_counts(counts: csr_matrix, limit: int) -> _Matrix:
    """(N, at most `limit`) log counts of the columns with the highest sums; ties by column."""
    sums = np.asarray(counts.sum(axis=0)).ravel()
    top = np.lexsort((np.arange(len(sums)), -sums))[:limit]
    return np.asarray(np.log1p(counts.tocsc()[:, top].toarray()))
