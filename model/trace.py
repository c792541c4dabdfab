"""A record of every choice of negatives, and a check of it that needs no model.

`Objective(..., trace=written_to(file))` writes one JSON object a line:

    {"event": "sequence pool", "step", "crops": [[row of corpus.sequences, start, length], ...]}
    {"event": "sequences", "step", "model_step", "pairs", "chosen", "score"}
    {"event": "behaviors", "step", "model_step", "pool", "targets", "chosen", "score"}

`chosen` are places in the pool, -1 where too few were allowed; `score` is the cosine by the model
as it was before the update `model_step` (of `random` negatives: minus the place in its turn), null
where nothing was chosen.
"""

import json
from collections.abc import Callable, Iterable
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from model.corpus import Corpus
from model.negatives import SequencePool, allowed_sequences
from model.tasks import NONE

Event = dict[str, Any]


def written_to(file: IO[str]) -> Callable[[Event], None]:
    """What an objective calls with each event."""

    def write(event: Event) -> None:
        file.write(json.dumps(event) + "\n")

    return write


def mistakes(
    events: Iterable[Event], corpus: Corpus, identity: NDArray[np.integer] | None = None
) -> list[str]:
    """Every choice that breaks the rules of section 3.3, in words; none where all is well.

    `identity`: equal for titles that the encoder cannot tell apart; of the corpus where not given.
    """
    identity = corpus.title_identity if identity is None else identity
    found: list[str] = []
    pool = SequencePool.whole(corpus, np.empty(0, np.int64))
    for event in events:
        if event["event"] == "sequence pool":
            pool = SequencePool(*np.array(event["crops"], np.int64).reshape(-1, 3).T)
            continue
        chosen = np.array(event["chosen"], np.int64)
        if event["event"] == "sequences":
            early = SequencePool.whole(corpus, corpus.pairs[event["pairs"], 0])
            allowed = allowed_sequences(corpus, early, pool)
            what = "a sequence of the same user, or one that overlaps A"
        else:
            allowed = identity[event["targets"]][:, None] != identity[event["pool"]]
            what = "a title identical to the target"
        found += [f"step {event['step']}: {each}" for each in _broken(chosen, allowed, what)]
    return found


def _broken(chosen: NDArray[np.int64], allowed: NDArray[np.bool_], what: str) -> list[str]:
    found = []
    for row, (places, each) in enumerate(zip(chosen, allowed, strict=True)):
        real = places[places != NONE]
        if not each[real].all():
            found.append(f"target {row} has {what}")
        if len(set(real.tolist())) < len(real):
            found.append(f"target {row} has the same negative twice")
        if len(real) < min(len(places), each.sum()):
            found.append(f"target {row} has fewer negatives than there are candidates")
    return found
