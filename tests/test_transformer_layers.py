"""Transformer layers of behaviors and of words, against torch's own with the same weights."""

import pytest
import torch
from torch import nn

from contracts.errors import BadInput
from model.config import ModelConfig, PretrainConfig
from model.layers.encoders import TitleTransformer
from model.layers.packed_sequences import Layout
from model.layers.transformer import TransformerBlocks

WIDTH = {"width": 8, "word_width": 6, "query_width": 5, "heads": 2, "dropout": 0.0}
LENGTHS = (3, 1, 7, 2)
CPU = torch.device("cpu")


def torch_layers(blocks, activation):
    """torch's own layers with the weights of ours."""
    layers = []
    for block in blocks.blocks:
        layer = nn.TransformerEncoderLayer(8, 2, 32, 0.0, activation, batch_first=True)
        wide, _, narrow = block.feed_forward
        weights = {
            "self_attn.in_proj_weight": block.attention.projection.weight,
            "self_attn.in_proj_bias": block.attention.projection.bias,
            "self_attn.out_proj.weight": block.output.weight,
            "self_attn.out_proj.bias": block.output.bias,
            "linear1.weight": wide.weight,
            "linear1.bias": wide.bias,
            "linear2.weight": narrow.weight,
            "linear2.bias": narrow.bias,
            "norm1.weight": block.attention_norm.weight,
            "norm1.bias": block.attention_norm.bias,
            "norm2.weight": block.feed_forward_norm.weight,
            "norm2.bias": block.feed_forward_norm.bias,
        }
        layer.load_state_dict(weights)
        layers.append(layer.double())
    return nn.Sequential(*layers)


def by_torch(layers, rows):
    """Each sequence for itself, so that nothing of torch's padding is relied on."""
    return torch.cat([layers(part[None])[0] for part in torch.split(rows, LENGTHS)])


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("layers", [1, 2, 4])
def test_layers_over_packed_sequences_are_torch_s_own(layers, activation):
    torch.manual_seed(layers)
    config = ModelConfig(**WIDTH, activation=activation)
    blocks = TransformerBlocks(config, layers, dropout=0.0).double()
    rows = torch.randn(sum(LENGTHS), 8).double()
    ours = blocks(rows, Layout(torch.tensor(LENGTHS), CPU))
    torch.testing.assert_close(
        ours, by_torch(torch_layers(blocks, activation), rows), rtol=0, atol=1e-6
    )


def test_title_layers_stand_between_the_words_and_the_pooling():
    torch.manual_seed(0)
    config = ModelConfig(**WIDTH, title_layers=2, activation="relu", word_positions=True)
    encoder = TitleTransformer(config, 30, 0).double()
    words = torch.arange(2, 2 + sum(LENGTHS))
    layout = Layout(torch.tensor(LENGTHS), CPU)
    embedded = encoder.words(words) + encoder.position[layout.places]
    states = by_torch(torch_layers(encoder.layers, "relu"), encoder.projection(embedded))
    expected = encoder.pooling(states, layout)
    torch.testing.assert_close(encoder(words, layout), expected, rtol=0, atol=1e-6)


def test_a_setting_that_came_later_is_written_only_where_it_differs_from_its_default():
    assert "title_layers" not in PretrainConfig().to_json()["model"]
    config = PretrainConfig(model=ModelConfig(title_layers=2))
    assert config.to_json()["model"]["title_layers"] == 2
    assert PretrainConfig.from_json(config.to_json()) == config
    with pytest.raises(BadInput, match="title_layers is 5; it must be 0 to 4"):
        ModelConfig(title_layers=5)
