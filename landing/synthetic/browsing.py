"""Who views what and when, in generated logs: numpy arrays, no text yet.

Everything is drawn by a generator of its own for (seed, purpose, day, block of users), so a day's
views do not depend on other days, on how many days are asked for, or on what runs side by side.
A day's sessions come in four kinds, each drawn by itself: those that land on their day, those that
land a day late, and those that pass midnight (drawn for the day they begin on, and cut there).

The figures below are plausible, not fitted to anybody's logs; docs/generated-logs.md has them.
"""

from dataclasses import dataclass
from datetime import date
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from contracts.limits import SESSION_GAP
from landing.synthetic.titles import (
    NUM_TOPICS,
    PORTAL_INDEX,
    Floats,
    Ints,
    hash_parts,
    title_codes,
    uniform_from_hash,
    zipf_ranks,
)

_USERS_PER_BLOCK = 1 << 18  # users that are drawn together; part of what a seed means
_MAX_LASTING_INTERESTS = 4  # the most lasting interests of a user; the fewest are 2
SHARE_OF_DRIFTING = 0.25  # of a user's interested views: the interest of the current weeks
SESSIONS_A_DAY = 0.155  # of the mean user: 126 views in 181 days at 4.5 views a session
_ACTIVITY_SPREAD = 1.2  # sigma of the log of a user's activity: half the users have under 62 views
MEAN_SESSION, LONGEST_SESSION = 4.5, 40  # views
GAP_SECONDS, GAP_SPREAD = 35.0, 1.1  # of the silences within a session: median, sigma of the log
_LONGEST_GAP_SECONDS = SESSION_GAP.total_seconds() * 5 / 6  # 1,500 s: well within a session
_DAY_MS = 86_400_000
# Sessions that begin in each UTC hour: low at night, high in the morning, at noon, after dinner.
_SESSIONS_BY_HOUR = np.array(
    [3, 2, 1, 1, 1, 2, 4, 7, 9, 8, 7, 7, 9, 8, 6, 6, 6, 7, 8, 10, 12, 12, 9, 6]
)
_UNEXPLAINED_SHARES = {"portal": 0.07, "anything": 0.07}  # of views that no interest explains
_SAME_TOPIC_IN_SESSION = 0.75
BACK, FAVORITE, EVERGREEN = 0.06, 0.22, 0.50  # upper bounds of the shares; the rest is news
FAVORITES, FAVORITE_DAYS = 8, 30  # pages that a user returns to, and for how long
_NEWS_DAYS = 7  # how old news can be; half of what is viewed is of the day
_BOT_DAYS = 0.05  # of its days a bot is active, with 2,000 to 5,999 views


class Kind(IntEnum):
    """A kind of session. The last two bits of its times' milliseconds, so no two kinds collide."""

    ON_TIME = 0
    LATE = 1
    MIDNIGHT = 2  # and 3 on odd days, because two days' midnight sessions meet in one folder


class Purpose(IntEnum):
    """What a generator is for; part of its key."""

    USERS = 0
    BOTS = 1
    DEFECTS = 2
    AGAIN = 3
    IMPRESSIONS = 4
    SESSIONS = 10  # and its kind


@dataclass(frozen=True)
class Users:
    """The habits of a block of users.

    Shapes: N users of numbers `first` to `first + N - 1`, L = _MAX_LASTING_INTERESTS slots.
        activity  (N,) cumulated: sessions a day of the users up to this one
        topics    (N, L) a user's lasting interests, all different
        upto      (N, L) cumulated weights, 1 at the user's last interest and after it
        shift     (N,) hours that the user's day is ahead of the usual one
        period    (N,) days that a drifting interest lasts
        phase     (N,) days by which the user's periods are shifted
    """

    first: int
    activity: Floats
    topics: npt.NDArray[np.int16]
    upto: npt.NDArray[np.float32]
    shift: npt.NDArray[np.int8]
    period: npt.NDArray[np.int16]
    phase: npt.NDArray[np.int16]


@dataclass(frozen=True)
class Views:
    """V page views: the user's number, UTC milliseconds since 1970, the title's code."""

    user: Ints
    ms: Ints
    title: Ints

    def __len__(self) -> int:
        return len(self.user)

    def where(self, rows: npt.NDArray[np.bool_] | Ints) -> "Views":
        return Views(self.user[rows], self.ms[rows], self.title[rows])

    def in_order(self) -> "Views":
        """By time; views of one millisecond stay in the order that they have."""
        return self.where(np.argsort(self.ms, kind="stable"))

    def distinct(self) -> "Views":
        """In order of time, and one view where a user has several in a millisecond.

        Asks for views in the order of their users, so that such views come to stand together.
        """
        views = self.in_order()
        repeated = (np.diff(views.ms, prepend=-1) == 0) & (np.diff(views.user, prepend=-1) == 0)
        return views.where(~repeated)


def concatenate_views(some: list[Views]) -> Views:
    return Views(
        np.concatenate([views.user for views in some]),
        np.concatenate([views.ms for views in some]),
        np.concatenate([views.title for views in some]),
    )


NO_ROWS: Ints = np.zeros(0, np.int64)


def day_number(day: date) -> int:
    """Days since 1970."""
    return day.toordinal() - date(1970, 1, 1).toordinal()


def _topic_popularity() -> Floats:
    """How likely a topic is to interest a user: a flattened Zipf law."""
    weights = 1.0 / (np.arange(NUM_TOPICS) + 10.0)
    return np.asarray(weights / weights.sum())


@dataclass(frozen=True)
class World:
    """All that is drawn for one seed and number of users. Days are numbers of days since 1970."""

    seed: int
    num_users: int
    num_bots: int
    late: float  # share of the sessions that land a day late
    drifting_share: float = SHARE_OF_DRIFTING
    sessions_a_day: float = SESSIONS_A_DAY

    @property
    def num_blocks(self) -> int:
        return -(-self.num_users // _USERS_PER_BLOCK)

    @property
    def evergreens(self) -> int:
        """Titles of a topic that are always there."""
        return max(40, self.num_users // 100)

    @property
    def news(self) -> int:
        """Titles of a topic that are published in a day."""
        return max(6, self.num_users // 1000)

    def rng(self, purpose: int, block: int, day: int = 0) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64([self.seed, purpose, day, block]))

    def users(self, block: int) -> Users:
        first = block * _USERS_PER_BLOCK
        num = min(_USERS_PER_BLOCK, self.num_users - first)
        rng = self.rng(Purpose.USERS, block)
        spread = _ACTIVITY_SPREAD
        activity = rng.lognormal(-(spread**2) / 2, spread, num) * self.sessions_a_day
        # The topics of the largest popularity**(1/e), e exponential: draws without replacement.
        race = rng.standard_exponential((num, NUM_TOPICS), dtype=np.float32) / _topic_popularity()
        topics = np.argpartition(race, _MAX_LASTING_INTERESTS, axis=1)[
            :, :_MAX_LASTING_INTERESTS
        ].astype(np.int16)
        # 35 % of the users have 2 lasting interests, 40 % have 3 and 25 % have 4.
        num_lasting = 2 + np.searchsorted([0.35, 0.75], rng.random(num))  # (N,)
        weights = rng.standard_gamma(2.0, (num, _MAX_LASTING_INTERESTS))
        weights[np.arange(_MAX_LASTING_INTERESTS) >= num_lasting[:, None]] = 0.0
        upto = np.cumsum(weights, axis=1)  # (N, L)
        return Users(
            first,
            np.cumsum(activity),
            topics,
            (upto / upto[:, -1:]).astype(np.float32),
            np.clip(np.rint(rng.normal(0, 1.5, num)), -4, 4).astype(np.int8),
            rng.integers(30, 76, num).astype(np.int16),
            rng.integers(0, 75, num).astype(np.int16),
        )

    def drifting(self, users: Users, rows: Ints, epoch: Ints) -> Ints:
        """The drifting interest of some users (by row) in an epoch: never a lasting one."""
        topic = (hash_parts(self.seed, 100, users.first + rows, epoch) % NUM_TOPICS).astype(
            np.int64
        )
        lasting = users.topics[rows]  # (R, L)
        for _ in range(_MAX_LASTING_INTERESTS):
            topic = (topic + (lasting == topic[:, None]).any(axis=1)) % NUM_TOPICS
        return topic

    def landed(self, users: Users, block: int, day: int, first_day: int) -> tuple[Views, Views]:
        """What lands on `day` for the first time: views of their day, and views of the day before.

        Both in order of time. On `first_day` nothing is late, and no session came over midnight.
        """
        midnight = (day + 1) * _DAY_MS
        tonight = self.sessions(users, block, day, Kind.MIDNIGHT)
        some = [
            self.sessions(users, block, day, Kind.ON_TIME),
            tonight.where(tonight.ms < midnight),
            *([self.bots(day)] if block == 0 else []),
        ]
        if day == first_day:
            return concatenate_views(some).in_order(), tonight.where(NO_ROWS)
        last_night = self.sessions(users, block, day - 1, Kind.MIDNIGHT)
        some.append(last_night.where(last_night.ms >= midnight - _DAY_MS))
        return concatenate_views(some).in_order(), self.sessions(users, block, day - 1, Kind.LATE)

    def sessions(self, users: Users, block: int, day: int, kind: Kind) -> Views:
        """The views of one day's sessions of a kind, distinct and in order of time."""
        rng = self.rng(Purpose.SESSIONS + kind, block, day)
        share = {Kind.ON_TIME: 0.98 - self.late, Kind.LATE: self.late, Kind.MIDNIGHT: 0.02}[kind]
        weekend = 1.15 if (day + 3) % 7 >= 5 else 0.94  # day 0 was a Thursday
        num = rng.poisson(users.activity[-1] * share * weekend)
        rows = np.searchsorted(users.activity, np.sort(rng.random(num)) * users.activity[-1])
        lengths = np.minimum(rng.geometric(1 / MEAN_SESSION, num), LONGEST_SESSION)
        first = np.repeat(np.cumsum(lengths) - lengths, lengths)  # place of a session's first view
        per_view = np.repeat(rows, lengths)  # (S,) -> (V,)
        ms = self._times(rng, users, rows, lengths, kind) + day * _DAY_MS
        ms += -(ms % 4) + kind + (day % 2 if kind == Kind.MIDNIGHT else 0)
        titles = self._titles(rng, users, per_view, first, day)
        return Views(users.first + per_view, ms, titles).distinct()

    def _times(
        self, rng: np.random.Generator, users: Users, rows: Ints, lengths: Ints, kind: Kind
    ) -> Ints:
        """Milliseconds since the day's first instant of each view, session by session."""
        num = len(rows)
        gaps = rng.lognormal(np.log(GAP_SECONDS), GAP_SPREAD, lengths.sum())
        gaps = (np.clip(gaps, 1.0, _LONGEST_GAP_SECONDS) * 1000).astype(np.int64)
        starts = np.cumsum(lengths) - lengths
        gaps[starts] = 0
        since = np.cumsum(gaps)
        since -= np.repeat(since[starts], lengths)
        lasts = since[starts + lengths - 1]
        hours = np.searchsorted(
            np.cumsum(_SESSIONS_BY_HOUR) / _SESSIONS_BY_HOUR.sum(), rng.random(num), side="right"
        )
        begin = ((hours + users.shift[rows]) % 24 + rng.random(num)) * (_DAY_MS / 24)
        begin = np.minimum(begin.astype(np.int64), _DAY_MS - 1 - lasts)
        if kind == Kind.MIDNIGHT:
            begin = _DAY_MS - 1 - (rng.random(num) * lasts).astype(np.int64)
        return np.asarray(np.repeat(begin, lengths) + since)

    def _titles(
        self, rng: np.random.Generator, users: Users, rows: Ints, first: Ints, day: int
    ) -> Ints:
        """The title of each view: back to the page before, a favorite, an evergreen, or news."""
        num = len(rows)
        topic = self._topics(rng, users, rows, first, day)
        how, rank = rng.random(num), rng.random(num)
        age = np.minimum(rng.geometric(0.5, num) - 1, _NEWS_DAYS - 1)
        is_news = (how >= EVERGREEN) & (topic != PORTAL_INDEX)
        published = np.where(is_news, day - age, 0)
        ranks = np.where(is_news, zipf_ranks(rank, self.news), zipf_ranks(rank, self.evergreens))
        returns = (how >= BACK) & (how < FAVORITE)
        topic[returns], ranks[returns] = self._favorites(users, rows[returns], rank[returns], day)
        form = (rng.random(num) < 0.1).astype(np.int64)
        codes = title_codes(topic, published, ranks, form)
        here = np.arange(num)
        went_back = (how < BACK) & (here != first)  # a first view has no page before it
        return codes[np.maximum.accumulate(np.where(went_back, 0, here))]

    def _topics(
        self, rng: np.random.Generator, users: Users, rows: Ints, first: Ints, day: int
    ) -> Ints:
        num = len(rows)
        slot = (rng.random((num, 1)) >= users.upto[rows]).sum(axis=1)
        topic = users.topics[rows, np.minimum(slot, _MAX_LASTING_INTERESTS - 1)].astype(np.int64)
        drifts = np.flatnonzero(rng.random(num) < self.drifting_share)
        who = rows[drifts]
        epoch = (day + users.phase[who].astype(np.int64)) // users.period[who]
        topic[drifts] = self.drifting(users, who, epoch)
        topic = np.where(rng.random(num) < _SAME_TOPIC_IN_SESSION, topic[first], topic)
        other = rng.random(num)
        anything = rng.choice(NUM_TOPICS, num, p=_topic_popularity())
        topic = np.where(other < _UNEXPLAINED_SHARES["anything"], anything, topic)
        return np.where(other >= 1 - _UNEXPLAINED_SHARES["portal"], PORTAL_INDEX, topic)

    def _favorites(self, users: Users, rows: Ints, u: Floats, day: int) -> tuple[Ints, Ints]:
        """Topic and rank of one of the pages that these users return to this month."""
        month = (day + users.phase[rows].astype(np.int64)) // FAVORITE_DAYS
        key = (users.first + rows, month, zipf_ranks(u, FAVORITES))
        slot = (uniform_from_hash(self.seed, 101, *key)[:, None] >= users.upto[rows]).sum(axis=1)
        topic = users.topics[rows, np.minimum(slot, _MAX_LASTING_INTERESTS - 1)].astype(np.int64)
        return topic, zipf_ranks(uniform_from_hash(self.seed, 102, *key), self.evergreens)

    def bot_days(self, day: int) -> Ints:
        """The views of each bot on `day`."""
        bots = np.arange(self.num_bots, dtype=np.int64)
        views = 2000 + (hash_parts(self.seed, 104, bots, day) % 4000).astype(np.int64)
        return np.where(uniform_from_hash(self.seed, 103, bots, day) < _BOT_DAYS, views, 0)

    def bots(self, day: int) -> Views:
        """Bots' numbers follow the users'. They view evergreens of all topics, all day long."""
        counts = self.bot_days(day)  # (B,) views of each bot
        rng = self.rng(Purpose.BOTS, 0, day)
        num = int(counts.sum())
        topic = rng.integers(0, NUM_TOPICS, num)
        rank = rng.integers(0, self.evergreens, num)
        titles = title_codes(topic, np.zeros(num, np.int64), rank, np.zeros(num, np.int64))
        who = self.num_users + np.repeat(np.arange(self.num_bots), counts)
        return Views(who, day * _DAY_MS + rng.integers(0, _DAY_MS, num), titles).distinct()
