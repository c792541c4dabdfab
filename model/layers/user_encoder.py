"""What every form of the user model gives to those who use its vectors."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.layers.packed_histories import PackedHistories


class UserEncoder(nn.Module, ABC):
    """Titles to vectors, and histories of titles to one vector a user.

    Everything is packed: histories lie one after the other, without padding. `build_user_model`
    (model/forms/build_user_model.py) makes the form that the settings name.

    Shapes: N users with R views, M titles, E width of title vectors, D width of user vectors.
    """

    config: ModelConfig
    compiled_methods: ClassVar[tuple[str, ...]] = ("encode_titles", "encode_users")

    @property
    @abstractmethod
    def reads_words(self) -> bool:
        """Whether `encode_titles` takes word ids; else the rows of a title table."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the weights lie."""

    @property
    @abstractmethod
    def title_width(self) -> int:
        """E."""

    @property
    @abstractmethod
    def max_views(self) -> int | None:
        """How many of a user's newest views are read; None: all."""

    @property
    @abstractmethod
    def reads_times(self) -> bool:
        """Whether `encode_histories` needs the time of each view."""

    @abstractmethod
    def encode_titles(self, words: Tensor, lengths: Tensor) -> Tensor:
        """M titles, packed words (R,) with lengths (M,), to (M, E), without dropout."""

    @abstractmethod
    def encode_histories(self, histories: PackedHistories) -> Tensor:
        """Histories to one vector a user, (N, D)."""

    @abstractmethod
    def view_weights(self, histories: PackedHistories) -> Tensor:
        """How much of a user's vector each view makes up, (R,): it sums to one over a history."""

    @abstractmethod
    def hidden_states(self, histories: PackedHistories, is_hidden: Tensor) -> Tensor:
        """What predicts each view that is hidden from the model, from the others of its history.

        Shapes: is_hidden (R,) bool, whose title vectors are not read; returns (n, D) for n hidden
        views, to be multiplied with `title_candidates`.
        """

    @abstractmethod
    def title_candidates(self, titles: Tensor) -> Tensor:
        """Title vectors (M, E) to (M, D), so that user . candidate is the logit of a view of it."""

    def matching_vectors(self, users: Tensor) -> Tensor:
        """User vectors (N, D) to the space in which two periods of one user lie close: (N, D')."""
        return users

    def forecasts(self, users: Tensor) -> Tensor | None:
        """User vectors (N, D) to the numbers that contracts/forecasts.py names, (N, 5).

        None where the model was not trained to forecast.
        """
        return None
