from dataclasses import replace

import numpy as np
import pytest
import torch
from small_corpus import interests

from model.config import BASE_MODELS
from model.data.encoder_input import corpus_input
from model.inference.vectors import title_vectors, to_numpy
from model.layers.user_model import UserModel
from model.training.initialization import POSITION_SPREAD, center_user_encoder


@pytest.fixture
def centered(places):
    given = interests(places)
    corpus = given.corpus
    config = replace(BASE_MODELS["nrms"], width=32, word_width=16, query_width=8, heads=2)
    torch.manual_seed(0)
    model = UserModel(config, num_words=len(given.vocabulary))
    center_user_encoder(model, corpus)
    return model, corpus


def test_the_mean_view_and_a_position_cancel(centered):
    model, corpus = centered
    vectors = to_numpy(
        title_vectors(model, corpus_input(corpus, corpus.behaviors, reads_words=True))
    )
    rest = vectors.mean(0) + model.position.detach().numpy().mean(0)
    assert np.abs(rest).max() < 4 * POSITION_SPREAD / len(model.position) ** 0.5


def test_words_start_at_variance_one(centered):
    model, _ = centered
    words = model.behavior.words.weight.detach()
    assert words[2:].std().item() == pytest.approx(1, abs=0.1)
    assert not words[0].any()


def test_self_attention_begins_as_an_average_of_what_comes_in(centered):
    model, _ = centered
    values = model.context.projection.weight[2 * model.config.width :]
    assert torch.equal(values, torch.eye(model.config.width))
    assert not model.context.projection.bias[2 * model.config.width :].any()
