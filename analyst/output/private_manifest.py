"""What a private export says about itself: a file beside it, and a space that nobody else has."""

import json
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from analyst.vectors.model_space import Vectors
from analyst.vectors.private_noise import PrivacySettings, private_vectors
from contracts.errors import BadInput
from contracts.provenance import code_version
from contracts.storage.atomic_write import write_text
from contracts.vectors import own_space

_MECHANISM = "analytic Gaussian mechanism (Balle and Wang 2018), local model"
_PROTECTS = (
    "What one user's vector was, within the clip, from whoever has this file and knows everybody "
    "else's vectors: no conclusion from the file is more than exp(epsilon) times as likely, but "
    "for delta, as it had been with any other vector of that user."
)
_DOES_NOT_PROTECT = (
    "Who is in the file, and how many: user ids stand in it, and a user in it had a view.",
    "Two exports of the same users: their epsilons add up, and so do their deltas.",
    "What the model's weights have learned of users, who were trained on without noise.",
    "What follows from other users' vectors, of a household say.",
    "Anything else that is known of the user: the promise is a factor, not a secret.",
)


@dataclass(frozen=True, kw_only=True)
class PrivateManifest:
    """FILE.privacy.json."""

    space_id: str  # of this one file
    model_id: str  # as the file itself has it: of no registered model
    made_from: str  # the model whose vectors they were
    as_of: str
    rows: int
    epsilon: float
    delta: float
    clip: float
    noise_deviation: float  # on each number
    round_to: float
    is_repeatable: bool  # made with a known seed: not private at all
    mechanism: str = _MECHANISM
    protects: str = _PROTECTS
    does_not_protect: tuple[str, ...] = _DOES_NOT_PROTECT
    code: str = field(default_factory=code_version)

    def write(self, export: Path) -> Path:
        path = export.with_name(f"{export.name}.privacy.json")
        write_text(path, json.dumps(asdict(self), indent=1) + "\n")
        return path


def made_private(
    vectors: Vectors, settings: PrivacySettings, seed: int | None = None
) -> tuple[Vectors, PrivateManifest]:
    """The vectors with noise, under a model_id and in a space of their own, and their manifest.

    All have the day of the export: a row's own day would say when the user was last there.
    """
    if settings.delta * len(vectors) >= 1:
        raise BadInput(
            f"--delta {settings.delta:g} for {len(vectors):,} users: it must be far below "
            f"{1 / len(vectors):.2g}, or the promise allows to publish somebody as is"
        )
    token = secrets.token_hex(4) if seed is None else f"seed{seed}"
    name = f"{vectors.model_id}-private-{token}"
    private = Vectors(
        name,
        vectors.as_of,
        vectors.user_ids,
        np.full(len(vectors), vectors.as_of, "datetime64[D]"),
        private_vectors(vectors.matrix, settings, seed),
        own_space(name),
    )
    manifest = PrivateManifest(
        space_id=private.space_id,
        model_id=name,
        made_from=vectors.model_id,
        as_of=str(vectors.as_of),
        rows=len(vectors),
        epsilon=settings.epsilon,
        delta=settings.delta,
        clip=settings.clip,
        noise_deviation=settings.noise_deviation,
        round_to=settings.round_to,
        is_repeatable=seed is not None,
    )
    return private, manifest
