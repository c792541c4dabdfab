"""Settings of the encoders that came after the first models; their defaults change nothing."""

from dataclasses import dataclass
from typing import Annotated, Literal

_MAX_TRANSFORMER_LAYERS = 4


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

    pooling_queries: Annotated[int, "queries of the aggregator `attentive`"] = 1
    pooling_join: Annotated[
        Literal["concatenated", "projected"],
        "what makes one vector of several queries: each pools its share of the width, or each "
        "pools the whole width and a linear map brings them back to it",
    ] = "concatenated"
    prediction_head: Annotated[
        bool, "a linear map and GELU on each state, as BERT4Rec has before it predicts"
    ] = False
    time_features: Annotated[
        bool,
        "whether a behavior knows its time: the gap before it, the time until as_of, hour, weekday "
        "and how often its title came before",
    ] = False
    windows: Annotated[
        int,
        "windows of max_views behaviors, newest first, whose unit vectors are averaged; 0: all of "
        "the history; 1: the newest window's vector, as it is",
    ] = 1

    def mistakes(self) -> list[str | bool]:
        """What is wrong with these settings, in words."""
        return [
            not 0 <= self.title_layers <= _MAX_TRANSFORMER_LAYERS
            and f"title_layers is {self.title_layers}; it must be 0 to {_MAX_TRANSFORMER_LAYERS}",
            self.pooling_queries < 1
            and f"pooling_queries is {self.pooling_queries}; it must be 1 or more",
            self.windows < 0 and f"windows is {self.windows}; it must not be below 0",
        ]
