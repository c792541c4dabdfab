"""The memory form: its sums on views that can be counted by hand, and what a vector may know."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from contracts.errors import BadInput
from contracts.forecasts import FORECAST_NAMES
from contracts.instants import DAY_MICROSECONDS
from model.config import ModelConfig
from model.forms.build_user_model import build_user_model
from model.forms.decayed_sums import decay_weights, decayed_sums
from model.forms.known_titles import title_keys
from model.forms.memory_model import MemoryModel
from model.layers.packed_histories import PackedHistories

NOW = 18_000 * DAY_MICROSECONDS
SMALL = ModelConfig(
    form="memory",
    width=12,
    heads=2,
    half_lives=(7, 28),
    title_width=4,
    soft_counts=3,
    activity_soft_counts=2,
    hidden_width=8,
    activity_width=5,
    activity_bottleneck=2,
    num_classes=6,
    dropout=0.0,
)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return MemoryModel(SMALL, num_words=20).double().eval()


def instants(*days_ago):
    return torch.tensor([NOW - round(days * DAY_MICROSECONDS) for days in days_ago])


AS_OF = torch.tensor([NOW])


def test_three_views_have_the_sums_that_a_hand_counts(model):
    """Views 14, 7 and 7 days minus 10 minutes ago: of a half-life of 7 days 1/4, 1/2 and a half."""
    ten_minutes = 10 / (24 * 60)
    ages = (14, 7, 7 - ten_minutes)
    titles = torch.zeros(2, model.title_width).double()
    titles[0, 4:7] = torch.tensor([1.0, 0.0, 2.0])  # soft counts of preference
    titles[1, 4:7] = torch.tensor([0.0, 4.0, 0.0])
    activity, preference = model.features(
        titles, torch.tensor([0, 1, 1]), torch.tensor([3]), instants(*ages), AS_OF
    )
    week = [2 ** (-age / 7) for age in ages]
    month = [2 ** (-age / 28) for age in ages]
    assert week[:2] == [0.25, 0.5]
    expected = [
        math.log1p(8 * number)
        for weights in (week, month)
        for number in (weights[0], 4 * (weights[1] + weights[2]), 2 * weights[0])
    ]
    np.testing.assert_allclose(preference[0].numpy(), expected, rtol=1e-12)
    # No soft counts of activity; then views of both half-lives, sessions of both, the two ages.
    sessions = [weights[0] + weights[1] for weights in (week, month)]  # the third view goes on
    logs = [sum(week), sum(month), *sessions, ages[2], ages[0]]
    np.testing.assert_allclose(activity[0, 4:].numpy(), np.log1p(logs), rtol=1e-12)
    assert not activity[0, :4].any()


def test_the_sums_and_their_gradients_are_those_of_plain_torch():
    draw = torch.Generator().manual_seed(0)
    table = torch.randn(5, 3, generator=draw, dtype=torch.float64, requires_grad=True)
    index = torch.tensor([4, 0, 0, 2, 4, 1])
    starts = torch.tensor([0, 2, 2])  # the second history is empty
    owners = torch.tensor([0, 0, 2, 2, 2, 2])
    weights = torch.rand(2, 6, generator=draw, dtype=torch.float64)
    ours = decayed_sums(table, index, starts, weights)
    plain = torch.stack(
        [
            torch.zeros(3, 3).double().index_add(0, owners, each[:, None] * table[index])
            for each in weights
        ],
        dim=1,
    )
    torch.testing.assert_close(ours, plain)
    towards = torch.randn(3, 2, 3, generator=draw, dtype=torch.float64)
    (our_gradient,) = torch.autograd.grad((ours * towards).sum(), table)
    (plain_gradient,) = torch.autograd.grad((plain * towards).sum(), table)
    torch.testing.assert_close(our_gradient, plain_gradient)


def test_a_vector_carries_the_sums_that_a_hand_counts():
    """Two titles, of the words 7 and of 7, 7 and 9: the chosen words are 9, 7 and nothing."""
    torch.manual_seed(0)
    config = replace(SMALL, width=24, activity_width=15, activity_sums=2, class_counts=3)
    model = MemoryModel(config, num_words=20).double().eval()
    model.class_words[:3] = torch.tensor([9, 7, 0])
    titles = model.encode_titles(torch.tensor([7, 7, 7, 9]), torch.tensor([1, 3]))
    assert titles[:, -3:].tolist() == [[0, 1, 0], [1, 1, 0]]
    model.activity_features.mean.fill_(0.5)
    model.activity_features.deviation.fill_(2)
    model.preference_features.deviation.fill_(4)
    (user,) = model.encode_histories(
        PackedHistories(titles[[0, 1]], torch.tensor([2]), instants(28, 7), AS_OF)
    ).tolist()
    week, month = (2**-4 + 2**-1, 2**-1 + 2**-0.25)
    sums = [week, month, week, month, 7, 28]  # views, sessions, ages
    expected = [(math.log1p(each) - 0.5) / 2 for each in sums]
    assert user[3:15] == pytest.approx(2 * expected)
    counts = [2**-0.25, month, 0]  # of the longest half-life
    assert user[-3:] == pytest.approx([math.log1p(8 * each) / 4 for each in counts])
    assert user[:3] != pytest.approx([0, 0, 0])  # what is learned stands before the sums


def test_sums_that_are_carried_leave_the_weights_of_a_model_without_them_as_they_were():
    torch.manual_seed(0)
    without = MemoryModel(SMALL, num_words=20)
    torch.manual_seed(0)
    plain = MemoryModel(replace(SMALL, activity_sums=0, class_counts=0), num_words=20)
    assert all(map(torch.equal, without.state_dict().values(), plain.state_dict().values()))
    assert "activity_sums" not in SMALL.to_json()
    assert replace(SMALL, class_counts=2).to_json()["class_counts"] == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activity_sums": 1}, "makes 6 numbers of 2 half-lives; they must be fewer"),
        ({"class_counts": 7}, "class_counts is 7; there are num_classes 6"),
        ({"class_counts": 6, "width": 10}, "it must be below width 10 without activity_width 5"),
        ({"class_counts": -1}, "class_counts is -1; it must not be below 0"),
        ({"form": "window", "class_counts": 2}, "is a setting of the form memory"),
    ],
)
def test_sums_for_which_there_is_no_room_are_refused(changes, message):
    with pytest.raises(BadInput, match=message):
        replace(SMALL, **changes)


def test_a_known_title_has_a_vector_of_its_own_and_a_new_one_has_its_words_alone():
    torch.manual_seed(0)
    plain = MemoryModel(SMALL, num_words=20).eval()
    torch.manual_seed(0)
    model = MemoryModel(replace(SMALL, own_titles=True), num_words=20, num_titles=3).eval()
    words, lengths = torch.tensor([2, 3, 3, 2, 4]), torch.tensor([2, 2, 1])
    model.known.know(words, lengths)
    before = model.encode_titles(words, lengths)
    assert torch.equal(before, plain.encode_titles(words, lengths))  # they are zero at first
    with torch.no_grad():
        model.known.vectors.copy_(torch.tensor([[1.0], [10.0], [100.0]]) * torch.arange(1, 5))
    own = model.known(words, lengths)
    assert sorted(own[:, 0].tolist()) == [1, 10, 100]  # another order of words is another title
    new = (torch.tensor([4, 2, 3, 3, 2]), torch.tensor([2, 1, 2]))  # only the last one is known
    assert torch.equal(model.known(*new), torch.stack([0 * own[1], 0 * own[1], own[1]]))
    now, words_alone = model.encode_titles(*new), plain.encode_titles(*new)
    assert torch.equal(now[:2], words_alone[:2])
    assert not torch.allclose(now[2], words_alone[2])


def test_keys_of_titles_are_apart():
    pairs = torch.cartesian_prod(torch.arange(150), torch.arange(150))  # (22500, 2)
    lengths = torch.full((len(pairs),), 2)
    assert len(title_keys(pairs.flatten(), lengths).unique()) == len(pairs)


def test_a_view_counts_half_at_its_half_life():
    weights = decay_weights(torch.tensor([0.0, 7.0, 28.0]), (7, 28))
    torch.testing.assert_close(weights, torch.tensor([[1, 0.5, 2**-4], [1, 2**-0.25, 0.5]]))


def test_a_user_alone_is_the_user_in_company(model):
    titles = model.encode_titles(torch.tensor([2, 3, 4, 5]), torch.tensor([1, 2, 1]))
    rows, lengths = torch.tensor([0, 1, 2, 2]), torch.tensor([3, 1])
    times = instants(30, 20, 10, 5)
    both = model.encode_histories(PackedHistories(titles[rows], lengths, times, AS_OF.repeat(2)))
    alone = model.encode_histories(PackedHistories(titles[rows[3:]], lengths[1:], times[3:], AS_OF))
    torch.testing.assert_close(both[1:], alone, rtol=0, atol=1e-12)


def test_a_user_without_views_has_a_finite_vector(model):
    titles = model.encode_titles(torch.tensor([2]), torch.tensor([1]))
    users = model.encode_histories(
        PackedHistories(titles, torch.tensor([0, 1]), instants(1), AS_OF.repeat(2))
    )
    assert users.isfinite().all()


def test_a_view_at_the_instant_itself_is_refused(model):
    titles = model.encode_titles(torch.tensor([2]), torch.tensor([1]))
    with pytest.raises(ValueError, match="not before the instant"):
        model.encode_histories(PackedHistories(titles, torch.tensor([1]), instants(0), AS_OF))
    with pytest.raises(ValueError, match="the times of views"):
        model.encode_histories(PackedHistories(titles, torch.tensor([1])))


def test_a_title_of_new_words_keeps_what_is_known_of_it(model):
    """Words that came after the training are the unknown word; the known ones still count."""
    unknown = 1
    words = torch.tensor([2, 3, 4, 2, 3, unknown, unknown, 7, 8, 9])
    titles = model.encode_titles(words, torch.tensor([3, 3, 1, 3]))
    assert titles.isfinite().all()
    users = model.encode_histories(
        PackedHistories(titles, torch.tensor([1, 1, 1, 1]), instants(1, 1, 1, 1), AS_OF.repeat(4))
    )
    known, partly, _, other = F.normalize(users - users.mean(0), dim=1)
    assert users.isfinite().all()
    assert known @ partly > known @ other


def test_user_times_candidate_is_the_logit_of_the_title(model):
    titles = model.encode_titles(torch.tensor([2, 3]), torch.tensor([1, 1]))
    users = torch.randn(3, 12).double()
    logits = model.heads.title_query(users) @ titles[:, :4].T
    torch.testing.assert_close(users @ model.title_candidates(titles).T, logits)


def test_a_hidden_view_is_predicted_by_the_others(model):
    titles = model.encode_titles(torch.tensor([2, 3, 4]), torch.tensor([1, 1, 1]))
    lengths, times = torch.tensor([3]), instants(3, 2, 1)
    states = model.hidden_states(
        PackedHistories(titles, lengths, times, AS_OF), torch.tensor([False, True, True])
    )
    rest = model.encode_histories(PackedHistories(titles[:1], torch.tensor([1]), times[:1], AS_OF))
    torch.testing.assert_close(states[:, 5:], rest[:, 5:].repeat(2, 1))
    assert not states[:, :5].any()  # how much a user views tells no title from another


def test_the_weights_of_views_sum_to_one_and_favor_the_newest(model):
    titles = model.encode_titles(torch.tensor([2]), torch.tensor([1]))[[0, 0, 0]]
    weights = model.view_weights(
        PackedHistories(titles, torch.tensor([2, 1]), instants(7, 1, 3), AS_OF.repeat(2))
    )
    first, second, only = weights.tolist()
    assert first + second == pytest.approx(1)
    assert only == pytest.approx(1)
    assert first < second


def test_forecasts_are_chances_counts_and_days(model):
    forecasts = model.forecasts(10 * torch.randn(50, 12).double())
    assert forecasts.shape == (50, len(FORECAST_NAMES))
    assert ((forecasts[:, :2] >= 0) & (forecasts[:, :2] <= 1)).all()
    assert (forecasts[:, 0] >= forecasts[:, 1]).all()  # nobody comes within 28 days yet not 7
    assert (forecasts[:, 2:] >= 0).all()
    assert (forecasts[:, 4] <= 28).all()


def test_one_function_makes_both_forms():
    assert isinstance(build_user_model(SMALL, 20), MemoryModel)
    assert build_user_model(ModelConfig(width=16, heads=2), 20).max_views == 100
