"""Settings of vectors that a user brings in files; by default there are none."""

from dataclasses import dataclass
from typing import Annotated

# These follow from a command's files, so they are no options of their own.
SET_BY_FILES = frozenset({"given_width", "word_vectors", "title_vectors", "warm_start"})


@dataclass(frozen=True, kw_only=True)
class GivenTitleSettings:
    """What `ModelConfig` inherits."""

    given_width: Annotated[
        int, "numbers of a ready-made title vector, for the behavior encoder `given`"
    ] = 0


@dataclass(frozen=True, kw_only=True)
class ReadyVectorSettings:
    """What `PretrainConfig` inherits: a file's content is part of the id of what starts from it."""

    word_vectors: Annotated[str, "sha256 of the file of word vectors"] = ""
    title_vectors: Annotated[str, "sha256 of the file of title vectors"] = ""
    warm_start: Annotated[
        str, "the model whose weights the training begins from, and their sha256"
    ] = ""
