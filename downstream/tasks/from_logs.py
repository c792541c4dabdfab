"""Tasks whose labels are the views after the cut, so that any logs have them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from contracts.errors import BadInput
from contracts.instants import DAY_MICROSECONDS, midnight_microseconds
from downstream.data.views import TitleCatalog, Views
from downstream.tasks.task import Task

_TopicKind = Literal["host", "word"]
_NUM_PROPENSITIES = 50
_NUM_TOPICS = 10
_MIN_WORD_LETTERS = 3  # of a title word that can be a topic; shorter ones are mostly grammar


@dataclass(frozen=True, eq=False)
class Periods:
    """The views on both sides of the cut."""

    past: Views
    future: Views  # of the horizon
    as_of: date
    horizon_days: int
    propensity_of: _TopicKind = "word"
    next_topic_of: _TopicKind = "host"

    @classmethod
    def cut(
        cls,
        views: Views,
        as_of: date,
        horizon_days: int,
        propensity_of: _TopicKind = "word",
        next_topic_of: _TopicKind = "host",
    ) -> "Periods":
        start = midnight_microseconds(as_of)
        end = midnight_microseconds(as_of + timedelta(days=horizon_days))
        future = views.between(start, end)
        past = views.before(as_of)
        return cls(past, future, as_of, horizon_days, propensity_of, next_topic_of)


def _churn(periods: Periods) -> Task:
    """Whether a user has no view in the horizon."""
    gone = periods.future.counts() == 0
    return _binary("churn", gone, f"no view in the next {periods.horizon_days} days")


def _activity(periods: Periods) -> Task:
    """Whether a user has more views in the horizon than the median user."""
    counts = periods.future.counts()
    doc = f"more views in the next {periods.horizon_days} days than the median user"
    return _binary("activity", counts > np.median(counts), doc)


def _return_time(periods: Periods) -> Task:
    """Days until the next view; the whole horizon for a user who has none in it."""
    future, start = periods.future, midnight_microseconds(periods.as_of)
    days = np.full(len(future), float(periods.horizon_days))
    has_views = future.counts() > 0
    first_times = future.times[future.offsets[:-1][has_views]]
    days[has_views] = (first_times - start) / DAY_MICROSECONDS
    doc = f"days until the next view, {periods.horizon_days} where there is none by then"
    users = np.arange(len(future))
    return Task("return_time", "number", users, days[:, None], ("days",), doc)


def _propensity(periods: Periods) -> Task:
    """Whether a user views each of the most viewed hosts, or title words, in the horizon."""
    topics, names = _topics(periods.past, periods.propensity_of, _NUM_PROPENSITIES)
    labels = (_topic_counts(periods.future, topics) > 0).astype(np.float64)
    doc = (
        f"a view of each of the {len(names)} most viewed {periods.propensity_of}s in the next "
        f"{periods.horizon_days} days"
    )
    users = np.arange(len(periods.future))
    return Task("propensity", "labels", users, labels, tuple(names), doc)


def _preference(periods: Periods) -> Task:
    """The labels of propensity among users who view at all: what they like, not how much."""
    task = _propensity(periods)
    users = np.flatnonzero(periods.future.counts() > 0)
    doc = f"{task.doc}, among users who have a view in them"
    return Task("preference", "labels", users, task.labels[users], task.columns, doc)


def _next_topic(periods: Periods) -> Task:
    """The most viewed topic of the first session after the cut, among users who have one."""
    topics, names = _topics(periods.past, periods.next_topic_of, _NUM_TOPICS)
    counts = _topic_counts(_first_sessions(periods.future), topics)  # (N, K)
    users = np.flatnonzero(counts.any(axis=1))
    best = counts[users].argmax(axis=1)  # of equal counts the topic that is viewed more in general
    labels = np.eye(len(names))[best]
    doc = f"the {periods.next_topic_of} that leads the first session after the cut"
    return Task("next_topic", "classes", users, labels, tuple(names), doc)


LOG_TASKS: dict[str, Callable[[Periods], Task]] = {
    "propensity": _propensity,
    "preference": _preference,
    "churn": _churn,
    "activity": _activity,
    "return_time": _return_time,
    "next_topic": _next_topic,
}


def _binary(name: str, holds: NDArray[np.bool_], doc: str) -> Task:
    users = np.arange(len(holds))
    return Task(name, "binary", users, holds.astype(np.float64)[:, None], (name,), doc)


def _first_sessions(views: Views) -> Views:
    """Of each user the views of the first session that begins in these views."""
    begun = np.cumsum(views.starts_session)  # (R,) sessions begun so far, over all users
    before_user = np.concatenate([[0], begun])[views.offsets[:-1]]
    number = begun - np.repeat(before_user, views.counts())  # (R,) 1 in a user's first session
    return views.where(number == 1)


def _topics(past: Views, kind: _TopicKind, limit: int) -> tuple[csr_matrix, list[str]]:
    """Which titles are of which of the `limit` most viewed topics before the cut: (T, K)."""
    titles, names = (
        title_hosts(past.catalog) if kind == "host" else title_words(past.catalog, for_topics=True)
    )
    views_by_title = np.bincount(past.titles, minlength=titles.shape[0])
    counts = np.asarray(titles.T @ views_by_title)
    chosen = np.lexsort((np.array(names), -counts))[:limit]  # of equal counts the first name
    chosen = chosen[counts[chosen] > 0]
    if not len(chosen):
        raise BadInput(
            f"no view has a {kind}, so there is no topic to ask of: name the other kind in "
            "propensity_of or next_topic_of of the judge's settings"
        )
    return titles[:, chosen], [names[each] for each in chosen]


def _topic_counts(views: Views, topics: csr_matrix) -> NDArray[np.float64]:
    """(N, K) views of each topic by each user."""
    return np.asarray((user_titles(views) @ topics).todense())


def user_titles(views: Views) -> csr_matrix:
    """(N, T) views of each title by each user."""
    shape = (len(views), len(views.catalog.title_ids))
    matrix = csr_matrix((np.ones(len(views.titles)), views.titles, views.offsets), shape=shape)
    matrix.sum_duplicates()
    return matrix


def title_hosts(catalog: TitleCatalog) -> tuple[csr_matrix, list[str]]:
    """(T, H) 1 at each title's host; a title without a host has none."""
    rows = np.flatnonzero(np.array(catalog.host_names)[catalog.hosts] != "")
    shape = (len(catalog.title_ids), len(catalog.host_names))
    places = (rows, catalog.hosts[rows])
    return csr_matrix((np.ones(len(rows)), places), shape=shape), catalog.host_names


def title_words(catalog: TitleCatalog, for_topics: bool = False) -> tuple[csr_matrix, list[str]]:
    """(T, W) how often each word stands in each title; `for_topics` takes words of letters only."""
    flat = catalog.words.flatten().dictionary_encode()
    names = flat.dictionary.to_pylist()
    columns = flat.indices.to_numpy()
    lengths = catalog.words.value_lengths().to_numpy().astype(np.int64)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    if for_topics:
        fits = np.array([len(w) >= _MIN_WORD_LETTERS and w.isalpha() for w in names])
        rows, columns = rows[fits[columns]], columns[fits[columns]]
    shape = (len(lengths), len(names))
    matrix = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)
    if for_topics:
        matrix.data[:] = np.minimum(matrix.data, 1)
    return matrix, names
