"""The measures of a model on held-out users, on known values and against the plain reference."""

import math

import numpy as np
import pytest
import torch
from reference_model import PlainEncoder, PlainUserModel
from tiny_corpus import corpus_of, random_corpus

from model.config import ModelConfig
from model.data.ragged import Ragged
from model.layers.user_model import UserModel
from model.objective.tasks.masked_behaviors import draw_wrong_titles
from model.objective.tasks.sequence_matching import draw_strangers
from model.objective.tasks.task import HIDDEN_TITLE, HeldOutPairs
from model.training.evaluation import (
    CHANCE,
    accuracy_of,
    draw_questions,
    evaluate_model,
    loss_of,
)
from model.vector_measures import alignment, effective_rank, uniformity

TINY = ModelConfig(
    behavior_encoder="cnn", width=8, word_width=6, query_width=5, heads=2, dropout=0.5, max_words=8
)


def model_of(seed=0):
    torch.manual_seed(seed)
    model = UserModel(TINY, num_words=40)
    with torch.no_grad():  # so that no softmax is nearly even
        for parameter in model.parameters():
            parameter.mul_(2)
    return model


def held_out_of(corpus):
    rows = np.arange(len(corpus.sequences))
    a, b = corpus.pairs.astype(np.int64).T
    times = Ragged(corpus.times, corpus.sequences.offsets)
    return HeldOutPairs(corpus, rows, corpus.sequences, times, a, b)


def spread(first, second, offset=0.0):
    """Four vectors whose centered singular values are these."""
    halves = first / math.sqrt(2), second / math.sqrt(2)
    rows = [[halves[0], 0, 0], [-halves[0], 0, 0], [0, halves[1], 0], [0, -halves[1], 0]]
    return np.array(rows, np.float32) + np.float32(offset)


def test_the_effective_rank_is_the_exponential_of_the_entropy_of_the_singular_values():
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert effective_rank(spread(3, 1)) == pytest.approx(math.exp(entropy), rel=1e-6)
    assert effective_rank(spread(1, 1)) == pytest.approx(2)
    assert effective_rank(spread(1, 0)) == pytest.approx(1)


def test_the_effective_rank_is_of_what_differs_between_users():
    assert effective_rank(spread(3, 1, offset=7)) == pytest.approx(effective_rank(spread(3, 1)))
    assert effective_rank(np.full((5, 3), 2.0, np.float32)) == 0


def test_uniformity_is_zero_for_equal_vectors_and_lower_the_more_they_spread():
    assert uniformity(np.array([[1.0, 0], [1, 0]])) == 0
    assert uniformity(np.array([[1.0, 0], [0, 1]])) == pytest.approx(-4)
    assert uniformity(np.array([[1.0, 0], [-1, 0]])) == pytest.approx(-8)


def test_alignment_is_the_mean_squared_distance_of_partners():
    units = np.array([[1.0, 0], [0, 1]])
    assert alignment(units, units) == 0
    assert alignment(units, np.array([[0.0, 1], [0, 1]])) == pytest.approx(1)


def test_a_tie_is_a_miss():
    scores = np.array([[1.0, 1, 0], [2, 1, 0], [0, 1, 2], [5, -1, 4]])
    assert accuracy_of(scores) == 0.5
    assert accuracy_of(np.zeros((0, 3))) == 0


def test_the_loss_is_the_cross_entropy_of_the_first_candidate():
    scores = np.array([[math.log(3), 0.0, 0.0], [1000.0, 1000.0, -1000.0]])
    assert loss_of(scores) == pytest.approx((math.log(5 / 3) + math.log(2)) / 2)
    assert loss_of(np.zeros((2, 5))) == pytest.approx(math.log(5))
    assert loss_of(np.zeros((0, 5))) == 0


def test_wrong_titles_are_drawn_again_until_none_looks_like_its_target():
    words = [[2]] * 20 + [[3], [4]]  # twenty titles that look alike
    behaviors = [*range(20)] * 3 + [20, 21] * 8
    corpus = corpus_of(words, [([(0, 0)], [(1, 20)])], behaviors=behaviors)
    wrong = draw_wrong_titles(corpus, np.zeros(10, np.int64), np.random.default_rng(0))
    assert wrong.shape == (10, 4)
    assert set(wrong.ravel()) == {20, 21}


def test_strangers_are_the_b_of_other_users_that_do_not_overlap_a():
    """The first A has four strangers, no more: the user's own later B and those at its time are
    none, nor is one that begins at the instant it ends."""
    view = lambda *times: [(time, 0) for time in times]  # noqa: E731
    people = [
        [(view(100, 200), view(210)), (view(300), view(400))],  # two pairs of the asked user
        (view(0), view(150)),  # B within A
        (view(0), view(200)),  # B at the instant that A ends
        (view(0), view(90, 210)),  # B around A
        *((view(1), view(500 + i)) for i in range(4)),  # the four
    ]
    corpus = corpus_of([[2]], people)
    late, users = corpus.pairs[:, 1], corpus.sequence_users
    for seed in range(20):  # a fifth stranger would be drawn in most of them
        asked, candidates = draw_strangers(held_out_of(corpus), np.random.default_rng(seed))
        first = candidates[list(asked).index(0)]
        assert first[0] == corpus.pairs[0, 1]
        assert sorted(first[1:]) == sorted(late[-4:])
        for pair, row in zip(asked, candidates, strict=True):
            assert users[corpus.pairs[pair, 0]] not in users[row[1:]]
            assert set(row) <= set(late)


def test_an_a_without_four_strangers_is_left_out():
    people = [([(i, 0)], [(100 + i, 0)]) for i in range(4)]  # three strangers each
    asked, candidates = draw_strangers(
        held_out_of(corpus_of([[2]], people)), np.random.default_rng(0)
    )
    assert len(asked) == 0
    assert candidates.shape == (0, 5)


def test_every_measure_is_that_of_the_plain_reference():
    corpus, model = random_corpus(num_users=40), model_of()
    questions = draw_questions(corpus, np.arange(40, dtype=np.int32), 1000)
    measures = evaluate_model(model, questions)
    plain = PlainEncoder(PlainUserModel(TINY, 40).copy(model).eval(), corpus)
    with torch.no_grad():
        masked, matching = questions.by_metric["masked"], questions.by_metric["matching"]
        sequences = questions.held_out.sequences
        rows = [sequences[i] for i in range(len(sequences))]
        users = plain.sequences(rows)[1].numpy()
        hidden = [np.flatnonzero(row == HIDDEN_TITLE).tolist() for row in lists(masked.sequences)]
        shown = [rows[a] for a in questions.held_out.a]
        states = plain.sequences(shown, hidden)[0]
        states = np.concatenate([states[i, places].numpy() for i, places in enumerate(hidden)])
        titles = plain.titles(np.column_stack([masked.targets, masked.wrong])).numpy()
    scores = {
        "masked": np.einsum("nd,ncd->nc", states, titles),
        "matching": np.einsum("nd,ncd->nc", users[matching.early], users[matching.candidates]),
    }
    for metric, each in scores.items():
        assert len(each) > 30
        assert measures[f"{metric}_accuracy"] == pytest.approx(accuracy_of(each))
        assert measures[f"{metric}_loss"] == pytest.approx(loss_of(each), rel=1e-5)
        assert measures[f"{metric}_chance"] == CHANCE == 0.2
    assert measures["masked_behaviors"] == len(scores["masked"])
    assert measures["matched_pairs"] == len(scores["matching"])
    distinct = users[np.unique(questions.held_out.a)]
    assert measures["effective_rank"] == pytest.approx(effective_rank(distinct), rel=1e-4)
    assert measures["effective_rank"] > 1
    total = measures["masked_loss"] + measures["matching_loss"]
    assert measures["validation_loss"] == pytest.approx(total)


def lists(rows):
    return [rows[i] for i in range(len(rows))]


def test_a_tenth_of_each_sequence_is_asked_about_and_questions_are_the_same_for_every_model():
    corpus = random_corpus(num_users=30, longest=25)
    pairs = np.arange(30, dtype=np.int32)
    one, again = (draw_questions(corpus, pairs, 1000).by_metric["masked"] for _ in range(2))
    hidden = [(row == HIDDEN_TITLE).sum() for row in lists(one.sequences)]
    assert hidden == [max(1, len(row) // 10) for row in lists(one.sequences)]
    assert np.array_equal(one.wrong, again.wrong)
    assert np.array_equal(one.sequences.values, again.sequences.values)


def test_at_most_so_many_pairs_are_asked_evenly_from_all():
    corpus = random_corpus(num_users=30)
    questions = draw_questions(corpus, np.arange(30, dtype=np.int32), 10)
    assert questions.held_out.rows.tolist() == sorted(corpus.pairs[::3].ravel())
