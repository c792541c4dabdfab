"""BERT4Rec by its own paper (Sun et al. 2019), written plainly with torch's own layers."""

import pytest
import torch
from test_transformer_layers import torch_layers
from torch.nn import functional as F

from contracts.errors import BadInput
from model.config import BASE_MODELS, ModelConfig
from model.layers.packed_histories import PackedHistories
from model.layers.user_model import UserModel

TINY = {"width": 8, "word_width": 6, "query_width": 5, "heads": 2, "dropout": 0.0, "max_views": 12}
LENGTHS = torch.tensor([3, 1, 12])


def model_of(**choices):
    torch.manual_seed(0)
    kind = {"context_encoder": "transformer", "aggregator": "mask", "prediction_head": True}
    return UserModel(ModelConfig(**TINY | kind | choices), num_words=30).double()


def plain(model, behaviors):
    """One sequence: positions, two layers, linear and GELU. The mask stands behind the newest."""
    rows = torch.cat([behaviors, model.mask[None]]) + model.position[: len(behaviors) + 1]
    states = torch_layers(model.context, "gelu")(rows[None])[0]
    linear = model.head[0]
    return F.gelu(states @ linear.weight.T + linear.bias)


def test_states_and_users_are_those_of_the_plain_model():
    model = model_of()
    rows = torch.randn(16, 8).double()
    states, users = model.encode_users(rows, LENGTHS)
    for row, part in enumerate(torch.split(rows, LENGTHS.tolist())):
        expected = plain(model, part)
        torch.testing.assert_close(users[row], expected[-1], rtol=0, atol=1e-6)
        mine = torch.split(states, LENGTHS.tolist())[row]
        torch.testing.assert_close(mine, expected[:-1], rtol=0, atol=1e-6)


def test_the_base_models_are_two_blocks_and_a_prediction_at_the_mask():
    for name, encoder in (("bert4rec", "id"), ("bert4rec_text", "transformer")):
        config = BASE_MODELS[name]
        assert (config.behavior_encoder, config.context_encoder) == (encoder, "transformer")
        assert (config.context_layers, config.activation) == (2, "gelu")
        assert (config.aggregator, config.prediction_head) == ("mask", True)


def test_the_weights_of_views_are_the_attention_of_the_mask_in_the_last_block():
    for context in ("self_attention", "transformer"):
        model = model_of(context_encoder=context)
        rows = torch.randn(16, 8).double()
        weights = model.view_weights(PackedHistories(rows, LENGTHS))
        for part in torch.split(weights, LENGTHS.tolist()):
            assert part.sum().item() == pytest.approx(1)
        if context == "self_attention":  # by hand of the first sequence
            behind = torch.cat([rows[:3], model.mask[None]]) + model.position[:4]
            query, key, _ = model.context.projection(behind).view(4, 3, 2, 4).unbind(1)
            attention = (torch.einsum("hd,rhd->rh", query[3], key) / 2).softmax(0).mean(1)
            torch.testing.assert_close(weights[:3], attention[:3] / attention[:3].sum())


def test_a_recurrence_shows_a_mask_nothing_by_attention():
    with pytest.raises(BadInput, match=r"aggregator mask .* choose self_attention, transformer"):
        ModelConfig(context_encoder="gru", aggregator="mask")
