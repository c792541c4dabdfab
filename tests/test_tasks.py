"""The self-supervision tasks on known values."""

import math

import numpy as np
import pytest
import torch

from model.config import PretrainConfig
from model.data.keyed_random import keyed_bits
from model.data.ragged import Ragged, owners_of
from model.objective.tasks.contrasted_views import crop_view, mask_view, reorder_view, two_views
from model.objective.tasks.masked_behaviors import masked_positions, num_masked
from model.objective.tasks.task import (
    HIDDEN_TITLE,
    NO_NEGATIVE,
    Batch,
    contrast_candidates,
    contrast_in_batch,
    task_named,
)

CONFIG = PretrainConfig()


def batch_of(early, late=None, step=0, pairs=None):
    early = Ragged.of(early)
    pairs = np.arange(len(early)) if pairs is None else np.array(pairs)
    nobody = np.empty((len(early), 0), np.int64)
    late = early if late is None else Ragged.of(late)
    nothing = Ragged.of([])
    times = early, late  # of no use to what these tests look at
    return Batch(step, pairs, pairs, early, late, *times, nobody, nothing, nothing)


class Known:
    """Vectors that are given, in the place of an encoder's."""

    def __init__(self, titles=None, states=None, users=None):
        self._titles, self._states, self._users = titles, states, users

    def titles(self, titles):
        return self._titles[torch.as_tensor(titles)]

    def states(self, name):
        return self._states

    def users(self, name):
        return self._users


def test_ten_per_cent_of_the_real_length_is_masked_and_at_least_one():
    lengths = np.array([1, 2, 9, 10, 11, 19, 20, 100])
    assert num_masked(lengths, 0.1).tolist() == [1, 1, 1, 1, 1, 1, 2, 10]
    assert num_masked(np.array([100]), 0.29).tolist() == [29]


def test_masked_places_are_distinct_and_of_the_sequence_itself():
    lengths = np.array([1, 2, 9, 10, 11, 100])
    sequences = Ragged.of([np.arange(length) for length in lengths])
    for step in range(20):
        drawn = keyed_bits(0, "mask", step, np.arange(len(sequences.values)))
        places = masked_positions(sequences, num_masked(lengths, 0.1), drawn)
        assert len(np.unique(places)) == len(places)
        assert np.bincount(owners_of(lengths)[places]).tolist() == [1, 1, 1, 1, 1, 10]


def test_every_place_is_masked_as_often_as_the_others():
    sequences = Ragged.of([np.zeros(10)])
    places = [
        masked_positions(sequences, np.array([1]), keyed_bits(0, "mask", step, np.arange(10)))[0]
        for step in range(2000)
    ]
    assert np.bincount(places, minlength=10).min() > 140  # 200 each, give or take 4 deviations


def test_what_is_masked_depends_on_step_and_pair_alone():
    whole = task_named("mbp").plan(batch_of([range(50), range(50, 90)], pairs=[7, 8]), CONFIG)
    share = task_named("mbp").plan(batch_of([range(50, 90)], pairs=[8]), CONFIG)
    other = task_named("mbp").plan(batch_of([range(50, 90)], pairs=[8], step=1), CONFIG)
    assert whole.targets[-4:].tolist() == share.targets.tolist()
    assert share.targets.tolist() != other.targets.tolist()


def test_a_masked_behavior_is_hidden_and_no_other_is():
    plan = task_named("mbp").plan(batch_of([range(100)]), CONFIG)
    shown = plan.sequences["masked"].values
    assert (shown == HIDDEN_TITLE).sum() == 10
    assert sorted([*plan.targets, *shown[shown != HIDDEN_TITLE]]) == list(range(100))


def test_behaviors_of_b_are_masked_too_where_both_sequences_are_asked():
    """A's are masked as without it, so that the setting changes nothing about A."""
    batch = batch_of([range(20), range(50)], late=[range(100, 140), range(200, 205)])
    alone = task_named("mbp").plan(batch, CONFIG)
    config = PretrainConfig(masked_sequences="both")
    both = task_named("mbp").plan(batch, config)
    shown = both.sequences["masked"]
    assert len(shown) == 4
    assert [(row == HIDDEN_TITLE).sum() for row in (shown[i] for i in range(4))] == [2, 5, 4, 1]
    assert both.targets[:7].tolist() == alone.targets.tolist()
    assert both.keys[:7].tolist() == alone.keys.tolist()
    assert set(both.targets[7:11]) <= set(range(100, 140))
    lengths = np.array([20, 50]), np.array([40, 5])
    assert task_named("mbp").num_targets(*lengths, config) == len(both.targets) == 12
    assert task_named("mbp").num_targets(*lengths, CONFIG) == len(alone.targets) == 7


def test_b_is_masked_by_a_draw_of_its_own():
    config = PretrainConfig(masked_sequences="both")
    shown = task_named("mbp").plan(batch_of([range(100)]), config).sequences["masked"]
    assert np.flatnonzero(shown[0] < 0).tolist() != np.flatnonzero(shown[1] < 0).tolist()


def test_a_hidden_behavior_of_b_is_found_by_the_state_at_its_own_position():
    batch = batch_of([range(10)], late=[range(10, 20)])
    plan = task_named("mbp").plan(batch, PretrainConfig(masked_sequences="both"))
    hidden = np.flatnonzero(plan.sequences["masked"].values == HIDDEN_TITLE)
    states = torch.zeros(20, 20)
    states[hidden] = torch.eye(20)[plan.targets] * 50
    losses = plan.outcome(Known(torch.eye(20), states), np.array([[9, 19], [0, 10]])).losses
    assert losses.tolist() == pytest.approx([0, 0])


def test_matching_without_any_allowed_sequence_costs_nothing_and_counts_what_is_missing():
    batch = Batch(
        0,
        np.arange(2),
        np.arange(2),
        *(Ragged.of([[1], [2]]), Ragged.of([[3], [4]])),
        *(Ragged.of([[1], [2]]), Ragged.of([[3], [4]])),
        np.full((2, 4), NO_NEGATIVE),
        *(Ragged.of([]), Ragged.of([])),
    )
    plan = task_named("bsm").plan(batch, CONFIG)

    class Vectors:
        def users(self, name):
            return torch.randn(len(plan.sequences[name]), 8)

    outcome = plan.outcome(Vectors(), np.empty((0, 4), np.int64))
    assert outcome.losses.tolist() == [0, 0]
    assert outcome.missing == 8


def test_indistinguishable_candidates_cost_the_log_of_their_number():
    same = torch.ones(3, 5, 4)
    outcome = contrast_candidates(torch.randn(3, 4), same, torch.zeros(3, 4, dtype=torch.bool))
    torch.testing.assert_close(outcome.losses, torch.full((3,), math.log(1 + 4)))
    assert outcome.correct.tolist() == pytest.approx([1 / 5] * 3)


def test_the_score_is_the_dot_product():
    query = torch.tensor([[1.0, 2]])
    candidates = torch.tensor([[[3.0, 4], [5, 0], [0, 1]]])
    outcome = contrast_candidates(query, candidates, torch.zeros(1, 2, dtype=torch.bool))
    right, *wrong = math.exp(11), math.exp(5), math.exp(2)
    assert outcome.losses.item() == pytest.approx(-math.log(right / (right + sum(wrong))), rel=1e-2)
    assert outcome.correct.item() == 1


def test_missing_candidates_leave_the_softmax_and_are_counted():
    missing = torch.tensor([[False, True, True, True], [True, True, True, True]])
    queries = torch.zeros(2, 4, requires_grad=True)
    candidates = torch.randn(2, 5, 4, requires_grad=True)
    outcome = contrast_candidates(queries, candidates, missing)
    assert outcome.losses.tolist() == pytest.approx([math.log(2), 0])
    assert outcome.missing == 7
    outcome.losses.sum().backward()
    assert torch.isfinite(queries.grad).all()
    assert (candidates.grad[:, 2:] == 0).all()


def test_with_all_titles_equal_masked_accuracy_is_chance():
    """Positions are in the states alone, so they cannot give the answer away."""
    plan = task_named("mbp").plan(batch_of([range(100), range(100)]), CONFIG)
    titles = torch.randn(1, 8).expand(100, 8)
    encoded = Known(titles=titles, states=torch.randn(200, 8))
    wrong = np.arange(80).reshape(20, 4)
    outcome = plan.outcome(encoded, wrong)
    assert len(outcome.correct) == 20
    assert outcome.correct.mean().item() == pytest.approx(1 / 5)


def test_a_masked_behavior_is_found_by_the_state_at_its_place_or_by_the_user():
    batch = batch_of([range(10), range(10, 20)])
    vectors = torch.eye(20)
    wrong = np.array([[9, 19], [0, 10]])
    plan = task_named("mbp").plan(batch, CONFIG)
    plan_user = task_named("mbp").plan(batch, PretrainConfig(masked_from="user"))
    hidden = plan.targets.tolist()
    states = torch.zeros(20, 20)
    states[hidden] = vectors[hidden] * 50  # only the states at the masked places know
    assert plan.outcome(Known(vectors, states), wrong).losses.tolist() == pytest.approx([0, 0])
    users = vectors[hidden] * 50
    outcome = plan_user.outcome(Known(vectors, users=users), wrong)
    assert outcome.losses.tolist() == pytest.approx([0, 0])


def test_the_next_behaviors_are_the_first_of_b():
    plan = task_named("nbp").plan(batch_of([[0], [1]], late=[[5, 6, 7], [8]]), CONFIG)
    assert plan.targets.tolist() == [5, 6, 8]
    users = torch.eye(9)[[5, 8]] * 50
    outcome = plan.outcome(Known(torch.eye(9), users=users), np.zeros((3, 4), np.int64))
    even = math.log(1 + 4)  # 6 looks like the negatives to a user who knows of 5 alone
    assert outcome.losses.tolist() == pytest.approx([0, even, 0], abs=1e-6)


def test_a_view_among_indistinguishable_ones_costs_the_log_of_the_others():
    outcome = contrast_in_batch(torch.ones(6, 4))
    torch.testing.assert_close(outcome.losses, torch.full((6,), math.log(5)))
    apart = contrast_in_batch(torch.eye(3).repeat_interleave(2, 0) * 10)
    assert apart.losses.max().item() < 1e-6
    assert apart.correct.tolist() == [1] * 6


def test_the_three_operations_on_a_sequence():
    draw, titles = np.random.default_rng(0), np.arange(10)
    cropped = crop_view(titles.copy(), draw)
    assert (np.diff(cropped) == 1).all()
    assert len(cropped) == 6
    masked = mask_view(titles.copy(), draw)
    assert (masked == HIDDEN_TITLE).sum() == 3
    reordered = reorder_view(titles.copy(), draw)
    assert sorted(reordered) == list(range(10))
    moved = np.flatnonzero(reordered != titles)
    assert moved.max() - moved.min() < 6


def test_two_views_of_a_user_lie_side_by_side_and_differ_by_step():
    sequences = Ragged.of([range(10), range(10, 20)])
    first, again, later = (two_views(sequences, np.array([3, 4]), s, 0) for s in (0, 0, 1))
    assert len(first) == 4
    assert set(first[0]) | set(first[1]) <= {HIDDEN_TITLE, *range(10)}
    assert np.array_equal(first.values, again.values)
    assert not np.array_equal(first.values, later.values)


def test_what_is_drawn_follows_the_seed():
    batch = batch_of([range(50), range(50, 90)], late=[range(9), range(9)])
    other = PretrainConfig(seed=1)
    for task in ("mbp", "nbp", "cp"):
        ours, again, theirs = (
            task_named(task).plan(batch, config) for config in (CONFIG, CONFIG, other)
        )
        name = "views" if task == "cp" else "masked"
        if task != "nbp":
            assert not np.array_equal(ours.sequences[name].values, theirs.sequences[name].values)
        if task != "cp":
            assert ours.keys.tolist() == again.keys.tolist() != theirs.keys.tolist()


def test_the_two_views_of_a_user_are_by_different_operations():
    """A crop keeps 12 of 20, a mask hides 6, a reorder keeps all: the result tells which it was."""

    def operation(view):
        return "crop" if len(view) == 12 else "mask" if HIDDEN_TITLE in view else "reorder"

    sequences, seen = Ragged.of([range(20)] * 60), set()
    views = two_views(sequences, np.arange(60), 0, 0)
    for user in range(60):
        pair = operation(views[2 * user]), operation(views[2 * user + 1])
        assert pair[0] != pair[1]
        seen.add(pair)
    assert len(seen) == 6


def test_the_number_of_targets_is_known_from_the_lengths():
    early, late = np.array([1, 20]), np.array([1, 5])
    counts = [
        task_named(task).num_targets(early, late, CONFIG) for task in ("mbp", "bsm", "nbp", "cp")
    ]
    assert counts == [3, 2, 3, 4]


def test_ragged_rows_are_taken_cropped_and_joined():
    rows = Ragged.of([[1, 2], [3], [4, 5, 6]])
    assert [each.tolist() for each in (rows.take([2, 0, 2])[i] for i in range(3))] == [
        [4, 5, 6],
        [1, 2],
        [4, 5, 6],
    ]
    assert rows.crop([2, 0], [1, 0], np.array([2, 1])).values.tolist() == [5, 6, 1]
    assert Ragged.join([rows, rows]).lengths().tolist() == [2, 1, 3, 2, 1, 3]
