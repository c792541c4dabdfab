"""First weights that depend on the data, so that a short training on few titles starts well.

With plain random weights all users point the same way: on the demo's purchases the mean of the
user vectors was 0.645 long and they spread 0.034 around it. A dot product then said nothing about
a user, and in its first hundreds of steps a training found shortcuts alone: which sequences lie in
the pool, and how often a title is viewed. With these weights, before any step, 72 % of held-out
users' A find their B among five (plain: 24 %), and 33 % of masked behaviors are found (plain:
20 %). The model itself is unchanged: only where training starts.
"""

import numpy as np
import torch

from model.data.corpus import Corpus
from model.data.encoder_input import corpus_input
from model.inference.vectors import title_vectors, to_numpy
from model.layers.attention import SelfAttention
from model.layers.user_model import UserModel

POSITION_SPREAD = 0.02  # standard deviation of a position's values around the center


def center_user_encoder(model: UserModel, corpus: Corpus) -> None:
    """Move the user encoder's input to the origin, and let self-attention begin as an average.

    Words start at variance one. A position starts at minus the mean title vector over all views
    (a title viewed twice counts twice), so that title + position is centered; candidates carry no
    position, and a constant that all of them share leaves the softmax as it is. The values of
    self-attention start as they come in.
    """
    with torch.no_grad():
        for name, weights in model.behavior.named_parameters():
            if name == "words.weight":
                weights.mul_(model.config.word_width**0.5)
        model.position.mul_(POSITION_SPREAD * model.config.width**0.5)
        model.position.sub_(_mean_view(model, corpus))
        if isinstance(model.context, SelfAttention):
            width = model.config.width
            model.context.projection.weight[2 * width :].copy_(torch.eye(width))
            model.context.projection.bias[2 * width :].zero_()


def _mean_view(model: UserModel, corpus: Corpus) -> torch.Tensor:
    titles, views = np.unique(corpus.behaviors, return_counts=True)
    words = corpus_input(corpus, titles, reads_words=model.reads_words)
    vectors = to_numpy(title_vectors(model, words))  # (T, D)
    mean = np.average(vectors.astype(np.float64), axis=0, weights=views)
    return torch.from_numpy(mean).to(model.position)
