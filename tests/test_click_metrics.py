"""Metrics of ranked impressions, against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, ndcg_score, roc_auc_score

from experiments.data.metrics import impression_scores, mean_scores


@pytest.mark.parametrize("num_values", [3, 10**6], ids=["many ties", "no ties"])
def test_each_impression_scores_as_scikit_learn_says(num_values):
    draw = np.random.default_rng(0)
    owners = np.repeat(np.arange(40), draw.integers(2, 30, 40))
    scores = draw.integers(0, num_values, len(owners)).astype(float)
    clicked = draw.random(len(owners)) < 0.3
    found = impression_scores(scores, clicked, owners)
    for number in range(40):
        marks, values = clicked[owners == number], scores[owners == number]
        own = {name: each[number] for name, each in found.items()}
        if marks.all() or not marks.any():
            assert np.isnan(list(own.values())).all()
            continue
        assert own["auc"] == pytest.approx(roc_auc_score(marks, values))
        assert own["ap"] == pytest.approx(average_precision_score(marks, values))
        assert own["ndcg_at_10"] == pytest.approx(ndcg_score([marks], [values], k=10))


def test_reciprocal_ranks_by_hand():
    """Clicked are the first and third of three; then one that ties with another for places 1, 2."""
    scores, clicked = np.array([3.0, 2, 1, 5, 5]), np.array([True, False, True, True, False])
    mrr = impression_scores(scores, clicked, np.array([0, 0, 0, 1, 1]))["mrr"]
    assert mrr == pytest.approx([(1 + 1 / 3) / 2, (1 + 1 / 2) / 2])


def test_candidates_of_one_score_are_at_chance_whatever_their_order():
    clicked = np.array([True, False, False, True])
    means = mean_scores(np.zeros(4), clicked, np.zeros(4, np.int64))
    assert (means["auc"], means["ap"]) == (0.5, 0.5)


def test_pooled_metrics_compare_over_impressions_and_the_others_within():
    scores, clicked = np.array([2.0, 1, 9, 8]), np.array([True, False, True, False])
    means = mean_scores(scores, clicked, np.array([0, 0, 1, 1]))
    assert (means["auc"], means["pooled_auc"]) == (1.0, 0.75)


def test_impressions_of_one_candidate_have_pooled_metrics_alone():
    means = mean_scores(np.array([2.0, 1]), np.array([True, False]), np.array([0, 1]))
    assert np.isnan(means["auc"])
    assert means["pooled_auc"] == 1
