"""Transformer layers over packed rows: of a user's behaviors, and of a title's words."""

from torch import Tensor, nn

from model.config import ModelConfig
from model.layers.attention import SelfAttention
from model.layers.dropout import Dropout
from model.layers.packed_sequences import Layout

_ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU}


class _TransformerBlock(nn.Module):
    """Self-attention and a feed-forward layer, each with a residual and a layer norm after it.

    A layer of Vaswani et al. 2017, and one block of BERT4Rec (Sun et al. 2019, section 3.3):
    bidirectional, four times as wide inside, dropout before each sum. Shapes as `SelfAttention`.
    """

    def __init__(self, config: ModelConfig, dropout: float) -> None:
        super().__init__()
        width = config.width
        self.attention = SelfAttention(config)
        self.output = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 4 * width),
            _ACTIVATIONS[config.activation](),
            nn.Linear(4 * width, width),
        )
        self.feed_forward_norm = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)

    def forward(self, behaviors: Tensor, layout: Layout) -> Tensor:
        attended = self.output(self.attention(behaviors, layout))  # (R, D)
        behaviors = self.attention_norm(behaviors + self.dropout(attended))
        widened = self.feed_forward(behaviors)  # (R, D) -> (R, 4 D) -> (R, D)
        states: Tensor = self.feed_forward_norm(behaviors + self.dropout(widened))
        return states


class TransformerBlocks(nn.Module):
    """Blocks, one after the other. Shapes as `SelfAttention`."""

    def __init__(self, config: ModelConfig, layers: int, dropout: float) -> None:
        super().__init__()
        blocks = [_TransformerBlock(config, dropout) for _ in range(layers)]
        # A normalized state is sqrt(width) long, and a dot product of two of them `width`: the
        # last gain starts where a state is one long, as other encoders' vectors about are. Without
        # this the first loss of both tasks on the demo was 8.3 and not 3.2, twice chance's.
        nn.init.constant_(blocks[-1].feed_forward_norm.weight, config.width**-0.5)
        self.blocks = nn.ModuleList(blocks)

    def forward(self, behaviors: Tensor, layout: Layout) -> Tensor:
        for block in self.blocks:
            behaviors = block(behaviors, layout)
        return behaviors

    def weights_of_last(self, behaviors: Tensor, layout: Layout) -> Tensor:
        """(R,) how much the last row of each sequence attends to each, in the last block."""
        for block in self.blocks[:-1]:
            behaviors = block(behaviors, layout)
        last = self.blocks[-1]
        assert isinstance(last, _TransformerBlock)
        return last.attention.weights_of_last(behaviors, layout)
