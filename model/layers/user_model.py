"""The user model: behavior encoder, position, context encoder, aggregator (section 3.1, Fig. 2)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import ModelConfig
from model.layers.aggregators import build_aggregator
from model.layers.attention import SelfAttention
from model.layers.context import build_context_encoder
from model.layers.dropout import Dropout
from model.layers.encoders import build_behavior_encoder
from model.layers.packed_histories import PackedHistories
from model.layers.packed_sequences import Layout, rows_at
from model.layers.time_features import TimeFeatures, repeats_before
from model.layers.transformer import TransformerBlocks
from model.layers.user_encoder import UserEncoder


class UserModel(UserEncoder):
    """The window form: it reads a user's newest behaviors in their order.

    Titles to vectors, and sequences of such vectors to a state a behavior and a vector a user.

    Everything is packed: sequences lie one after the other, and there is no padding to leak.

        model = UserModel(BASE_MODELS["nrms"], num_words=100_002)
        titles = model.encode_titles(torch.tensor([7, 8, 9]), torch.tensor([2, 1]))  # (2, 256)
        states, users = model.encode_users(titles, torch.tensor([2]))  # (2, 256), (1, 256)
    """

    def __init__(self, config: ModelConfig, num_words: int, num_titles: int = 0) -> None:
        super().__init__()
        self.config = config
        self.behavior = build_behavior_encoder(config, num_words, num_titles)
        self.mask = nn.Parameter(torch.empty(config.width))  # stands where a behavior is hidden
        # One more where a mask stands behind the newest behavior.
        num_positions = config.max_views + (config.aggregator == "mask")
        self.position = nn.Parameter(torch.empty(num_positions, config.width))
        self.context = build_context_encoder(config)
        self.aggregator = build_aggregator(config)
        self.dropout = Dropout(config.dropout)
        for parameter in (self.mask, self.position):
            nn.init.normal_(parameter, std=config.width**-0.5)
        self.head: nn.Module | None = None
        if config.prediction_head:
            self.head = nn.Sequential(nn.Linear(config.width, config.width), nn.GELU())
        self.times: TimeFeatures | None = None
        if config.time_features:
            self.times = TimeFeatures(config)

    @property
    def reads_words(self) -> bool:
        """Whether `encode_titles` takes word ids; else the rows of a title table."""
        return self.behavior.reads_words

    @property
    def device(self) -> torch.device:
        return self.mask.device

    @property
    def title_width(self) -> int:
        return self.config.width

    @property
    def max_views(self) -> int | None:
        return self.config.max_views * self.config.windows or None

    @property
    def reads_times(self) -> bool:
        return self.times is not None

    def encode_titles(self, words: Tensor, lengths: Tensor) -> Tensor:
        """N titles to vectors, without position and without dropout.

        Shapes: words (R,) int64 word ids, packed; lengths (N,); returns (N, D). Of the behavior
        encoder `id` each title has one "word": its row + 1, or 0 for a title it does not have.
        """
        encoded: Tensor = self.behavior(words.to(self.device), Layout(lengths, self.device))
        return encoded

    def encode_users(
        self,
        behaviors: Tensor,
        lengths: Tensor,
        times: Tensor | None = None,
        as_of: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """N sequences of behaviors, oldest first, to a state a behavior and a vector a user.

        Dropout is drawn for each occurrence of a behavior: once as it enters with its position,
        once as its state leaves the context encoder. The aggregator `mask` puts a mask behind the
        newest behavior, and its state is the user's vector, as BERT4Rec predicts what comes next.

        Shapes: behaviors (R, D) title vectors or `self.mask`, packed; lengths (N,), none above
        max_views; times (R,) and as_of (N,) where the model reads times; returns states (R, D) and
        users (N, D).
        """
        behaviors, layout, is_view = self._entering(behaviors, lengths, times, as_of)
        states = self._states(behaviors, layout)
        users = self.aggregator(states, layout)
        return (states if is_view is None else states[is_view]), users

    def encode_histories(self, histories: PackedHistories) -> Tensor:
        """With `windows` above 1 a history of any length is cut into windows, from its newest view
        on, and its vector is the mean of their unit vectors."""
        if self.config.windows == 1:
            return self.encode_users(*histories)[1]
        windows, counts = self._windows(histories)
        vectors = self.encode_users(*windows)[1]
        units = F.normalize(vectors, dim=-1)  # (W, D) for W windows
        shares = (1 / counts.to(units)).repeat_interleave(counts.to(self.device))  # (W,)
        return Layout(counts, self.device).sum(units, shares)

    def hidden_states(self, histories: PackedHistories, is_hidden: Tensor) -> Tensor:
        behaviors = histories.behaviors
        masked = torch.where(is_hidden[:, None], self.mask.to(behaviors.dtype), behaviors)
        windows, _ = self._windows(histories._replace(behaviors=masked))
        states, _ = self.encode_users(*windows)
        return states[is_hidden]

    def title_candidates(self, titles: Tensor) -> Tensor:
        return titles

    def view_weights(self, histories: PackedHistories) -> Tensor:
        """How much of a user's vector each behavior's state makes up, by the aggregator.

        Of the aggregator `mask`: how much the mask attends to each.
        """
        windows, counts = self._windows(histories)
        behaviors, layout, is_view = self._entering(*windows)
        if is_view is None:
            weights = self.aggregator.weights(self._states(behaviors, layout), layout)  # (R,)
        else:
            weights = self._attention_of_mask(behaviors, layout)[is_view]  # (R,)
        if self.config.windows == 1:
            return weights
        shares = (1 / counts.to(weights)).repeat_interleave(counts.to(self.device))  # (W,)
        return weights * shares.repeat_interleave(windows.lengths.to(self.device))

    def _attention_of_mask(self, behaviors: Tensor, layout: Layout) -> Tensor:
        """(R,) how much the mask, the last row of each sequence, attends to each of the others."""
        assert isinstance(self.context, SelfAttention | TransformerBlocks)
        weights = self.context.weights_of_last(behaviors, layout)  # (R,)
        lengths = layout.ends - layout.starts + 1  # (N,)
        of_views = (1 - weights[layout.ends]).repeat_interleave(lengths)  # (R,)
        shares: Tensor = weights / of_views
        return shares

    def _windows(self, histories: PackedHistories) -> tuple[PackedHistories, Tensor]:
        """The W windows as histories of their own, and how many of them each history has (N,)."""
        lengths, as_of = histories.lengths, histories.as_of
        if self.config.windows == 1:
            return histories, torch.ones_like(lengths)
        in_windows, counts = split_into_windows(lengths, self.config.max_views)
        if as_of is not None:
            as_of = as_of.repeat_interleave(counts.to(as_of.device))  # (W,)
        return histories._replace(lengths=in_windows, as_of=as_of), counts

    def _entering(
        self, behaviors: Tensor, lengths: Tensor, times: Tensor | None, as_of: Tensor | None
    ) -> tuple[Tensor, Layout, Tensor | None]:
        """What enters the context encoder, with positions and times but before dropout.

        And which rows are views, None for all of them: the aggregator `mask` adds a row a sequence.
        """
        layout = self._layout(lengths)
        if self.times is not None and (times is None or as_of is None):
            raise ValueError("this model reads the time of each view: give times and as_of")
        if self.times is not None and times is not None and as_of is not None:
            repeats = repeats_before(behaviors, self.mask, layout)
            behaviors = behaviors + self.times(times, as_of, repeats, layout).to(behaviors.dtype)
        is_view: Tensor | None = None
        if self.config.aggregator == "mask":
            behaviors, is_view = self._with_mask_behind(behaviors, layout)
            layout = Layout(lengths + 1, self.device)
        return behaviors + rows_at(self.position, layout.places), layout, is_view

    def _with_mask_behind(self, behaviors: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
        """The rows with the mask behind each sequence, and which of them are the given ones."""
        table = torch.cat([behaviors, self.mask[None].to(behaviors.dtype)])  # (R + 1, D)
        sequences = torch.arange(len(layout.lengths), device=self.device)
        is_view = torch.ones(len(behaviors) + len(sequences), dtype=torch.bool, device=self.device)
        is_view[layout.ends + 1 + sequences] = False
        places = torch.full_like(is_view, len(behaviors), dtype=torch.int64)
        places[is_view] = torch.arange(len(behaviors), device=self.device)
        return rows_at(table, places), is_view

    def _layout(self, lengths: Tensor) -> Layout:
        layout = Layout(lengths, self.device)
        if layout.longest > self.config.max_views:
            raise ValueError(
                f"a sequence of {layout.longest} behaviors, and max_views is "
                f"{self.config.max_views}"
            )
        return layout

    def _states(self, behaviors: Tensor, layout: Layout) -> Tensor:
        states: Tensor = self.context(self.dropout(behaviors), layout)
        if self.head is not None:
            states = self.head(states)
        dropped: Tensor = self.dropout(states)
        return dropped


def split_into_windows(lengths: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """Histories to windows of `longest` views, from the newest view back; the oldest may be short.

    Shapes: lengths (N,); returns the windows' lengths (W,), oldest first within each history, and
    how many windows each history has (N,).
    """
    counts = (lengths + longest - 1).div(longest, rounding_mode="floor")  # (N,)
    oldest = torch.cumsum(counts, 0) - counts  # (N,) the first window of each history
    windows = torch.full((int(counts.sum()),), longest, dtype=lengths.dtype)  # (W,)
    windows[oldest] = lengths - (counts - 1) * longest
    return windows, counts
