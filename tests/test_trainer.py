"""One update and what surrounds it: schedule, clipping, best weights and checkpoints."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_corpus import interests

from contracts.paths import Places
from model.config import PRESETS
from model.data.batches import BatchOrder
from model.training.distributed import Processes
from model.training.pretrain import pretrain_model, write_checkpoint
from model.training.trainer import Training

TINY = replace(PRESETS["tiny"], steps=50, batch_size=8, refresh_interval=5)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    return interests(Places(tmp_path_factory.mktemp("data")))


def training_of(given, **settings):
    return Training(given, replace(TINY, **settings), Processes(), 1)


def weights(training):
    return {name: value.clone() for name, value in training.model.state_dict().items()}


def losses(*values):
    return [{"validation_loss": value} for value in values]


def test_a_step_moves_the_weights_by_the_scheduled_rate(given):
    """Adam's first step moves a weight by the learning rate; in warm-up that is a tenth of it."""
    training = training_of(given, learning_rate=0.5, warmup_steps=10)
    before = weights(training)
    rate = training.update()["learning_rate"]
    assert rate == pytest.approx(0.05)
    moved = max((value - before[name]).abs().max() for name, value in weights(training).items())
    assert moved.item() == pytest.approx(rate, rel=1e-3)


def test_the_whole_gradient_is_clipped_to_max_norm(given):
    norms = {}
    for max_norm in (0.0, 0.01):
        training = training_of(given, max_norm=max_norm)
        training.update()
        gradients = [p.grad.flatten() for p in training.model.parameters() if p.grad is not None]
        norms[max_norm] = torch.cat(gradients).norm().item()
    assert norms[0.0] > 0.1
    assert norms[0.01] == pytest.approx(0.01, rel=1e-3)


def test_the_best_weights_are_a_copy_that_later_steps_leave_alone(given):
    training = training_of(given, patience=3)
    training.update()
    training.note_evaluation({"validation_loss": 1.0})
    expected = weights(training)
    training.update()
    assert not torch.equal(expected["mask"], training.model.state_dict()["mask"])
    assert all(torch.equal(training.best[name], value) for name, value in expected.items())


def test_evaluations_without_improvement_are_counted_from_the_best_one(given):
    training = training_of(given, patience=2)
    counts = []
    for measures in losses(3.0, 3.5, 2.0, 2.0, 2.5):
        training.progress.step += 1
        assert not training.is_over
        training.note_evaluation(measures)
        counts.append(training.progress.evaluations_since_best)
    assert counts == [0, 1, 0, 1, 2]
    assert training.is_over
    assert training.progress.best_step == 3
    assert training.progress.best_measures == {"validation_loss": 2.0}
    assert training.progress.newest_measures == {"validation_loss": 2.5}


def test_without_patience_a_training_ends_at_its_last_step_alone(given):
    training = training_of(given, patience=0, steps=3)
    for measures in losses(1.0, 2.0, 3.0, 4.0):
        training.note_evaluation(measures)
    assert not training.is_over
    assert training.best == {}
    training.progress.step = 3
    assert training.is_over


def test_a_checkpoint_gives_the_best_weights_back(given, tmp_path):
    training = training_of(given, patience=3)
    training.update()
    training.note_evaluation({"validation_loss": 1.0})
    best = weights(training)
    training.update()
    manifest = training.manifest("m")
    write_checkpoint(tmp_path / "c", manifest, given.vocabulary, training.tensors())
    resumed = training_of(given, patience=3)
    resumed.restore(tmp_path / "c", manifest)
    assert resumed.best.keys() == best.keys()
    assert all(torch.equal(resumed.best[name], value) for name, value in best.items())
    assert resumed.progress == training.progress
    ours, theirs = training.update(), resumed.update()
    assert ours == theirs


def test_first_weights_follow_the_seed_alone(given):
    one, again, other = (weights(training_of(given, seed=seed)) for seed in (1, 1, 2))
    assert all(torch.equal(again[name], value) for name, value in one.items())
    assert not torch.equal(other["mask"], one["mask"])


def test_centered_first_weights_are_where_training_starts(given):
    plain, centered = (
        training_of(given, first_weights=kind).model for kind in ("plain", "centered")
    )
    assert plain.position.mean(0).norm() < 0.2 < centered.position.mean(0).norm()
    ratio = centered.behavior.words.weight[2:].std() / plain.behavior.words.weight[2:].std()
    assert ratio.item() == pytest.approx(TINY.model.word_width**0.5, rel=1e-3)


def test_batches_follow_the_seed():
    orders = [BatchOrder(np.arange(50), 10, seed).whole(0).tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize(("interval", "evaluated_at"), [(5, [5, 10, 12]), (6, [6, 12]), (0, [12])])
def test_the_last_step_is_evaluated_once(given, tmp_path, interval, evaluated_at):
    settings = replace(TINY, steps=12, validation_interval=interval)
    folder = pretrain_model(given, settings, tmp_path, Processes(), threads=1)
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    assert [line["step"] for line in lines if "held_out" in line] == evaluated_at
