"""Fine-tuning on impressions: what a step costs, what it draws, and which weights it keeps."""

import math

import numpy as np
import pytest
import torch

from contracts.errors import BadInput
from experiments.data.metrics import mean_scores
from model.config import ModelConfig
from model.data.ragged import Ragged
from model.layers.user_model import UserModel
from model.training import finetuning
from model.training.finetuning import (
    FinetuneSettings,
    Impressions,
    click_loss,
    click_scores,
    finetune_model,
)

TITLES = Ragged.of([[2], [3], [4], [5], [6], [7]], np.int32)
SETTINGS = FinetuneSettings(
    negatives=2, learning_rate=0.03, batch_size=8, steps=40, validation_interval=5, patience=3
)


def small_model():
    torch.manual_seed(0)
    config = ModelConfig(
        behavior_encoder="cnn", width=8, word_width=8, query_width=8, heads=2, max_views=3
    )
    return UserModel(config, 8)


def clicks(count, seed):
    """Users who viewed an even title click the even one of three shown titles; odd ones the odd."""
    draw = np.random.default_rng(seed)
    histories, candidates, clicked = [], [], []
    for _ in range(count):
        parity = int(draw.integers(2))
        right = 2 * int(draw.integers(3)) + parity
        wrong = [2 * int(n) + 1 - parity for n in draw.choice(3, 2, replace=False)]
        histories.append([2 * int(n) + parity for n in draw.integers(0, 3, 4)])
        candidates.append([right, *wrong])
        clicked += [True, False, False]
    return Impressions(Ragged.of(histories), Ragged.of(candidates), np.array(clicked))


def auc(scores, impressions):
    return mean_scores(scores, impressions.clicked, impressions.owners)["auc"]


def test_candidates_that_are_one_title_cost_the_log_of_their_number():
    candidates = np.full((3, 5), 2)
    loss = click_loss(small_model(), TITLES, Ragged.of([[0], [1, 2], [3]]), candidates)
    assert loss.item() == pytest.approx(math.log(5), rel=1e-6)


def test_a_score_is_the_dot_product_of_user_and_title():
    model, impressions = small_model().eval(), clicks(5, 1).newest_views(3)
    scores = click_scores(model, TITLES, impressions)
    with torch.no_grad():
        titles = model.encode_titles(torch.arange(2, 8), torch.ones(6, dtype=torch.int64))
        first = impressions.histories[0]
        _, user = model.encode_users(titles[first], torch.tensor([len(first)]))
        expected = (titles[impressions.candidates[0]] @ user[0]).tolist()
    assert scores[:3].tolist() == pytest.approx(expected, rel=1e-5)


def test_fine_tuning_learns_what_users_click_and_repeats_to_the_bit():
    runs = []
    for _ in range(2):
        model = small_model()
        done = finetune_model(model, TITLES, clicks(60, 2), clicks(20, 3), SETTINGS, 0, auc)
        runs.append((done, click_scores(model, TITLES, clicks(20, 4)).tolist()))
    assert runs[0] == runs[1]
    assert auc(np.array(runs[0][1]), clicks(20, 4)) > 0.9
    assert auc(click_scores(small_model(), TITLES, clicks(20, 4)), clicks(20, 4)) < 0.8


def test_the_weights_of_the_best_evaluation_are_kept_and_patience_ends_the_training():
    seen, values = [], iter([0.6, 0.7, 0.5, 0.7, 0.4, 0.9])

    def measure(scores, impressions):
        seen.append(scores)
        return next(values)

    model = small_model()
    done = finetune_model(model, TITLES, clicks(20, 2), clicks(9, 3), SETTINGS, 0, measure)
    assert (done.steps, done.best_step, done.best_score) == (25, 10, 0.7)
    assert np.array_equal(click_scores(model, TITLES, clicks(9, 3)), seen[1])


def test_negatives_are_of_the_same_impression_while_it_has_enough():
    impressions = clicks(30, 5)
    samples = finetuning._Samples(impressions, SETTINGS, seed=0)
    _, candidates = samples.batch(0)
    assert candidates.shape == (8, 3)
    shown = {tuple(sorted(row)) for row in impressions.candidates.values.reshape(-1, 3).tolist()}
    assert all(tuple(sorted(row)) in shown for row in candidates.tolist())
    alone = Impressions(
        Ragged.of([[0], [1]]), Ragged.of([[0], [5]]), np.array([True, False])
    )  # an ad a time
    _, candidates = finetuning._Samples(alone, SETTINGS, seed=0).batch(0)
    assert candidates.tolist() == [[0, 5, 5]] * 8


def test_impressions_without_a_click_cannot_be_learned_from():
    shown = Impressions(Ragged.of([[0]]), Ragged.of([[1, 2]]), np.array([False, False]))
    with pytest.raises(BadInput, match="0 candidates are clicked and 2 are not"):
        finetune_model(small_model(), TITLES, shown, shown, SETTINGS, 0, auc)
    with pytest.raises(BadInput, match="negatives is 0, steps is -1; each must be above 0"):
        FinetuneSettings(negatives=0, steps=-1)
