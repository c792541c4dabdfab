"""Encoders, contexts and aggregators, on known values and against the plain padded reference."""

import itertools
from typing import get_args

import numpy as np
import pytest
import torch
from reference_model import PlainUserModel, plain_names

from model.config import (
    BASE_MODELS,
    AggregatorName,
    BehaviorEncoderName,
    ContextEncoderName,
    ModelConfig,
)
from model.layers.aggregators import AttentivePooling, AveragePooling, LastPooling, MaxPooling
from model.layers.attention import fill_bins
from model.layers.context import recurrence_order
from model.layers.dropout import Dropout
from model.layers.encoders import reads_words
from model.layers.packed_sequences import Layout, rows_at, sum_of_rows
from model.layers.user_model import UserModel

TINY = {"width": 8, "word_width": 6, "query_width": 5, "heads": 2, "dropout": 0.0, "max_views": 12}
CPU = torch.device("cpu")
# The aggregator `mask` and the encoder `given` have their own tests (tests/test_bert4rec.py,
# tests/test_ready_vectors.py).
BEHAVIORS = [name for name in get_args(BehaviorEncoderName) if name != "given"]
AGGREGATORS = [name for name in get_args(AggregatorName) if name != "mask"]
CHOICES = list(itertools.product(BEHAVIORS, get_args(ContextEncoderName), AGGREGATORS))


@pytest.fixture(autouse=True)
def _one_thread():
    """Tensors this small are slower on two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def tiny_model(seed=0, **choices):
    torch.manual_seed(seed)
    model = UserModel(ModelConfig(**TINY | choices), num_words=30, num_titles=20).double()
    with torch.no_grad():  # so that no attention is nearly even
        for parameter in model.parameters():
            parameter.mul_(3)
    return model


def layout(*lengths):
    return Layout(torch.tensor(lengths), CPU)


TITLES = [[2, 3, 4], [5], [2, 3, 4, 5, 6, 7, 8], [9, 2], [29] * 30]  # word ids
USERS = [[0, 1], [2], [4, 3, 2, 1, 0, 0, 1, 2, 3, 4, 0, 2]]  # titles


def packed_titles(model):
    if not model.reads_words:
        return torch.arange(1, 6), torch.ones(5, dtype=torch.int64)
    return torch.tensor([word for title in TITLES for word in title]), torch.tensor(
        [len(each) for each in TITLES]
    )


def encode_packed(model):
    titles = model.encode_titles(*packed_titles(model))
    behaviors = titles[torch.tensor([title for user in USERS for title in user])]
    return model.encode_users(behaviors, torch.tensor([len(each) for each in USERS]))


def encode_padded(plain):
    words = torch.zeros(6, 30, dtype=torch.int64)  # the last is no title
    for row, own in enumerate(TITLES):
        own = [row + 1] if not reads_words(plain.config) else own
        words[row, : len(own)] = torch.tensor(own)
    index = torch.full((3, 12), 5)
    for row, own in enumerate(USERS):
        index[row, : len(own)] = torch.tensor(own)
    states, users = plain.encode_users(plain.encode_titles(words)[index], index < 5)
    return states[index < 5], users


@pytest.mark.parametrize(("behavior", "context", "aggregator"), CHOICES)
def test_packed_users_are_the_padded_reference(behavior, context, aggregator):
    model = tiny_model(behavior_encoder=behavior, context_encoder=context, aggregator=aggregator)
    plain = PlainUserModel(model.config, 30, 20).double().copy(model)
    ours, theirs = encode_packed(model), encode_padded(plain)
    for mine, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, their, rtol=0, atol=1e-12)
    weights = [torch.cos(torch.arange(each.numel())).view(each.shape) for each in ours]
    sum((each * weight).sum() for each, weight in zip(ours, weights, strict=True)).backward()
    sum((each * weight).sum() for each, weight in zip(theirs, weights, strict=True)).backward()
    mine = plain_names(model.config, {name: p.grad for name, p in model.named_parameters()})
    their = {name: p.grad for name, p in plain.named_parameters() if p.grad is not None}
    assert mine.keys() == their.keys()
    for name, gradient in mine.items():
        torch.testing.assert_close(gradient, their[name], rtol=0, atol=1e-10, msg=name)


@pytest.mark.parametrize(("behavior", "context", "aggregator"), CHOICES[::3])
def test_a_user_alone_is_the_user_in_company(behavior, context, aggregator):
    model = tiny_model(behavior_encoder=behavior, context_encoder=context, aggregator=aggregator)
    titles = model.encode_titles(*packed_titles(model))
    _, company = encode_packed(model)
    for row, own in enumerate(USERS):
        _, alone = model.encode_users(titles[own], torch.tensor([len(own)]))
        torch.testing.assert_close(alone[0], company[row], rtol=0, atol=1e-12)


def test_a_title_alone_is_the_title_in_company():
    for behavior in ("cnn", "transformer"):
        model = tiny_model(behavior_encoder=behavior)
        company = model.encode_titles(*packed_titles(model))
        for row, own in enumerate(TITLES):
            alone = model.encode_titles(torch.tensor(own), torch.tensor([len(own)]))
            torch.testing.assert_close(alone[0], company[row], rtol=0, atol=1e-12)


def test_position_tells_two_orders_apart_and_a_title_carries_none():
    model = tiny_model(aggregator="average")
    titles = model.encode_titles(*packed_titles(model))
    _, users = model.encode_users(titles[[0, 1, 1, 0]], torch.tensor([2, 2]))
    assert not torch.allclose(users[0], users[1])
    with torch.no_grad():
        model.position.zero_()
    _, users = model.encode_users(titles[[0, 1, 1, 0]], torch.tensor([2, 2]))
    torch.testing.assert_close(users[0], users[1])


def test_the_aggregators_on_known_values():
    states = torch.tensor([[1.0, 8], [3, 2], [5, 5]])
    rows = layout(2, 1)
    assert MaxPooling()(states, rows).tolist() == [[3, 8], [5, 5]]
    assert AveragePooling()(states, rows).tolist() == [[2, 5], [5, 5]]
    assert LastPooling()(states, rows).tolist() == [[3, 2], [5, 5]]
    pooling = AttentivePooling(ModelConfig(width=2, query_width=1, heads=1))
    with torch.no_grad():
        pooling.key.weight.copy_(torch.tensor([[100.0, 0]]))  # tanh is 1 for both
        pooling.key.bias.zero_()
    torch.testing.assert_close(pooling(states, rows), torch.tensor([[2.0, 5], [5, 5]]))
    with torch.no_grad():
        pooling.key.weight.copy_(torch.tensor([[100.0, -50]]))  # tanh is -1, then 1
        pooling.query.weight.copy_(torch.tensor([[50.0]]))
    torch.testing.assert_close(pooling(states, rows), torch.tensor([[3.0, 2], [5, 5]]))


def test_the_base_models_by_name():
    parts = {
        name: (each.behavior_encoder, each.context_encoder, each.aggregator)
        for name, each in BASE_MODELS.items()
    }
    assert parts == {
        "naml": ("cnn", "cnn", "attentive"),
        "lstur": ("cnn", "gru", "last"),
        "nrms": ("transformer", "self_attention", "attentive"),
        "gru4rec": ("id", "gru", "last"),
        "nativectr": ("cnn", "lstm", "attentive"),
        "bert4rec": ("id", "transformer", "mask"),
        "gru4rec_text": ("transformer", "gru", "last"),
        "bert4rec_text": ("transformer", "transformer", "mask"),
    }
    for config in BASE_MODELS.values():
        assert (config.width, config.query_width, config.window) == (256, 200, 3)
        assert (config.dropout, config.max_words, config.max_views) == (0.2, 30, 100)


def test_a_title_is_a_multiset_of_words_until_words_have_positions():
    """Permuted words gave the same vector to 3e-8 in single precision."""
    words, lengths = torch.tensor([2, 3, 4, 4, 3, 2]), torch.tensor([3, 3])
    without, with_positions = (
        tiny_model(behavior_encoder="transformer", word_positions=each).encode_titles(
            words, lengths
        )
        for each in (False, True)
    )
    torch.testing.assert_close(without[0], without[1])
    assert (with_positions[0] - with_positions[1]).abs().max() > 0.1


def test_word_positions_are_added_before_the_projection_of_the_plain_reference():
    model = tiny_model(behavior_encoder="transformer", word_positions=True, max_words=30)
    plain = PlainUserModel(model.config, 30, 20).double().copy(model)
    for mine, their in zip(encode_packed(model), encode_padded(plain), strict=True):
        torch.testing.assert_close(mine, their, rtol=0, atol=1e-12)


def test_a_state_of_bert4rec_sees_both_sides_and_is_normalized():
    """Bidirectional, residual and layer norm: at its start each state has mean 0 and length 1."""
    torch.manual_seed(0)
    config = ModelConfig(**TINY | {"context_encoder": "transformer", "context_layers": 1})
    model = UserModel(config, num_words=30).double()
    behaviors = torch.randn(3, 8).double()
    states, _ = model.encode_users(behaviors, torch.tensor([3]))
    torch.testing.assert_close(states.mean(1), torch.zeros(3).double())
    torch.testing.assert_close(states.norm(dim=1), torch.ones(3).double(), atol=1e-3, rtol=0)
    behaviors[2] += 1  # the newest behavior changes the state of the oldest
    changed, _ = model.encode_users(behaviors, torch.tensor([3]))
    assert (changed[0] - states[0]).abs().max() > 1e-3


def test_context_layers_is_the_number_of_blocks():
    for layers in (1, 3):
        model = tiny_model(context_encoder="transformer", context_layers=layers)
        assert len(model.context.blocks) == layers


def test_a_title_the_table_does_not_have_is_its_row_0():
    model = tiny_model(behavior_encoder="id")
    vector = model.encode_titles(torch.tensor([0]), torch.tensor([1]))
    assert torch.equal(vector[0], model.behavior.titles.weight[0])


def test_empty_and_too_long_sequences_are_refused():
    model = tiny_model()
    with pytest.raises(ValueError, match="without rows"):
        model.encode_users(torch.zeros(1, 8).double(), torch.tensor([1, 0]))
    with pytest.raises(ValueError, match="13 behaviors, and max_views is 12"):
        model.encode_users(torch.zeros(13, 8).double(), torch.tensor([13]))


def test_dropout_is_drawn_for_each_occurrence_of_a_behavior():
    torch.manual_seed(0)
    model = UserModel(ModelConfig(aggregator="last", dropout=0.5, width=64, heads=2), 30)
    with torch.no_grad():
        model.position.zero_()
    seen = []
    model.context.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model.encode_users(torch.ones(3, 64), torch.tensor([2, 1]))
    assert not torch.equal(seen[0][0], seen[0][1])
    assert not torch.equal(seen[0][0], seen[0][2])
    model.eval()
    model.encode_users(torch.ones(3, 64), torch.tensor([2, 1]))
    assert torch.equal(seen[1], torch.ones(3, 64))


def test_states_are_dropped_before_they_are_aggregated():
    torch.manual_seed(0)
    model = UserModel(ModelConfig(dropout=0.5, width=64, heads=2, aggregator="average"), 30)
    states, users = model.encode_users(torch.randn(50, 64), torch.tensor([50]))
    assert (states == 0).float().mean().item() == pytest.approx(0.5, abs=0.05)
    torch.testing.assert_close(users[0], states.mean(0))
    model.eval()
    states, _ = model.encode_users(torch.randn(50, 64), torch.tensor([50]))
    assert not (states == 0).any()


def test_dropout_zeroes_its_share_and_scales_the_others():
    torch.manual_seed(0)
    dropped = Dropout(0.2)(torch.ones(100_001))
    assert set(dropped.tolist()) == {0.0, 1.25}
    assert (dropped == 0).float().mean().item() == pytest.approx(0.2, abs=0.01)


def test_sums_of_rows_and_their_gradient():
    table = torch.tensor([[1.0], [10.0], [100.0]], requires_grad=True)
    summed = sum_of_rows(table, torch.tensor([[0, 2], [2, 2]]))
    assert summed.tolist() == [[101.0], [200.0]]
    summed.backward(torch.tensor([[1.0], [1000.0]]))
    assert table.grad.tolist() == [[1.0], [0.0], [2001.0]]
    assert rows_at(table, torch.tensor([1, 1])).tolist() == [[10.0], [10.0]]


def test_the_order_of_a_recurrence_is_all_first_behaviors_then_all_second_ones():
    order, running = recurrence_order(layout(1, 3, 2).lengths)  # rows 0 | 1 2 3 | 4 5
    assert order.tolist() == [1, 4, 0, 2, 5, 3]
    assert running.tolist() == [3, 2, 1]


def test_short_sequences_share_a_bin_and_none_overlap():
    bins, starts = fill_bins(np.array([10, 3, 7, 3, 4]), 10)
    assert bins.tolist() == [0, 2, 1, 1, 2]
    assert starts.tolist() == [0, 4, 0, 7, 0]
    lengths = np.random.default_rng(0).integers(1, 31, 500)
    bins, starts = fill_bins(lengths, 30)
    slots = np.concatenate(
        [b * 30 + s + np.arange(n) for b, s, n in zip(bins, starts, lengths, strict=True)]
    )
    assert len(set(slots.tolist())) == lengths.sum()
    assert (starts + lengths).max() <= 30
    assert lengths.sum() > 0.93 * 30 * (bins.max() + 1)
