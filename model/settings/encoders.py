"""Settings of the encoders that came after the first models; their defaults change nothing."""

from dataclasses import dataclass
from typing import Annotated, Literal

MAX_TRANSFORMER_LAYERS = 4


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """What `ModelConfig` inherits; each is written only where it differs from its default."""

    title_layers: Annotated[
        int,
        "Transformer layers over a title's words in the title encoder `transformer`, 0 to 4; "
        "0: one self-attention alone",
    ] = 0
    activation: Annotated[
        Literal["gelu", "relu"],
        "activation inside Transformer layers: gelu as in BERT4Rec, relu as in Vaswani et al.",
    ] = "gelu"

    def mistakes(self) -> list[str | bool]:
        """What is wrong with these settings, in words."""
        return [
            not 0 <= self.title_layers <= MAX_TRANSFORMER_LAYERS
            and f"title_layers is {self.title_layers}; it must be 0 to {MAX_TRANSFORMER_LAYERS}",
        ]
