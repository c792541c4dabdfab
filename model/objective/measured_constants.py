"""What the memory form measures on training users once, before its first step.

The constants are buffers among the weights, so a training that goes on, and each of its processes,
has the same ones, and a vector never depends on the other users of a batch.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from model.data.corpus import Corpus
from model.data.encoder_input import corpus_input
from model.data.histories import Histories
from model.data.keyed_random import keyed_bits
from model.data.ragged import owners_of
from model.data.vocabulary import NUM_SPECIAL
from model.forms.memory_model import MemoryModel
from model.inference.vectors import encode_titles, evaluation_mode
from model.objective.period_objective import PeriodObjective
from model.objective.tasks.next_period import NextActivity
from model.objective.tasks.periods import Cuts
from model.objective.tasks.reconstruction import log_class_counts
from model.objective.title_classes import class_ids_of_titles

_MAX_MEASURED_USERS = 4096
_COMMON_SHARE = 0.9  # a word that more of the users have viewed tells nobody apart
_LEAST_DEVIATION = 0.15  # of a log count, so that no rare word outweighs all others
_LEAST_FEATURE_DEVIATION = 1e-3


def measure_constants(objective: PeriodObjective) -> None:
    """Set the buffers of the objective's model by a cut of each of its training users."""
    model, histories = objective.model, objective.histories
    classes = _frequent_classes(
        objective.corpus, histories, model.config.num_classes, objective.config.classes_of
    )
    model.class_words[: len(classes)] = torch.from_numpy(classes).to(model.device)
    if model.known:
        words = objective.corpus.title_words
        given = (np.asarray(each, np.int64) for each in (words.values, words.lengths()))
        model.known.know(*(torch.from_numpy(each).to(model.device) for each in given))
    users = np.sort(np.asarray(objective.batches.rows, np.int64))
    users = users[:: -(-len(users) // _MAX_MEASURED_USERS)]
    keys = keyed_bits(objective.config.seed, "measured cut", 0, users)
    cuts = objective.cut_range.draw(histories, users, keys)
    with evaluation_mode(model):
        _standardize(model, objective.corpus, cuts)
    counts = log_class_counts(cuts, objective.title_classes, model.config.num_classes)
    for nth, each in enumerate(counts):
        deviations = torch.from_numpy(each.std(0)).to(model.class_deviations)
        model.class_deviations[nth] = deviations + _LEAST_DEVIATION
    activity = NextActivity.of(cuts, cuts.after())
    means = [max(each.mean(), 0.1) for each in (activity.views, activity.sessions)]
    model.heads.count_means.copy_(torch.tensor(means))


def _frequent_classes(
    corpus: Corpus, histories: Histories, limit: int, classes_of: str
) -> NDArray[np.int64]:
    """The words, or hosts, that most training users have viewed, without what nearly all have.

    Ids as `class_ids_of_titles` has them, most users first, ties by id; those below NUM_SPECIAL
    are left out.
    """
    end = histories.titles.offsets[histories.num_training]
    views = np.asarray(histories.titles.values[:end], np.int64)
    owners = owners_of(histories.titles.lengths()[: histories.num_training])
    num_titles = len(corpus.title_ids)
    pairs = np.unique(owners * num_titles + views)  # each user's distinct titles
    users, titles = np.divmod(pairs, num_titles)
    every = class_ids_of_titles(corpus, classes_of)
    ids = every.take(titles)
    size = int(every.values.max(initial=NUM_SPECIAL)) + 1
    cells = np.unique(np.repeat(users, ids.lengths()) * size + ids.values)
    counts = np.bincount(cells % size, minlength=size)  # (V,) users
    counts[:NUM_SPECIAL] = 0
    counts[counts > _COMMON_SHARE * histories.num_training] = 0
    order = np.lexsort((np.arange(size), -counts))[:limit]
    return order[counts[order] > 0].astype(np.int64)


def _standardize(model: MemoryModel, corpus: Corpus, cuts: Cuts) -> None:
    views = cuts.before()
    distinct, places = np.unique(views.titles.values, return_inverse=True)
    titles = encode_titles(model, corpus_input(corpus, distinct, reads_words=True))
    given = (places, views.titles.lengths(), views.times, cuts.at)
    tensors = (torch.from_numpy(each).to(model.device) for each in given)
    for features, layer in zip(
        model.features(titles, *tensors),
        (model.activity_features, model.preference_features),
        strict=True,
    ):
        layer.mean.copy_(features.mean(0))
        layer.deviation.copy_(features.std(0).clamp(min=_LEAST_FEATURE_DEVIATION))
