"""The loss of a step, against the plain padded reference and on known values."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from reference_model import (
    PlainEncoder,
    PlainUserModel,
    masked_losses,
    matching_losses,
    next_losses,
    plain_names,
    view_cross_entropies,
)
from tiny_corpus import corpus_of, random_corpus

from contracts.errors import BadInput
from model.config import BASE_MODELS, PRESETS, ModelConfig, PretrainConfig
from model.data.batches import BatchOrder
from model.data.encoder_input import UNKNOWN_TITLE
from model.data.ragged import Ragged
from model.data.vocabulary import UNKNOWN_ID
from model.layers.user_model import UserModel
from model.objective.objective import Objective, drop_words
from model.objective.tasks.task import HIDDEN_TITLE, task_named

SMALL = {
    "width": 8,
    "word_width": 6,
    "query_width": 5,
    "heads": 2,
    "dropout": 0.0,
    "max_words": 8,
    "max_views": 24,
}
CONFIG = PretrainConfig(
    model=ModelConfig(**SMALL),
    behavior_pool=20,
    sequence_pool=8,
    refresh_interval=4,
    batch_size=6,
)
CORPUS = random_corpus(longest=24)


@pytest.fixture(autouse=True)
def _one_thread():
    """Tensors this small are slower on two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def objective_of(config=CONFIG, corpus=CORPUS, rank=0, world=1, dtype=torch.float64):
    torch.manual_seed(0)
    model = UserModel(config.model, num_words=40, num_titles=len(corpus.title_ids)).to(dtype)
    with torch.no_grad():  # so that no softmax is nearly even
        for parameter in model.parameters():
            parameter.mul_(2)
    order = BatchOrder(np.arange(len(corpus.pairs)), config.batch_size, config.seed, rank, world)
    events = []
    objective = Objective(model, corpus, config, order, events.append)
    objective.events = events
    return objective


def gradients(model):
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def plain_loss(objective, plain, pairs):
    """Equation 3 by the reference, for the negatives that the trace tells of."""
    corpus, config = objective.corpus, objective.config
    encoder = PlainEncoder(plain, corpus)
    early, late = ([corpus.sequences[row] for row in corpus.pairs[pairs, side]] for side in (0, 1))
    traced = {event["event"]: event for event in objective.events}
    plans = {
        task: task_named(task).plan(objective._batch(0, pairs), config) for task in config.tasks
    }
    losses, done = [], 0
    for task, plan in plans.items():
        if task in ("mbp", "nbp"):
            event, upto = traced["behaviors"], done + len(plan.targets)
            chosen = np.array(event["chosen"][done:upto])
            wrong, done = np.where(chosen < 0, -1, np.array(event["pool"])[chosen]), upto
        if task == "mbp":
            masked, shown = plan.sequences["masked"], early
            if config.masked_sequences == "both":
                shown = [*early, *late]
            hidden = [np.flatnonzero(masked[i] == HIDDEN_TITLE).tolist() for i in range(len(shown))]
            from_user = config.masked_from == "user"
            losses.append(masked_losses(encoder, shown, hidden, wrong, from_user).mean())
        elif task == "nbp":
            coming = [titles[: config.next_behaviors].tolist() for titles in late]
            losses.append(next_losses(encoder, early, coming, wrong).mean())
        elif task == "bsm":
            crops = traced["sequence pool"]["crops"]
            others = [
                [
                    None if c < 0 else corpus.sequences[crops[c][0]][crops[c][1] :][: crops[c][2]]
                    for c in row
                ]
                for row in traced["sequences"]["chosen"]
            ]
            losses.append(matching_losses(encoder, early, late, others).mean())
        else:
            views = plan.sequences["views"]
            shown = [np.where(views[i] == HIDDEN_TITLE, 0, views[i]) for i in range(len(views))]
            places = [np.flatnonzero(views[i] == HIDDEN_TITLE).tolist() for i in range(len(views))]
            losses.append(view_cross_entropies(encoder.sequences(shown, places)[1]).mean())
    return sum(losses)


TASKS = {
    "userbert": {"tasks": ("mbp", "bsm")},
    "ptum": {"tasks": ("mbp", "nbp"), "masked_from": "user", "negatives": "random"},
    "all but cp": {"tasks": ("bsm", "nbp", "mbp")},
    "cp": {"tasks": ("cp",)},
    "hardest": {"tasks": ("mbp", "bsm"), "negatives": "hardest"},
    "both masked": {"tasks": ("mbp", "bsm"), "masked_sequences": "both"},
}


# The paper's six, and what they leave out: the other aggregators.
MODELS = BASE_MODELS | {
    "max": replace(BASE_MODELS["lstur"], aggregator="max"),
    "average": replace(BASE_MODELS["nrms"], aggregator="average"),
}


@pytest.mark.parametrize(("base", "tasks"), list(itertools.product(MODELS, TASKS)))
def test_loss_and_gradients_are_the_references(base, tasks):
    config = replace(CONFIG, model=replace(MODELS[base], **SMALL), **TASKS[tasks])
    objective = objective_of(config)
    pairs = objective.batches.share(0)
    plain = PlainUserModel(config.model, 40, 60).double().copy(objective.model)
    result = objective.loss(0, pairs)
    result.loss.backward()
    expected = plain_loss(objective, plain, pairs)
    expected.backward()
    assert result.loss.item() == pytest.approx(expected.item(), rel=0, abs=1e-12)
    mine = plain_names(config.model, gradients(objective.model))
    their = {name: each for name, each in gradients(plain).items() if each is not None}
    for name in mine.keys() | their.keys():
        both = [each.get(name) for each in (mine, their)]
        ours, theirs = (torch.zeros(()) if each is None else each for each in both)
        torch.testing.assert_close(
            ours.expand_as(theirs) if ours.ndim == 0 else ours,
            theirs.expand_as(ours) if theirs.ndim == 0 else theirs,
            rtol=0,
            atol=1e-10,
            msg=name,
            check_dtype=False,
        )


def test_the_loss_is_the_sum_of_its_parts():
    result = objective_of().loss(0, objective_of().batches.share(0))
    assert result.loss.item() == pytest.approx(sum(result.parts.values()), abs=1e-12)
    assert set(result.parts) == {"mbp", "bsm"}


def test_sum_is_mean_times_the_number_of_targets():
    mean, total = (objective_of(replace(CONFIG, reduction=r)) for r in ("mean", "sum"))
    pairs = mean.batches.share(0)
    means, sums = mean.loss(0, pairs), total.loss(0, pairs)
    for task in CONFIG.tasks:
        assert sums.parts[task] == pytest.approx(means.parts[task] * means.counts[task])


def test_with_all_titles_equal_masked_accuracy_is_chance_and_the_loss_log_5():
    config = replace(CONFIG, model=replace(BASE_MODELS["bert4rec"], **SMALL))
    objective = objective_of(config)
    with torch.no_grad():
        weight = objective.model.behavior.titles.weight
        weight.copy_(weight[1].expand_as(weight))
    for step in range(4):
        result = objective.loss(step, objective.batches.share(step))
        assert result.correct["mbp"] == pytest.approx(1 / 5)
        assert result.parts["mbp"] == pytest.approx(np.log(5))


def test_a_word_of_a_chosen_negative_alone_gets_gradient_and_of_an_unchosen_one_none():
    """Each title has one word of its own, so a word's gradient is its title's."""
    titles = [[2 + i] for i in range(30)]
    people = [([(i, i)], [(100 + i, i)]) for i in range(20)]
    corpus = corpus_of(titles, people, behaviors=np.arange(30))
    for tasks, kind in ((("mbp",), "behaviors"), (("bsm",), "sequences")):
        config = replace(CONFIG, tasks=tasks, batch_size=2, K=2, P=2, sequence_pool=16)
        objective = objective_of(config, corpus)
        pairs = objective.batches.share(0)
        objective.loss(0, pairs).loss.backward()
        touched = objective.model.behavior.words.weight.grad.abs().sum(1)
        event = next(e for e in objective.events if e["event"] == kind)
        if kind == "behaviors":
            pool = np.array(event["pool"])
        else:
            rows = [row for row, _, _ in objective.events[0]["crops"]]
            pool = np.concatenate([corpus.sequences[row] for row in rows])
        chosen = {int(pool[c]) for row in event["chosen"] for c in row if c >= 0}
        own = {int(corpus.sequences[row][0]) for row in corpus.pairs[pairs].ravel()}
        assert chosen - own
        assert set(pool.tolist()) - chosen - own
        for title in chosen:
            assert touched[2 + title] > 0
        for title in set(pool.tolist()) - chosen - own:
            assert touched[2 + title] == 0


def test_shares_of_a_step_add_up_to_the_whole():
    """Two processes, each with two micro-batches, against one."""
    whole = objective_of()
    expected = whole.loss(0, whole.batches.share(0))
    expected.loss.backward()
    parts, summed = 0.0, None
    for rank in range(2):
        share = objective_of(rank=rank, world=2)
        for micro in np.array_split(share.batches.share(0), 2):
            result = share.loss(0, micro)
            result.loss.backward()
            parts += result.loss.item()
        mine = torch.cat([each.flatten() for each in gradients(share.model).values()])
        summed = mine if summed is None else summed + mine
    assert parts == pytest.approx(expected.loss.item(), abs=1e-12)
    mine = torch.cat([each.flatten() for each in gradients(whole.model).values()])
    torch.testing.assert_close(summed, mine, rtol=0, atol=1e-12)


@pytest.mark.parametrize("base", ["naml", "nrms", "gru4rec"])
def test_the_same_seed_gives_the_same_bits(base):
    """At widths that torch spreads over its threads, and with dropout."""
    wide = replace(BASE_MODELS[base], width=64, word_width=64, query_width=32, heads=4)
    config = replace(CONFIG, model=wide, batch_size=8)

    torch.set_num_threads(2)

    def two_steps():
        objective = objective_of(config, dtype=torch.float32)
        optimizer = torch.optim.Adam(objective.model.parameters(), 1e-3, fused=True)
        losses = []
        for step in range(2):
            torch.rand(step)  # what others draw in between does not matter
            optimizer.zero_grad()
            result = objective.loss(step, objective.batches.share(step))
            result.loss.backward()
            optimizer.step()
            losses.append(result.loss.item())
        return losses, [parameter.detach().clone() for parameter in objective.model.parameters()]

    (losses, weights), (again, same) = two_steps(), two_steps()
    assert losses == again
    assert all(torch.equal(a, b) for a, b in zip(weights, same, strict=True))


def test_dropout_is_drawn_by_the_seed_the_step_and_the_first_pair():
    drawn = []
    for seed, step, pairs in (
        (0, 0, [0, 1]),
        (0, 0, [0, 1]),
        (1, 0, [0, 1]),
        (0, 1, [0, 1]),
        (0, 0, [1, 0]),
    ):
        objective = objective_of(replace(CONFIG, seed=seed, tasks=("nbp",)))
        objective.model.context.register_forward_pre_hook(
            lambda *_: drawn.append(torch.initial_seed())
        )
        objective.loss(step, np.array(pairs))
    assert len(drawn) == 5
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 4


def test_dropout_differs_by_step_and_leaves_torchs_generator_alone():
    objective = objective_of(replace(CONFIG, model=replace(CONFIG.model, dropout=0.5)))
    pairs = objective.batches.share(0)
    torch.manual_seed(5)
    first = objective.loss(0, pairs).loss.item()
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), drawn)
    assert objective.loss(0, pairs).loss.item() == first
    objective.model.eval()
    assert objective.loss(0, pairs).loss.item() != first


def test_bfloat16_multiplications_stay_close():
    exact = objective_of(dtype=torch.float32)
    expected = exact.loss(0, exact.batches.share(0))
    quick = objective_of(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = quick.loss(0, quick.batches.share(0))
    result.loss.backward()
    assert result.loss.dtype == torch.float32
    assert result.loss.item() == pytest.approx(expected.loss.item(), rel=0.05)


def test_pools_ranked_in_bfloat16_are_ranked_nearly_alike_and_the_step_is_not_touched():
    exact, quick = (
        objective_of(replace(CONFIG, ranking_dtype=dtype), dtype=torch.float32)
        for dtype in ("float32", "bfloat16")
    )
    pairs = exact.batches.share(0)
    losses = [each.loss(0, pairs).loss for each in (exact, quick)]
    assert losses[1].dtype == torch.float32
    assert losses[1].item() == pytest.approx(losses[0].item(), rel=0.2)  # other near ties
    a, b = (each.sequences.chosen.score for each in (exact, quick))
    there = np.isfinite(a)
    assert np.array_equal(there, np.isfinite(b))
    assert 1e-6 < np.abs(a[there] - b[there]).max() < 0.02  # less: it was not in bfloat16 at all


def test_word_dropout_replaces_its_share_and_a_title_is_seen_alike_by_every_share():
    titles = np.arange(1000)
    words = Ragged.of([[5, 6, 7]] * 1000)
    config = replace(CONFIG, word_dropout=0.25)
    dropped = drop_words(words, titles, config, step=3)
    assert (dropped.values == UNKNOWN_ID).mean() == pytest.approx(0.25, abs=0.03)
    assert np.array_equal(
        dropped.values[dropped.values != UNKNOWN_ID], words.values[dropped.values != UNKNOWN_ID]
    )
    share = drop_words(words.take(titles[500:]), titles[500:], config, step=3)
    assert np.array_equal(share.values, dropped.values[1500:])
    later = drop_words(words, titles, config, step=4)
    assert not np.array_equal(later.values, dropped.values)


@pytest.mark.parametrize(("word_dropout", "moves"), [(0.0, False), (0.2, True)])
def test_the_unknown_word_is_trained_by_word_dropout_alone(word_dropout, moves):
    objective = objective_of(replace(CONFIG, word_dropout=word_dropout))
    objective.loss(0, objective.batches.share(0)).loss.backward()
    gradient = objective.model.behavior.words.weight.grad[UNKNOWN_ID]
    assert bool(gradient.abs().max() > 0) is moves


@pytest.mark.parametrize(("word_dropout", "moves"), [(0.0, False), (0.2, True)])
def test_so_is_the_vector_of_titles_that_a_title_table_does_not_have(word_dropout, moves):
    model = replace(CONFIG.model, behavior_encoder="id")
    objective = objective_of(replace(CONFIG, model=model, word_dropout=word_dropout))
    objective.loss(0, objective.batches.share(0)).loss.backward()
    gradient = objective.model.behavior.titles.weight.grad[UNKNOWN_TITLE]
    assert bool(gradient.abs().max() > 0) is moves


def test_every_preset_trains_the_unknown_word():
    assert {name for name, preset in PRESETS.items() if not preset.word_dropout} == set()


def test_a_share_whose_targets_have_no_allowed_sequence_is_computed():
    """All pairs are of one user, so no share has a negative sequence at all."""
    pairs = [([(2 * i, i % 9)], [(2 * i + 1, i % 9)]) for i in range(30)]
    corpus = corpus_of([[2 + i] for i in range(9)], [pairs])
    config = replace(CONFIG, batch_size=4, sequence_pool=4, refresh_interval=1)
    objective = objective_of(config, corpus)
    for pair in objective.batches.share(0):
        result = objective.loss(0, np.array([pair]))
        result.loss.backward()
        assert result.counts["bsm_missing"] == 4
        assert result.parts["bsm"] == 0
        assert result.parts["mbp"] > 0


def test_learning_finds_the_users_apart():
    """Each user reads titles of one word of his own: after some steps B is found among others."""
    titles = [[2 + i] for i in range(30)]
    people = [([(i, i), (i + 1, i)], [(100 + i, i), (100 + i, i)]) for i in range(30)]
    config = replace(CONFIG, batch_size=15, refresh_interval=5, sequence_pool=60)
    objective = objective_of(config, corpus_of(titles, people), dtype=torch.float32)
    optimizer = torch.optim.Adam(objective.model.parameters(), 0.01)
    for step in range(60):
        optimizer.zero_grad()
        result = objective.loss(step, objective.batches.share(step))
        result.loss.backward()
        optimizer.step()
    assert result.correct["bsm"] > 0.9


def test_each_pair_comes_once_an_epoch_in_an_order_of_its_own():
    order = BatchOrder(np.arange(100, 110), 4, seed=0)
    taken = np.concatenate([order.whole(step) for step in range(5)])
    assert sorted(taken[:10]) == sorted(taken[10:]) == list(range(100, 110))
    assert taken[:10].tolist() != taken[10:].tolist()
    shares = [BatchOrder(order.rows, 4, 0, rank, 2).share(1) for rank in range(2)]
    assert sorted(np.concatenate(shares)) == sorted(order.whole(1).tolist())


def test_the_paper_s_settings_are_table_4_s():
    paper = PRESETS["paper"]
    table = {
        "width": 256,
        "word_width": 300,
        "query_width": 200,
        "heads": 16,
        "window": 3,
        "dropout": 0.2,
        "max_words": 30,
        "max_views": 100,
        "behavior_encoder": "transformer",
        "context_encoder": "self_attention",
        "aggregator": "attentive",
        "word_positions": True,
    }
    assert {name: getattr(paper.model, name) for name in table} == table
    table = {
        "learning_rate": 1e-5,
        "batch_size": 32,
        "behavior_pool": 1000,
        "sequence_pool": 100,
        "refresh_interval": 50,
        "K": 4,
        "P": 4,
        "mask_rate": 0.1,
        "negatives": "medium",
        "tasks": ("mbp", "bsm"),
        "masked_from": "state",
    }
    assert {name: getattr(paper, name) for name in table} == table
    baselines = {"ptum": (("mbp", "nbp"), "user", "random"), "cp": (("cp",), "state", "random")}
    for name, expected in baselines.items():
        preset = PRESETS[name]
        assert (preset.tasks, preset.masked_from, preset.negatives) == expected
        assert replace(preset, tasks=paper.tasks, masked_from="state", negatives="medium") == paper


def test_settings_survive_json_and_flags():
    from contracts.terminal.command_line import parse_options
    from model.config_options import config_from_options, with_config_options

    @with_config_options()
    def configured(**settings):
        return config_from_options(settings)

    for config in PRESETS.values():
        assert PretrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert configured(**parse_options(configured, [])) == PRESETS["paper"]
    given = (
        "--preset tiny --base-model lstur --tasks mbp --K 2 --dropout 0 --compile --dtype bfloat16"
    )
    config = configured(**parse_options(configured, given.split()))
    assert (config.tasks, config.K, config.compile, config.dtype) == (("mbp",), 2, True, "bfloat16")
    assert (config.model.context_encoder, config.model.dropout) == ("gru", 0)
    assert config.model.width == PRESETS["tiny"].model.width


def test_wrong_settings_are_named_all_at_once():
    with pytest.raises(BadInput, match="width 10 does not divide into 4 heads; window is 2"):
        ModelConfig(width=10, heads=4, window=2)
    with pytest.raises(BadInput, match=r"K is 0; it must be 1 or more.*'xyz'.*mask_rate is 1"):
        PretrainConfig(K=0, tasks=("xyz",), mask_rate=1)
    with pytest.raises(BadInput, match="has no field 'widht'"):
        ModelConfig.from_json({"widht": 3})
    with pytest.raises(BadInput, match="context_encoder is 'rnn'; choose self_attention, tr"):
        ModelConfig(context_encoder="rnn")
