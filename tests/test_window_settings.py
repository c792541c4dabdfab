"""Several queries, times and several windows of the window form, on values by hand."""

import math
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from tiny_corpus import random_corpus

from contracts.errors import BadInput
from model.config import PRESETS, ModelConfig, PretrainConfig
from model.data.batches import BatchOrder
from model.data.ragged import Ragged
from model.inference.vectors import user_vectors
from model.layers.aggregators import SeveralQueries
from model.layers.packed_histories import PackedHistories
from model.layers.packed_sequences import Layout
from model.layers.time_features import hours_and_weekdays, repeats_before, time_amounts
from model.layers.user_model import UserModel, split_into_windows
from model.objective.objective import Objective, training_as_of

TINY = {"width": 8, "word_width": 6, "query_width": 5, "heads": 2, "dropout": 0.0, "max_views": 4}
CPU = torch.device("cpu")
DAY = 24 * 3600 * 1_000_000


def model_of(**choices):
    torch.manual_seed(0)
    return UserModel(ModelConfig(**TINY | choices), num_words=40).double()


def microseconds(*when):
    return int(datetime(*when, tzinfo=UTC).timestamp()) * 1_000_000


def two_queries(join):
    """Query 0 sees number 0 and query 1 number 3 of a state; a large key decides for one state."""
    config = ModelConfig(width=4, heads=1, query_width=2, pooling_queries=2, pooling_join=join)
    pooling = SeveralQueries(config)
    with torch.no_grad():
        pooling.key.weight.copy_(torch.tensor([[100.0, 0, 0, 0], [0, 0, 0, 100]]))
        pooling.key.bias.zero_()
        pooling.query.weight.copy_(torch.tensor([[50.0, 0], [0, 50]]))
    return pooling


STATES = torch.tensor([[1.0, 2, 3, -4], [-5, 6, 7, 8], [9, 10, 11, 12]])
ROWS = Layout(torch.tensor([2, 1]), CPU)


def test_each_query_pools_its_share_of_the_width():
    pooling = two_queries("concatenated")
    expected = torch.tensor([[1.0, 2, 7, 8], [9, 10, 11, 12]])
    torch.testing.assert_close(pooling(STATES, ROWS), expected)
    torch.testing.assert_close(pooling.weights(STATES, ROWS), torch.tensor([0.5, 0.5, 1]))


def test_each_query_pools_the_whole_width_and_a_map_brings_them_back():
    pooling = two_queries("projected")
    both = torch.tensor([[1.0, 2, 3, -4, -5, 6, 7, 8], [9, 10, 11, 12, 9, 10, 11, 12]])
    torch.testing.assert_close(pooling(STATES, ROWS), pooling.join(both))
    torch.testing.assert_close(pooling.weights(STATES, ROWS), torch.tensor([0.5, 0.5, 1]))


def test_queries_that_cannot_be_are_refused():
    with pytest.raises(BadInput, match="width 8 does not divide into 3 queries"):
        ModelConfig(**TINY, pooling_queries=3)
    with pytest.raises(BadInput, match="the aggregator last has no queries"):
        ModelConfig(**TINY, pooling_queries=2, aggregator="last")
    with pytest.raises(BadInput, match="pooling_queries is 0; it must be 1 or more"):
        ModelConfig(**TINY, pooling_queries=0)
    assert ModelConfig(**TINY, pooling_queries=3, pooling_join="projected").pooling_queries == 3


THREE = [
    microseconds(2024, 2, 29, 23, 30),  # a Thursday
    microseconds(2024, 3, 1, 0, 0),  # half an hour later, a Friday
    microseconds(2024, 3, 4, 13, 5),  # a Monday
]


def test_the_times_of_three_views_by_hand():
    layout = Layout(torch.tensor([3]), CPU)
    times, as_of = torch.tensor(THREE), torch.tensor([microseconds(2024, 3, 5)])
    amounts = time_amounts(times, as_of, torch.tensor([0, 0, 1]), layout)
    gap, until = 3 * 1440 + 785, 655  # minutes from Friday 00:00 to Monday 13:05, and to Tuesday
    expected = [
        [0, math.log1p(until + gap + 30), 0],
        [math.log1p(30), math.log1p(until + gap), 0],
        [math.log1p(gap), math.log1p(until), math.log(2)],
    ]
    torch.testing.assert_close(amounts, torch.tensor(expected).double())
    hours, weekdays = hours_and_weekdays(times)
    assert (hours.tolist(), weekdays.tolist()) == ([23, 0, 13], [3, 4, 0])
    before_1970 = torch.tensor([-1, microseconds(1969, 12, 29)])  # a Wednesday's end, a Monday
    assert [each.tolist() for each in hours_and_weekdays(before_1970)] == [[23, 0], [2, 0]]


def test_a_gap_never_reaches_into_the_history_of_somebody_else():
    layout = Layout(torch.tensor([1, 2]), CPU)
    times = torch.tensor([9 * DAY, DAY, DAY + 60_000_000])
    amounts = time_amounts(times, torch.tensor([10 * DAY, DAY + 60_000_000]), times * 0, layout)
    torch.testing.assert_close(amounts[:, 0], torch.tensor([0, 0, math.log(2)]).double())
    torch.testing.assert_close(amounts[:, 1], torch.tensor([1440, 1, 0]).double().log1p())


def test_a_title_that_came_before_is_counted_within_its_history_and_a_hidden_one_is_not():
    torch.manual_seed(0)
    table, mask = torch.randn(5, 8), torch.randn(8)
    titles = [0, 1, 0, 0, 1, 0, 0]
    behaviors = table[titles].clone()
    behaviors[[2, 6]] = mask
    repeats = repeats_before(behaviors, mask, Layout(torch.tensor([4, 3]), CPU))
    assert repeats.tolist() == [0, 0, 0, 1, 0, 0, 0]
    again = repeats_before(table[titles], mask, Layout(torch.tensor([7]), CPU))
    assert again.tolist() == [0, 0, 1, 2, 1, 3, 4]


def test_each_part_of_the_times_is_added_to_its_behavior():
    model = model_of(time_features=True)
    behaviors, lengths = torch.randn(3, 8).double(), torch.tensor([3])
    when = torch.tensor(THREE), torch.tensor([microseconds(2024, 3, 5)])
    plain = model_of().encode_users(behaviors, lengths)
    for mine, their in zip(model.encode_users(behaviors, lengths, *when), plain, strict=True):
        assert torch.equal(mine, their)  # the weights of times are zero at first
    with torch.no_grad():
        for parameter in model.times.parameters():
            parameter.normal_()
    layout = Layout(lengths, CPU)
    features = model.times
    added = (
        features.amounts(time_amounts(*when, torch.zeros(3).long(), layout))
        + features.hours.weight[[23, 0, 13]]
        + features.weekdays.weight[[3, 4, 0]]
    )
    expected = model_of().encode_users(behaviors + added, lengths)
    for mine, their in zip(model.encode_users(behaviors, lengths, *when), expected, strict=True):
        torch.testing.assert_close(mine, their)


def test_a_model_that_reads_times_refuses_histories_without_them():
    model = model_of(time_features=True)
    with pytest.raises(ValueError, match="reads the time of each view"):
        user_vectors(model, torch.randn(3, 8).double(), Ragged.of([[0, 1]]))
    with pytest.raises(ValueError, match="reads the time of each view"):
        model.encode_users(torch.randn(3, 8).double(), torch.tensor([3]))
    with pytest.raises(BadInput, match="the task cp reorders behaviors"):
        PretrainConfig(model=ModelConfig(time_features=True), tasks=("cp",))


@pytest.mark.parametrize("tasks", [("mbp", "bsm"), ("mbp", "nbp", "bsm")])
def test_a_step_trains_every_weight_of_the_times_and_shares_add_up(tasks):
    config = PretrainConfig(
        model=ModelConfig(**TINY | {"max_views": 24}, max_words=8, time_features=True),
        tasks=tasks,
        masked_sequences="both",
        behavior_pool=20,
        sequence_pool=8,
        batch_size=6,
    )
    corpus = random_corpus(longest=24)
    corpus.times[:] *= 7_200_000_000  # from units to two hours each

    def gradients(world):
        torch.manual_seed(0)
        model = UserModel(config.model, num_words=40).double()
        for rank in range(world):
            order = BatchOrder(np.arange(len(corpus.pairs)), 6, 0, rank, world)
            objective = Objective(model, corpus, config, order)
            objective.loss(0, order.share(0)).loss.backward()
        return {name: each.grad for name, each in model.times.named_parameters()}

    whole, shared = gradients(1), gradients(2)
    for name, gradient in whole.items():
        assert gradient.abs().sum() > 0, name
        torch.testing.assert_close(gradient, shared[name], rtol=0, atol=1e-9)


def test_a_step_encodes_sequences_up_to_28_days_after_their_last_view():
    times = Ragged.of([[0, row] for row in range(1000)])
    as_of = training_as_of(times, seed=1, step=2)
    later = (as_of - np.arange(1000)) / DAY
    assert later.min() > 0
    assert later.max() < 28
    assert np.median(later) == pytest.approx(3.5, abs=1)
    again = training_as_of(times.take([7]), seed=1, step=2)
    assert again[0] == as_of[7]
    assert training_as_of(times.take([7]), seed=1, step=3)[0] != as_of[7]


def test_the_memory_form_refuses_settings_of_the_window_form():
    memory = PRESETS["memory"]
    with pytest.raises(BadInput, match="time_features is a setting of the form window, and form"):
        replace(memory.model, time_features=True)
    with pytest.raises(BadInput, match="matching_score is a setting of the form window"):
        replace(memory, matching_score="cosine")


def test_windows_are_cut_from_the_newest_view_back():
    windows, counts = split_into_windows(torch.tensor([9, 4, 3, 8]), 4)
    assert windows.tolist() == [1, 4, 4, 4, 3, 4, 4]
    assert counts.tolist() == [3, 1, 1, 2]


def test_a_vector_of_all_windows_is_the_mean_of_their_unit_vectors():
    rows = torch.randn(13, 8).double()
    lengths = torch.tensor([9, 4])
    one, model = model_of(), model_of(windows=0)
    units = [
        torch.nn.functional.normalize(one.encode_users(part, torch.tensor([len(part)]))[1], dim=-1)
        for part in torch.split(rows, [1, 4, 4, 4])
    ]
    expected = torch.cat([sum(units[:3]) / 3, units[3]])
    torch.testing.assert_close(model.encode_histories(PackedHistories(rows, lengths)), expected)
    weights = model.view_weights(PackedHistories(rows, lengths))
    assert weights[:9].sum().item() == pytest.approx(1)
    assert weights[0].item() == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="9 behaviors, and max_views is 4"):
        one.encode_histories(PackedHistories(rows, lengths))
    assert (one.max_views, model.max_views, model_of(windows=3).max_views) == (4, None, 12)


def test_the_hidden_views_of_a_long_history_are_predicted_within_their_windows():
    rows, hidden = torch.randn(9, 8).double(), torch.arange(9) == 5
    found = model_of(windows=0).hidden_states(PackedHistories(rows, torch.tensor([9])), hidden)
    one = model_of()
    masked = rows.clone()
    masked[5] = one.mask.detach()
    expected = one.encode_users(masked[5:], torch.tensor([4]))[0][:1]
    torch.testing.assert_close(found, expected)


def test_the_one_embedding_path_gives_each_window_the_instant_of_its_history():
    model = model_of(windows=2, time_features=True)
    with torch.no_grad():
        for parameter in model.times.parameters():
            parameter.normal_()
    titles, places = torch.randn(3, 8).double(), [0, 1, 2, 1, 0, 0, 1]
    times = np.arange(14) * 3 * DAY
    as_of = np.array([100 * DAY, 101 * DAY])
    both = Ragged.of([places, places])
    found = user_vectors(model, titles, both, times, as_of)
    lone = user_vectors(model, titles, Ragged.of([places]), times[7:], as_of[1:])
    torch.testing.assert_close(found[1], lone[0])
    moved = user_vectors(model, titles, both, times, as_of + DAY)
    assert not torch.allclose(found, moved)
