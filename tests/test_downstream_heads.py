"""The judge's arithmetic: metrics, heads, splits, the paired test and Borda, on known values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr, ttest_rel
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score

from downstream.judging.cells import Result, best_setting, inner_folds
from downstream.judging.heads import (
    HEADS,
    LINEAR_HEAD,
    TREE_HEAD,
    Features,
    Head,
    logistic_weights,
    narrow_features,
    rank_targets,
    ridge_scores,
    standardize_features,
)
from downstream.judging.metrics import column_auc, mean_auc, rank_correlation
from downstream.judging.splits import TEST_SHARE, paired_p_value, user_split
from downstream.judging.summary import borda_points, compare_results
from downstream.tasks.task import Task


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 6))
def test_the_metrics_are_scikit_learns_and_scipys_ties_included(seed, rows, levels):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, (rows, 3)).astype(float)
    scores = random.integers(0, levels, (rows, 3)).astype(float)
    found = column_auc(labels, scores)
    for column in range(3):
        if 0 < labels[:, column].sum() < rows:
            expected = roc_auc_score(labels[:, column], scores[:, column])
            assert found[column] == pytest.approx(expected, abs=1e-12)
        else:
            assert np.isnan(found[column])
    numbers = random.integers(0, levels, (rows, 1)).astype(float)
    both_vary = np.ptp(numbers) > 0 and np.ptp(scores[:, 0]) > 0
    expected = spearmanr(numbers[:, 0], scores[:, 0]).statistic if both_vary else 0.0
    assert rank_correlation(numbers, scores) == pytest.approx(expected, abs=1e-12)


def test_known_values_of_auc():
    labels, scores = np.array([[0.0], [0], [1], [1]]), np.array([[0.1], [0.4], [0.35], [0.8]])
    assert column_auc(labels, scores) == pytest.approx([0.75])
    assert mean_auc(labels, np.zeros((4, 1))) == 0.5  # all equal: every pair is a tie
    assert np.isnan(mean_auc(np.ones((4, 1)), scores))  # one class: there is nothing to order


def test_logistic_regression_is_scikit_learns_column_by_column():
    random = np.random.default_rng(3)
    features = random.standard_normal((120, 7))
    labels = (
        features @ random.standard_normal((7, 3)) + random.standard_normal((120, 3)) > 0.5
    ) * 1.0
    path = (1e-3, 0.1, 1.0)
    found = list(logistic_weights(features, labels, path))
    (alone,) = logistic_weights(features, labels, path[-1:])  # without the warm start
    np.testing.assert_allclose(found[-1][0], alone[0], atol=2e-3)
    for inverse_penalty, (weights, intercept) in zip(path, found, strict=True):
        for column in range(3):
            theirs = LogisticRegression(C=inverse_penalty, tol=1e-8, max_iter=1000)
            theirs.fit(features, labels[:, column])
            assert weights[:, column] == pytest.approx(theirs.coef_[0], abs=2e-3)
            assert intercept[column] == pytest.approx(theirs.intercept_[0], abs=2e-3)


@pytest.mark.parametrize("rows", [30, 4])  # more users than features, and fewer
def test_ridge_is_scikit_learns_in_both_spaces(rows):
    random = np.random.default_rng(4)
    train, test = random.standard_normal((rows, 6)), random.standard_normal((5, 6))
    train, test = standardize_features(train, test)
    targets = rank_targets(random.standard_normal((rows, 1)))
    theirs = Ridge(alpha=10).fit(train, targets).predict(test)
    narrow = narrow_features(train, test)
    assert narrow[0].shape[1] == min(rows, 6)
    (_, ours) = ridge_scores(narrow[0], targets, narrow[1], (1.0, 0.1))
    assert ours == pytest.approx(theirs.reshape(-1, 1), abs=1e-9)


def test_fewer_users_than_features_have_scikit_learns_scores_as_well():
    random = np.random.default_rng(6)
    train, test = random.standard_normal((30, 50)), random.standard_normal((9, 50))
    labels = (train[:, :2] + random.standard_normal((30, 2)) > 0) * 1.0
    fitted, asked = narrow_features(train, test)
    ((weights, intercept),) = logistic_weights(fitted, labels, (0.1,))
    for column in range(2):
        theirs = LogisticRegression(C=0.1, tol=1e-8, max_iter=1000).fit(train, labels[:, column])
        ours = asked @ weights[:, column] + intercept[column]
        assert ours == pytest.approx(theirs.decision_function(test), abs=2e-3)


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.name)
@pytest.mark.parametrize("is_number", [False, True], ids=["classes", "number"])
def test_each_head_learns_a_planted_column_and_repeats_itself(head, is_number):
    random = np.random.default_rng(5)
    features = random.standard_normal((400, 6))
    truth = features[:, :1] + 0.1 * random.standard_normal((400, 1))
    labels = truth if is_number else (truth > 0) * 1.0
    train, test = np.random.default_rng(0).permutation(300), np.arange(300, 400)
    arguments = head.settings[-1], is_number, Features(features), train, labels[train], test, 0
    scores = head.fit(*arguments)
    metric = rank_correlation if is_number else mean_auc
    assert metric(labels[test], scores) > 0.93
    assert np.array_equal(scores, head.fit(*arguments))


def test_a_label_that_no_training_user_has_gets_one_score_for_all():
    features = np.random.default_rng(0).standard_normal((40, 3))
    users, setting = np.arange(40), TREE_HEAD.settings[0]
    scores = TREE_HEAD.fit(setting, False, Features(features), users, np.zeros((40, 1)), users, 0)
    assert np.ptp(scores) == 0


def test_a_constant_feature_becomes_zero():
    train, test = standardize_features(np.array([[1.0, 2], [3, 2]]), np.array([[2.0, 5]]))
    assert train.tolist() == [[-1, 0], [1, 0]]
    assert test.tolist() == [[0, 0]]


def test_a_split_has_every_user_once_and_depends_on_its_number_alone():
    split = user_split(100, 0, 3)
    assert sorted([*split.train, *split.test]) == list(range(100))
    assert len(split.test) == 100 * TEST_SHARE
    assert np.array_equal(split.train, user_split(100, 0, 3).train)
    assert not np.array_equal(split.train, user_split(100, 0, 4).train)
    assert not np.array_equal(split.train, user_split(100, 1, 3).train)
    assert split.first(0.1).tolist() == split.train[:7].tolist()
    folds = inner_folds(split.first(0.1))
    assert all(sorted([*a, *b]) == sorted(split.first(0.1)) for a, b in folds)


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.name)
def test_a_split_chooses_its_setting_without_the_labels_of_its_test_users(head):
    random = np.random.default_rng(5)
    features = random.normal(size=(400, 6))
    given = Features(features)
    labels = (features[:, :1] + random.normal(size=(400, 1)) > 0).astype(float)
    task = Task("likes", "binary", np.arange(400), labels, ("likes",), "likes")
    split = user_split(400, 0, 0)
    # With every test label turned round, a search that looked at one would choose otherwise.
    turned = labels.copy()
    turned[split.test] = 1 - turned[split.test]
    other = Task("likes", "binary", np.arange(400), turned, ("likes",), "likes")
    found = [best_setting(head, each, given, split.train, 0) for each in (task, other)]
    assert found[0] == found[1]
    # Labels of training users do decide: where they are noise another penalty is the best.
    noise = random.permutation(labels)
    noisy = Task("likes", "binary", np.arange(400), noise, ("likes",), "likes")
    if head is LINEAR_HEAD:
        assert best_setting(head, noisy, given, split.train, 0) != found[0]


def test_the_search_ends_after_two_worse_settings_and_takes_the_best_before_them():
    asked = []

    def scores(settings, is_number, features, train, labels, test, seed):
        for (quality,) in settings:
            asked.append(quality)
            noise = np.random.default_rng(len(test)).normal(size=(len(test), 1))
            yield quality * features.values[test] + noise

    labels = np.tile([[0.0], [1.0]], (100, 1))
    task = Task("likes", "binary", np.arange(200), labels, ("likes",), "likes")
    head = Head("ordered", ((0.5,), (2.0,), (1.0,), (0.1,), (9.0,)), scores)
    assert best_setting(head, task, Features(labels), np.random.permutation(200), 0) == (2.0,)
    assert set(asked) == {0.5, 2.0, 1.0, 0.1}


def test_the_paired_test_is_the_t_test_with_a_wider_error():
    ours, theirs = np.array([0.7, 0.72, 0.69, 0.75]), np.array([0.68, 0.69, 0.69, 0.70])
    plain = ttest_rel(ours, theirs)
    # statistic / sqrt(1 + n x test / train), by hand: n = 4, test / train = 3 / 7
    from scipy.stats import t

    expected = 2 * t.sf(plain.statistic / np.sqrt(1 + 4 * 3 / 7), 3)
    assert paired_p_value(ours, theirs) == pytest.approx(expected)
    assert paired_p_value(ours, theirs) > plain.pvalue
    assert paired_p_value(ours, ours) == 1
    assert paired_p_value(ours + 0.5, ours) < 1e-6
    assert paired_p_value(np.array([0.7, np.nan]), np.array([0.1, 0.2])) == 1  # one split remains


def result(rival, mean, task="churn", **more):
    fields = {
        "task": task, "rival": rival, "head": "logistic", "label_share": 1.0, "population": "all",
        "stale_days": 0, "metric": "roc_auc", "num_users": 10, "settings": ((1.0,), (1.0,)),
        "scores": (mean, mean),
    }  # fmt: skip
    return Result(**{**fields, **more})


def test_borda_counts_the_share_of_rivals_beaten_over_places():
    results = [
        result("a", 0.9), result("b", 0.8), result("c", 0.8),
        result("a", 0.5, "age"), result("b", 0.6, "age"), result("c", 0.4, "age"),
        result("b", 1.0, "leaks"), result("a", 0.1, "leaks"), result("c", 0.2, "leaks"),
        result("c", 0.99, population="cold"), result("joined", 0.99),
    ]  # fmt: skip
    points = borda_points(results, leaking=["leaks"], left_out=["joined"])
    assert points == {"a": 0.75, "b": 0.625, "c": 0.125}
    assert list(points) == ["a", "b", "c"]


def test_each_row_is_compared_with_the_judged_model_in_the_same_place_only():
    results = [
        result("ours", 0.8),
        result("theirs", 0.7, scores=(0.75, 0.65)),
        result("theirs", 0.9, label_share=0.1),
        result("theirs", float("nan"), population="cold"),
    ]
    rows = compare_results(results, "ours")
    assert [round(row.difference, 9) for row in rows] == [0.0, 0.1, 0.0]
    assert rows[2].p_value == 1  # the judged model was not asked with a tenth of the labels
