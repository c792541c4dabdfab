"""Fine-tuning on impressions: what a step costs, what it draws, and which weights it keeps."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from contracts.errors import BadInput
from contracts.instants import DAY_MICROSECONDS
from experiments.data.metrics import mean_scores
from model.config import ModelConfig
from model.data.impressions import Impressions, ViewTimes
from model.data.ragged import Ragged
from model.forms.memory_model import MemoryModel
from model.layers.user_model import UserModel
from model.training import finetuning
from model.training.finetuning import (
    FinetuneSettings,
    click_loss,
    click_scores,
    finetune_model,
)

TITLES = Ragged.of([[2], [3], [4], [5], [6], [7]], np.int32)
SETTINGS = FinetuneSettings(
    negatives=2, learning_rate=0.03, batch_size=8, steps=40, validation_interval=5, patience=3
)

MEMORY = ModelConfig(
    form="memory", width=8, heads=1, activity_width=2, title_width=4, soft_counts=6,
    activity_soft_counts=2, hidden_width=16, num_classes=4, half_lives=(7, 182),
)  # fmt: skip


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
    return Impressions.of(Ragged.of(histories), Ragged.of(candidates), np.array(clicked))


def clicks_on_the_newest(count, seed):
    """Users viewed an even and an odd title, one an hour and one 150 days ago, and click a title
    that is even or odd as the newer one."""
    draw = np.random.default_rng(seed)
    histories, candidates, view_times = [], [], []
    for number in range(count):
        newest = int(draw.integers(6))
        histories.append([int(2 * draw.integers(3) + 1 - newest % 2), newest])
        candidates.append(
            [int(2 * draw.integers(3) + parity) for parity in (newest % 2, 1 - newest % 2)]
        )
        instant = 200 * DAY_MICROSECONDS + number
        view_times += [instant - 150 * DAY_MICROSECONDS, instant - DAY_MICROSECONDS // 24]
    instants = 200 * DAY_MICROSECONDS + np.arange(count)
    times = ViewTimes(np.array(view_times), instants)
    marks = np.tile([True, False], count)
    return Impressions.of(Ragged.of(histories), Ragged.of(candidates), marks, times)


def auc(scores, impressions):
    return mean_scores(scores, impressions.clicked, impressions.owners)["auc"]


def test_candidates_that_are_one_title_cost_the_log_of_their_number():
    candidates = np.full((3, 5), 2)
    shown = Impressions.of(Ragged.of([[0], [1, 2], [3]]), Ragged.of([[2]] * 3), np.ones(3, bool))
    loss = click_loss(small_model(), TITLES, shown, candidates)
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


def test_the_memory_form_learns_from_when_each_view_was():
    """The same weights find the click by the times, and not where all views are of one instant."""
    torch.manual_seed(0)
    model, test = MemoryModel(MEMORY, 8), clicks_on_the_newest(40, 9)
    training, validation = clicks_on_the_newest(80, 2), clicks_on_the_newest(20, 3)
    finetune_model(model, TITLES, training, validation, SETTINGS, 0, auc)
    assert auc(click_scores(model, TITLES, test), test) > 0.8
    alike = replace(test, times=all_alike(test))
    assert auc(click_scores(model, TITLES, alike), test) < 0.65


def all_alike(impressions):
    """The same impressions' times, with all views of the day before."""
    instants = impressions.instants
    return ViewTimes(np.repeat(instants - DAY_MICROSECONDS, 2), instants)


def test_a_model_that_reads_times_is_refused_where_nobody_knows_them():
    shown = clicks(5, 1)
    with pytest.raises(BadInput, match="this model reads the times of views, and nobody knows"):
        finetune_model(MemoryModel(MEMORY, 8), TITLES, shown, shown, SETTINGS, 0, auc)


def test_the_memory_form_reads_the_window_of_pre_training_and_at_least_the_newest_view():
    """Views of 182, 181 and 0 days before the impression; and one of 300 days before another."""
    day = DAY_MICROSECONDS
    times = ViewTimes(np.array([118, 119, 299, 0]) * day, np.array([300 * day, 300 * day]))
    shown = Impressions.of(
        Ragged.of([[0, 1, 2], [3]]), Ragged.of([[0, 1], [2, 3]]), np.array([True, False] * 2), times
    )
    cut = shown.newest_views(None)
    assert [row.tolist() for row in (cut.histories[0], cut.histories[1])] == [[1, 2], [3]]
    assert cut.history_times.tolist() == [119 * day, 299 * day, 0]
    other = shown.take(np.array([1, 0])).newest_views(2)
    assert [row.tolist() for row in (other.histories[0], other.histories[1])] == [[3], [1, 2]]
    assert other.history_times.tolist() == [0, 119 * day, 299 * day]


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
    alone = Impressions.of(
        Ragged.of([[0], [1]]), Ragged.of([[0], [5]]), np.array([True, False])
    )  # an ad a time
    _, candidates = finetuning._Samples(alone, SETTINGS, seed=0).batch(0)
    assert candidates.tolist() == [[0, 5, 5]] * 8


def test_impressions_without_a_click_cannot_be_learned_from():
    shown = Impressions.of(Ragged.of([[0]]), Ragged.of([[1, 2]]), np.array([False, False]))
    with pytest.raises(BadInput, match="0 candidates are clicked and 2 are not"):
        finetune_model(small_model(), TITLES, shown, shown, SETTINGS, 0, auc)
    with pytest.raises(BadInput, match="negatives is 0, steps is -1; each must be above 0"):
        FinetuneSettings(negatives=0, steps=-1)
