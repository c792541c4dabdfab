"""The user model: behavior encoder, position, context encoder, aggregator (section 3.1, Fig. 2)."""

import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.layers.aggregators import build_aggregator
from model.layers.context import build_context_encoder
from model.layers.dropout import Dropout
from model.layers.encoders import build_behavior_encoder
from model.layers.packed_sequences import Layout, rows_at
from model.layers.user_encoder import UserEncoder


class UserModel(UserEncoder):
    """The window form: it reads a user's newest behaviors in their order, without their times.

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
        self.position = nn.Parameter(torch.empty(config.max_views, config.width))
        self.context = build_context_encoder(config)
        self.aggregator = build_aggregator(config)
        self.dropout = Dropout(config.dropout)
        for parameter in (self.mask, self.position):
            nn.init.normal_(parameter, std=config.width**-0.5)

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
    def max_views(self) -> int:
        return self.config.max_views

    @property
    def reads_times(self) -> bool:
        return False

    def encode_titles(self, words: Tensor, lengths: Tensor) -> Tensor:
        """N titles to vectors, without position and without dropout.

        Shapes: words (R,) int64 word ids, packed; lengths (N,); returns (N, D). Of the behavior
        encoder `id` each title has one "word": its row + 1, or 0 for a title it does not have.
        """
        encoded: Tensor = self.behavior(words.to(self.device), Layout(lengths, self.device))
        return encoded

    def encode_users(self, behaviors: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """N sequences of behaviors, oldest first, to a state a behavior and a vector a user.

        Dropout is drawn for each occurrence of a behavior: once as it enters with its position,
        once as its state leaves the context encoder.

        Shapes: behaviors (R, D) title vectors or `self.mask`, packed; lengths (N,), none above
        max_views; returns states (R, D) and users (N, D).
        """
        layout = self._layout(lengths)
        states = self._states(behaviors, layout)
        return states, self.aggregator(states, layout)

    def encode_histories(
        self,
        behaviors: Tensor,
        lengths: Tensor,
        times: Tensor | None = None,
        as_of: Tensor | None = None,
    ) -> Tensor:
        return self.encode_users(behaviors, lengths)[1]

    def hidden_states(
        self,
        behaviors: Tensor,
        is_hidden: Tensor,
        lengths: Tensor,
        times: Tensor | None = None,
        as_of: Tensor | None = None,
    ) -> Tensor:
        masked = torch.where(is_hidden[:, None], self.mask.to(behaviors.dtype), behaviors)
        return self.encode_users(masked, lengths)[0][is_hidden]

    def title_candidates(self, titles: Tensor) -> Tensor:
        return titles

    def view_weights(
        self,
        behaviors: Tensor,
        lengths: Tensor,
        times: Tensor | None = None,
        as_of: Tensor | None = None,
    ) -> Tensor:
        """How much of a user's vector each behavior's state makes up, by the aggregator.

        Shapes as `encode_users`; returns (R,) float, summing to one over each sequence.
        """
        layout = self._layout(lengths)
        weights: Tensor = self.aggregator.weights(self._states(behaviors, layout), layout)
        return weights

    def _layout(self, lengths: Tensor) -> Layout:
        layout = Layout(lengths, self.device)
        if layout.longest > len(self.position):
            raise ValueError(
                f"a sequence of {layout.longest} behaviors, and max_views is {len(self.position)}"
            )
        return layout

    def _states(self, behaviors: Tensor, layout: Layout) -> Tensor:
        behaviors = self.dropout(behaviors + rows_at(self.position, layout.places))
        states: Tensor = self.dropout(self.context(behaviors, layout))
        return states
