"""A trained model whose vectors are turned into the space of another model."""

import torch
from torch import Tensor

from model.layers.packed_histories import PackedHistories
from model.layers.user_encoder import UserEncoder


class AlignedModel(UserEncoder):
    """Another form's vectors, turned by one orthogonal map wherever they leave the model.

    User vectors and title candidates are turned alike, so each dot product of the two, and with it
    each loss and each ranking, is what it was. The heads of the model, which make its forecasts,
    read its own vectors: what they are given is turned back first. Title vectors E are what the
    user encoder reads, and stay as they are.

    Shapes: as `UserEncoder`; rotation (D, D) float64, orthogonal: own @ rotation = turned.
    """

    rotation: Tensor
    compiled_methods = ()

    def __init__(self, own: UserEncoder, rotation: Tensor) -> None:
        super().__init__()
        self.own = own
        self.config = own.config
        self.register_buffer("rotation", rotation.double())

    @property
    def reads_words(self) -> bool:
        return self.own.reads_words

    @property
    def device(self) -> torch.device:
        return self.own.device

    @property
    def title_width(self) -> int:
        return self.own.title_width

    @property
    def max_views(self) -> int | None:
        return self.own.max_views

    @property
    def reads_times(self) -> bool:
        return self.own.reads_times

    def encode_titles(self, words: Tensor, lengths: Tensor) -> Tensor:
        return self.own.encode_titles(words, lengths)

    def encode_histories(self, histories: PackedHistories) -> Tensor:
        return self._turned(self.own.encode_histories(histories))

    def hidden_states(self, histories: PackedHistories, is_hidden: Tensor) -> Tensor:
        return self._turned(self.own.hidden_states(histories, is_hidden))

    def view_weights(self, histories: PackedHistories) -> Tensor:
        return self.own.view_weights(histories)

    def title_candidates(self, titles: Tensor) -> Tensor:
        return self._turned(self.own.title_candidates(titles))

    def matching_vectors(self, users: Tensor) -> Tensor:
        return self.own.matching_vectors(self._turned_back(users))

    def forecasts(self, users: Tensor) -> Tensor | None:
        return self.own.forecasts(self._turned_back(users))

    # In double precision, so that a vector is rounded once and not once a term of the sum.
    def _turned(self, vectors: Tensor) -> Tensor:
        return (vectors.double() @ self.rotation).to(vectors.dtype)  # (N, D) @ (D, D)

    def _turned_back(self, vectors: Tensor) -> Tensor:
        return (vectors.double() @ self.rotation.T).to(vectors.dtype)
