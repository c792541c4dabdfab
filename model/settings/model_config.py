"""The choices of a model: its encoders, widths and lengths, and the paper's base models."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from contracts.limits import EMBEDDING_WIDTH, MAX_TITLE_WORDS, MAX_VIEWS
from model.settings.checks import (
    changed_settings,
    not_finite,
    not_in_choices,
    not_positive,
    refuse_mistakes,
    unknown_settings,
    with_tuples,
    written_settings,
)
from model.settings.encoders import EncoderSettings
from model.settings.later_memory import LaterMemorySettings
from model.settings.memory import MemorySettings
from model.settings.ready_vectors import GivenTitleSettings

BehaviorEncoderName = Literal["id", "cnn", "transformer", "given"]
ContextEncoderName = Literal["self_attention", "transformer", "gru", "lstm", "cnn"]
AggregatorName = Literal["attentive", "max", "average", "last", "mask"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig(EncoderSettings, GivenTitleSettings, MemorySettings, LaterMemorySettings):
    """The user model of section 3.1. The defaults are NRMS at the paper's widths (Table 4)."""

    behavior_encoder: Annotated[
        BehaviorEncoderName,
        "what makes the vector of a title: its words, an id of its own, or a vector of a file",
    ] = "transformer"
    context_encoder: Annotated[
        ContextEncoderName, "what lets a behavior know the behaviors around it"
    ] = "self_attention"
    aggregator: Annotated[AggregatorName, "what makes one vector of a sequence's states"] = (
        "attentive"
    )
    width: Annotated[int, "width of title vectors, user vectors and all hidden states"] = (
        EMBEDDING_WIDTH
    )
    word_width: Annotated[int, "width of a word's embedding"] = 300
    query_width: Annotated[int, "width of the queries of attentive pooling"] = 200
    heads: Annotated[int, "heads of every self-attention"] = 16
    context_layers: Annotated[int, "blocks of the context encoder `transformer`"] = 2
    word_positions: Annotated[
        bool, "whether the title encoder `transformer` knows the order of a title's words"
    ] = False
    window: Annotated[int, "words, or behaviors, that a convolution covers; odd"] = 3
    dropout: Annotated[
        float, "dropout of behavior embeddings and of their states, drawn for each occurrence"
    ] = 0.2
    max_words: Annotated[int, "words of a title that are read"] = MAX_TITLE_WORDS
    max_views: Annotated[int, "behaviors of a sequence that are read"] = MAX_VIEWS

    def __post_init__(self) -> None:
        refuse_mistakes(*not_finite(self))
        refuse_mistakes(
            *not_in_choices(self),
            *not_positive(
                self, "width word_width query_width heads context_layers window max_words max_views"
            ),
            self.heads > 0
            and self.width % self.heads
            and f"width {self.width} does not divide into {self.heads} heads",
            self.window % 2 == 0 and f"window is {self.window}; it must be odd",
            not 0 <= self.dropout < 1 and f"dropout is {self.dropout}; it must be in [0, 1)",
            *self.mistakes(),
            *self.memory_mistakes(self.width),
            *self.later_memory_mistakes(
                len(self.half_lives), self.activity_width, self.width, self.num_classes
            ),
            *(
                f"{name} is a setting of the form window, and form is {self.form}"
                for name in changed_settings(self, EncoderSettings)
                if self.form != "window"
            ),
            *(
                f"{name} is a setting of the form memory, and form is {self.form}"
                for name in changed_settings(self, LaterMemorySettings)
                if self.form != "memory"
            ),
            self.pooling_queries > 1
            and self.aggregator != "attentive"
            and f"pooling_queries is {self.pooling_queries}, and the aggregator {self.aggregator} "
            "has no queries",
            self.pooling_queries > 1
            and self.pooling_join == "concatenated"
            and self.width % self.pooling_queries
            and f"width {self.width} does not divide into {self.pooling_queries} queries",
            self.aggregator == "mask"
            and self.context_encoder not in ("self_attention", "transformer")
            and "the aggregator mask reads the state of a mask behind the newest behavior, which "
            f"the context encoder {self.context_encoder} does not show the behaviors to by "
            "attention: choose self_attention, transformer",
        )

    def to_json(self) -> dict[str, Any]:
        """A model of the memory form says all of that form's settings: readers need its blocks."""
        all_of_form = MemorySettings.__dataclass_fields__ if self.form == "memory" else {}
        return written_settings(self) | {name: getattr(self, name) for name in all_of_form}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "ModelConfig":
        refuse_mistakes(*unknown_settings(cls, values))
        return cls(**with_tuples(cls, values))


# The paper's six base models in its own general framework (Fig. 2); docs/adr/0001 says why.
BASE_MODELS: dict[str, ModelConfig] = {
    "naml": ModelConfig(behavior_encoder="cnn", context_encoder="cnn"),
    "lstur": ModelConfig(behavior_encoder="cnn", context_encoder="gru", aggregator="last"),
    "nrms": ModelConfig(behavior_encoder="transformer", context_encoder="self_attention"),
    "gru4rec": ModelConfig(behavior_encoder="id", context_encoder="gru", aggregator="last"),
    "nativectr": ModelConfig(behavior_encoder="cnn", context_encoder="lstm"),
    # By its own paper, but for two things that are this paper's: the candidates of a masked
    # behavior are negative samples, not all titles, and a candidate has no bias of its own.
    "bert4rec": ModelConfig(
        behavior_encoder="id",
        context_encoder="transformer",
        aggregator="mask",
        prediction_head=True,
    ),
    # The two that know titles by id, over the titles' words: click data brings new titles daily.
    "gru4rec_text": ModelConfig(
        behavior_encoder="transformer", context_encoder="gru", aggregator="last"
    ),
    "bert4rec_text": ModelConfig(
        behavior_encoder="transformer",
        context_encoder="transformer",
        aggregator="mask",
        prediction_head=True,
    ),
}
