"""The memory form of the user model: decayed soft counts of all views, in two blocks."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from contracts.instants import DAY_MICROSECONDS, SESSION_GAP_MICROSECONDS
from contracts.limits import PRETRAINING_DAYS
from model.config import ModelConfig
from model.data.vocabulary import PADDING_ID
from model.forms.class_membership import class_membership
from model.forms.decayed_sums import decay_weights, decayed_sums
from model.forms.known_titles import KnownTitles
from model.forms.period_heads import PeriodHeads
from model.layers.dropout import Dropout
from model.layers.packed_histories import PackedHistories
from model.layers.user_encoder import UserEncoder
from model.settings.later_memory import num_activity_sums

_ACTIVITY_HIDDEN_WIDTH = 128
_ACTIVITY_TITLE_WIDTH = 16
_COUNT_SCALE = 8.0  # of soft counts inside the logarithm: a single view is far from zero
_SOFTPLUS_SHARPNESS = 3.0  # of the softplus that makes soft counts


class _SoftTitles(nn.Module):
    """The mean of a title's words, through a layer of its own.

    A word that is unknown counts as the unknown word; a title of known and new words keeps what is
    known of it. `own` (M, T) are vectors of the titles themselves.
    Shapes: M titles, R words in all, T width; words (R,), starts (M,); returns (M, T).
    """

    def __init__(self, num_words: int, width: int) -> None:
        super().__init__()
        self.words = nn.Embedding(num_words, width, padding_idx=PADDING_ID)
        nn.init.normal_(self.words.weight, std=0.5)
        with torch.no_grad():
            self.words.weight[PADDING_ID].zero_()
        self.layer = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, words: Tensor, starts: Tensor, own: Tensor | None = None) -> Tensor:
        means = F.embedding_bag(words, self.words.weight, starts, mode="mean")
        sums = means + F.gelu(self.layer(means))
        titles: Tensor = self.norm(sums if own is None else sums + own)
        return titles


class _Standardization(nn.Module):
    """Features with mean 0 and deviation 1 over training users, as measured before the first step.

    The constants are buffers, so that a user's vector never depends on who else is in the batch.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.gain = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, features: Tensor) -> Tensor:
        return self.standardized(features) * self.gain + self.bias

    def standardized(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.deviation


class MemoryModel(UserEncoder):
    """Two blocks in one vector: activity (how much, how lately) and preference (of what).

    Of each half-life there is a decayed sum of non-negative functions of the viewed titles, of
    views and of sessions; the ages of the first and the last view stand next to them.

        model = MemoryModel(ModelConfig(form="memory"), num_words=100_002)
        titles = model.encode_titles(torch.tensor([7, 8, 9]), torch.tensor([2, 1]))  # (2, 168)
        users = model.encode_histories(
            PackedHistories(titles, torch.tensor([2]), times, as_of)
        )  # (1, 256)

    Shapes: as `UserEncoder`; T title width, K and S soft counts of preference and of activity, C
    class counts, so E = T + K + S + C; H half-lives; A activity width.
    """

    compiled_methods = ("encode_titles", "combine")
    class_words: Tensor
    class_deviations: Tensor

    def __init__(self, config: ModelConfig, num_words: int, num_titles: int = 0) -> None:
        super().__init__()
        self.config = config
        num_lives, counts, few = (
            len(config.half_lives),
            config.soft_counts,
            config.activity_soft_counts,
        )
        self.titles = _SoftTitles(num_words, config.title_width)
        self.activity_titles = _SoftTitles(num_words, _ACTIVITY_TITLE_WIDTH)
        self.soft = nn.Linear(config.title_width, counts)
        self.activity_soft = nn.Linear(_ACTIVITY_TITLE_WIDTH, few)
        carried = config.class_counts
        activity = num_lives * few + num_activity_sums(num_lives)
        preference = num_lives * counts + carried
        self.activity_features = _Standardization(activity)
        self.preference_features = _Standardization(preference)
        self.dropout = Dropout(config.dropout)
        narrow = config.activity_bottleneck
        self.activity_skip = nn.Linear(activity, narrow)
        self.activity_network = nn.Sequential(
            nn.Linear(activity, _ACTIVITY_HIDDEN_WIDTH),
            nn.GELU(),
            Dropout(config.dropout),
            nn.Linear(_ACTIVITY_HIDDEN_WIDTH, narrow),
        )
        repeated = config.activity_sums * num_activity_sums(num_lives)
        self.spread = nn.Linear(narrow, config.activity_width - repeated)
        rest = config.width - config.activity_width - carried
        self.skip = nn.Linear(activity + preference, rest)
        self.hidden = nn.Linear(activity + preference, config.hidden_width)
        self.out = nn.Linear(config.hidden_width, rest)
        self.heads = PeriodHeads(config)
        # The words, or hosts, that the tasks predict, PADDING_ID where there are fewer; and the
        # deviation of their log counts over training users, in the whole history and its last 28
        # days.
        classes = config.num_classes
        self.register_buffer("class_words", torch.zeros(classes, dtype=torch.int64))
        self.register_buffer("class_deviations", torch.ones(2, classes))
        self.known = KnownTitles(num_titles, config.title_width) if config.own_titles else None

    @property
    def reads_words(self) -> bool:
        return True

    @property
    def device(self) -> torch.device:
        return self.soft.weight.device

    @property
    def title_width(self) -> int:
        config = self.config
        return self._end_of_soft_counts + config.class_counts

    @property
    def _end_of_soft_counts(self) -> int:
        config = self.config
        return config.title_width + config.soft_counts + config.activity_soft_counts

    @property
    def max_views(self) -> None:
        return None

    @property
    def reads_times(self) -> bool:
        return True

    def encode_titles(self, words: Tensor, lengths: Tensor) -> Tensor:
        words, lengths = words.to(self.device), lengths.to(self.device)
        starts = lengths.cumsum(0) - lengths
        own = self.known(words, lengths) if self.known else None
        titles = self.titles(words, starts, own)
        few = self.activity_soft(self.activity_titles(words, starts))  # (M, S)
        counts = torch.cat([self.soft(titles), few], 1)  # (M, K + S)
        positive = F.softplus(_SOFTPLUS_SHARPNESS * counts) / _SOFTPLUS_SHARPNESS
        if not (carried := self.config.class_counts):
            return torch.cat([titles, positive], 1)
        classes = self.class_words[:carried]
        has_class = class_membership(words, lengths, classes, len(self.titles.words.weight))
        return torch.cat([titles, positive, has_class.to(titles.dtype)], 1)

    def encode_histories(self, histories: PackedHistories) -> Tensor:
        behaviors, lengths, times, as_of = _with_times(histories)
        views = torch.arange(len(behaviors), device=behaviors.device)
        return self.encode_views(behaviors, views, lengths.to(self.device), times, as_of)

    def encode_views(
        self, titles: Tensor, index: Tensor, lengths: Tensor, times: Tensor, as_of: Tensor
    ) -> Tensor:
        """`encode_histories` where each distinct title stands once in `titles`.

        Shapes: titles (U, E), index (R,) its rows, lengths (N,), times (R,), as_of (N,).
        """
        activity, preference = self.features(titles, index, lengths, times, as_of)
        return self.combine(activity, preference)

    def combine(self, activity: Tensor, preference: Tensor) -> Tensor:
        """The features of `features` to users (N, D)."""
        active = self.activity_features(activity)
        block = self.spread(self.activity_skip(active) + self.activity_network(active))
        both = self.dropout(torch.cat([self.preference_features(preference), active], 1))
        rest = self.skip(both) + self.out(self.dropout(F.gelu(self.hidden(both))))
        return torch.cat([block, *self._carried(activity, preference, rest)], 1)

    def _carried(self, activity: Tensor, preference: Tensor, rest: Tensor) -> list[Tensor]:
        """`rest` between the sums that the vector carries as they are; they get no gradient."""
        config, parts = self.config, [rest]
        if config.activity_sums:
            sums = self.activity_features.standardized(activity)
            sums = sums[:, -num_activity_sums(len(config.half_lives)) :]
            parts.insert(0, sums.repeat(1, config.activity_sums))
        if config.class_counts:
            counts = self.preference_features.standardized(preference)
            parts.append(counts[:, -config.class_counts :])
        return parts

    def features(
        self, titles: Tensor, index: Tensor, lengths: Tensor, times: Tensor, as_of: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logs of decayed sums: of activity (N, H (S + 2) + 2), of preference (N, H K + C)."""
        starts = lengths.cumsum(0) - lengths
        owners = torch.repeat_interleave(lengths)  # (R,)
        ages = (as_of[owners] - times).to(torch.float64) / DAY_MICROSECONDS  # (R,) days
        if len(ages) and bool(ages.min() <= 0):
            raise ValueError("a history has a view that is not before the instant it is encoded at")
        dtype = titles.dtype
        weights = decay_weights(ages, self.config.half_lives).to(dtype)  # (H, R)
        end = self._end_of_soft_counts
        table = titles[:, self.config.title_width : end].contiguous()  # (U, K + S)
        counts = decayed_sums(table, index, starts, weights)
        soft = torch.log1p(_COUNT_SCALE * counts)  # (N, H, K + S)
        sessions = weights * _starts_session(owners, times).to(dtype)  # (H, R)
        both = torch.cat([weights, sessions]).T.contiguous()  # (R, 2 H)
        rows = torch.arange(len(times), device=times.device)
        sums = F.embedding_bag(rows, both, starts, mode="sum") if len(rows) else None
        sums = titles.new_zeros(len(lengths), 2 * len(weights)) if sums is None else sums
        width = self.config.soft_counts
        activity = [
            soft[:, :, width:].flatten(1),
            torch.log1p(sums),
            torch.log1p(_ages_of_ends(ages, starts, lengths)).to(dtype),
        ]
        preference = soft[:, :, :width].flatten(1)
        if self.config.class_counts:
            longest = weights[int(np.argmax(self.config.half_lives))][None]  # (1, R)
            counts = decayed_sums(titles[:, end:].contiguous(), index, starts, longest)
            preference = torch.cat([preference, torch.log1p(_COUNT_SCALE * counts[:, 0])], 1)
        return torch.cat(activity, 1), preference

    def hidden_states(self, histories: PackedHistories, is_hidden: Tensor) -> Tensor:
        """The preference block of the other views, once for each hidden view.

        How much a user views says nothing of what is hidden: with the activity block, whose part of
        the logit is the same popularity for everybody, 28 % of the demo's hidden titles were found,
        and 36 % without it (of five, where the wrong ones are drawn by popularity).
        """
        behaviors, lengths, times, as_of = _with_times(histories)
        lengths = lengths.to(self.device)
        owners = torch.repeat_interleave(lengths)
        rest = lengths - torch.bincount(owners[is_hidden], minlength=len(lengths))
        others = PackedHistories(behaviors[~is_hidden], rest, times[~is_hidden], as_of)
        users = self.encode_histories(others)
        block = self.config.activity_width
        preference = F.pad(users[:, block:], (block, 0))  # (N, D), zeros for activity
        return preference[owners[is_hidden]]

    def view_weights(self, histories: PackedHistories) -> Tensor:
        """The mean over half-lives of a view's share of the decayed sums of its history."""
        behaviors, lengths, times, as_of = _with_times(histories)
        owners = torch.repeat_interleave(lengths.to(self.device))
        ages = (as_of[owners] - times).to(torch.float64) / DAY_MICROSECONDS
        soft = behaviors[:, self.config.title_width : self._end_of_soft_counts]  # (R, K + S)
        masses = soft.double().sum(1)  # (R,)
        masses = masses * decay_weights(ages, self.config.half_lives)  # (H, R)
        totals = masses.new_zeros(len(masses), len(lengths)).index_add_(1, owners, masses)
        return (masses / totals[:, owners]).mean(0)

    def title_candidates(self, titles: Tensor) -> Tensor:
        return titles[:, : self.config.title_width] @ self.heads.title_query.weight

    def matching_vectors(self, users: Tensor) -> Tensor:
        """The unit vectors of the preference block: how much a user views says not who it is."""
        return F.normalize(users[:, self.config.activity_width :], dim=1)

    def forecasts(self, users: Tensor) -> Tensor:
        return self.heads.forecasts(users[:, : self.config.activity_width])


def _with_times(histories: PackedHistories) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The four tensors; an error where the views or the instants of encoding have no times."""
    behaviors, lengths, times, as_of = histories
    if times is None or as_of is None:
        raise ValueError("the memory form reads the times of views, and as of when they are read")
    return behaviors, lengths, times, as_of


def _starts_session(owners: Tensor, times: Tensor) -> Tensor:
    """(R,) bool: the first view of a history, and each view after a longer silence than the gap."""
    starts = torch.ones_like(owners, dtype=torch.bool)
    same_history = owners[1:] == owners[:-1]
    starts[1:] = ~same_history | (times[1:] - times[:-1] > SESSION_GAP_MICROSECONDS)
    return starts


def _ages_of_ends(ages: Tensor, starts: Tensor, lengths: Tensor) -> Tensor:
    """(N, 2) days since the last and since the first view; of no view the longest history."""
    found: list[Any] = []
    for places in (starts + lengths - 1, starts):
        padded = torch.cat([ages, ages.new_tensor([float(PRETRAINING_DAYS)])])
        found.append(padded[torch.where(lengths > 0, places, len(ages))])
    return torch.stack(found, 1)
