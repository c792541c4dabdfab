"""What the tasks of the memory form predict of a title: its words, or its host, by numbers."""

import numpy as np
from numpy.typing import NDArray

from contracts.errors import BadInput
from model.data.corpus import Corpus
from model.data.histories import NO_HOST
from model.data.ragged import Ragged, offsets_of, owners_of
from model.data.vocabulary import NUM_SPECIAL


def class_ids_of_titles(corpus: Corpus, classes_of: str) -> Ragged:
    """(T rows) of ids from NUM_SPECIAL on: word ids, or the title's host; below are no classes."""
    if classes_of == "word":
        return corpus.title_words
    if corpus.title_hosts is None:
        raise BadInput("the arrays of this training know no host of a title")
    has_host = corpus.title_hosts != NO_HOST  # (T,)
    ids = np.asarray(corpus.title_hosts[has_host], np.int64) + NUM_SPECIAL
    return Ragged(ids, offsets_of(has_host.astype(np.int64)))


def classes_of_titles(ids: Ragged, chosen: NDArray[np.int64]) -> Ragged:
    """(T rows) which of the chosen ids each title has, an id once; below NUM_SPECIAL none is."""
    used = np.flatnonzero(chosen)
    class_of = np.full(int(max(ids.values.max(initial=0), chosen.max())) + 1, -1, np.int64)
    class_of[chosen[used]] = used
    classes = class_of[np.asarray(ids.values)]
    owners = owners_of(ids.lengths())
    cells = np.unique(owners[classes >= 0] * len(chosen) + classes[classes >= 0])
    titles, found = np.divmod(cells, len(chosen))
    return Ragged(found, offsets_of(np.bincount(titles, minlength=len(ids)).astype(np.int64)))
