"""Scores, negatives and weights, each for a task: the losses by hand."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from tiny_corpus import random_corpus

from contracts.errors import BadInput
from model.config import ModelConfig, PretrainConfig
from model.data.batches import BatchOrder
from model.data.ragged import Ragged
from model.layers.user_model import UserModel
from model.objective.negatives import allowed_behaviors
from model.objective.objective import Objective, own_titles
from model.objective.tasks.task import (
    Batch,
    contrast_candidates,
    contrast_in_batch,
    question_scores,
)
from model.objective.trace_check import check_events
from model.settings.scores import VectorScore
from model.training.finetuning import FinetuneSettings

COSINE = VectorScore("cosine", 0.1)
SMALL = {"width": 8, "word_width": 6, "query_width": 5, "heads": 2, "dropout": 0.0, "max_words": 8}
CONFIG = PretrainConfig(
    model=ModelConfig(**SMALL, max_views=24),
    behavior_pool=20,
    sequence_pool=8,
    refresh_interval=2,
    batch_size=6,
)
CORPUS = random_corpus(longest=24)


def objective_of(corpus=CORPUS, **settings):
    torch.manual_seed(0)
    config = replace(CONFIG, **settings)
    model = UserModel(config.model, num_words=40).double()
    with torch.no_grad():  # so that no softmax is nearly even
        for parameter in model.parameters():
            parameter.mul_(2)
    order = BatchOrder(np.arange(len(corpus.pairs)), config.batch_size, config.seed)
    events = []
    objective = Objective(model, corpus, config, order, events.append)
    objective.events = events
    return objective


def loss_of(objective, step=0):
    return objective.loss(step, objective.batches.share(step))


def test_a_cosine_loss_by_hand():
    """Lengths do not count: the cosines are 1, 0 and 0.6, over a temperature of 0.1."""
    query = torch.tensor([[2.0, 0]])
    candidates = torch.tensor([[[7.0, 0], [0, 5], [3, 4]]])
    outcome = contrast_candidates(query, candidates, torch.zeros(1, 2, dtype=torch.bool), COSINE)
    expected = math.log(math.exp(10) + math.exp(0) + math.exp(6)) - 10
    assert outcome.losses.item() == pytest.approx(expected, rel=1e-4)
    scores = question_scores(query.numpy(), candidates.numpy(), COSINE)
    np.testing.assert_allclose(scores, [[10, 0, 6]], rtol=1e-6, atol=1e-9)


def test_a_zero_vector_has_cosine_0_to_everything():
    query = torch.zeros(1, 2, requires_grad=True)
    outcome = contrast_candidates(query, torch.ones(1, 3, 2), torch.zeros(1, 2).bool(), COSINE)
    assert outcome.losses.item() == pytest.approx(math.log(3))
    outcome.losses.sum().backward()
    assert torch.isfinite(query.grad).all()
    assert (question_scores(np.zeros((1, 2)), np.ones((1, 3, 2)), COSINE) == 0).all()


def test_two_views_in_a_batch_by_cosine_by_hand():
    users = torch.tensor([[1.0, 0], [2, 0], [0, 3], [0, 1]])  # cosines: 1 to the right one, else 0
    losses = contrast_in_batch(users, COSINE).losses
    expected = math.log(math.exp(10) + 2) - 10
    assert losses.tolist() == pytest.approx([expected] * 4, rel=1e-2)


def test_another_pair_of_the_same_user_is_left_out_of_the_contrast():
    users = torch.ones(6, 2)  # two views of each of three pairs; the first two are of one user
    owners = torch.tensor([7, 7, 7, 7, 9, 9])
    outcome = contrast_in_batch(users, identical=owners[:, None] == owners)
    assert outcome.losses.tolist() == pytest.approx([math.log(3)] * 4 + [math.log(5)] * 2)
    assert outcome.missing == 8


def test_the_matching_task_scores_by_cosine_what_its_negatives_give():
    """The loss again, by hand from the vectors and the negatives that the record names."""
    objective = objective_of(tasks=("bsm",), matching_score="cosine", temperature=0.5)
    result = loss_of(objective)
    crops = objective.events[0]["crops"]
    chosen = objective.events[1]["chosen"]
    model, corpus, losses = objective.model, objective.corpus, []

    def vector(titles):
        words = [corpus.title_words[title] for title in titles]
        encoded = model.encode_titles(
            torch.from_numpy(np.concatenate(words).astype(np.int64)),
            torch.tensor([len(each) for each in words]),
        )
        return model.encode_users(encoded, torch.tensor([len(titles)]))[1][0]

    for row, pair in enumerate(objective.batches.share(0)):
        early, late = (vector(corpus.sequences[each]) for each in corpus.pairs[pair])
        wrong = [crops[place] for place in chosen[row] if place >= 0]
        others = [vector(corpus.sequences[r][s : s + n]) for r, s, n in wrong]
        cosines = [
            (early @ each / early.norm() / each.norm()).item() / 0.5 for each in [late, *others]
        ]
        losses.append(math.log(sum(map(math.exp, cosines))) - cosines[0])
    assert result.loss.item() == pytest.approx(sum(losses) / len(losses), rel=1e-9)


def test_weights_multiply_the_losses_of_their_tasks():
    plain = loss_of(objective_of())
    weighted = loss_of(objective_of(task_weights=("bsm=0.25",)))
    assert weighted.parts["mbp"] == plain.parts["mbp"]
    assert weighted.parts["bsm"] == pytest.approx(plain.parts["bsm"] / 4)
    assert weighted.loss.item() == pytest.approx(sum(weighted.parts.values()))
    with pytest.raises(BadInput, match=r"task_weights has cp=1; .*\(mbp, bsm\).*above 0"):
        PretrainConfig(task_weights=("cp=1",))
    for wrong in ("bsm=0", "bsm=-1", "bsm=x", "bsm", "bsm=nan", "bsm=inf"):
        task, _, text = wrong.partition("=")
        with pytest.raises(BadInput, match=f"task_weights has {task}={text}; write TASK=WEIGHT"):
            PretrainConfig(task_weights=(wrong,))
    with pytest.raises(BadInput, match="temperature is 0; it must be above 0"):
        PretrainConfig(temperature=0)


def _numbers_of(owner):
    return [each.name for each in fields(owner) if isinstance(each.default, float)]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0])
def test_no_setting_takes_a_number_that_is_none(value):
    for owner in (PretrainConfig, ModelConfig, FinetuneSettings):
        names = _numbers_of(owner)
        assert names
        for name in names:
            with pytest.raises(BadInput, match=f"{name} is {value}"):
                owner(**{name: value})


def test_each_kind_of_negatives_has_its_own_sampling():
    """Random behaviors beside the hardest sequences: the record's scores say which is which."""
    objective = objective_of(behavior_negatives="random", sequence_negatives="hardest")
    loss_of(objective)
    pool, sequences, behaviors = objective.events
    assert len(pool["crops"]) == len(np.unique(CORPUS.pairs))  # hardest: everything there is
    assert all(abs(score) <= 1 + 1e-6 for row in sequences["score"] for score in row)
    assert all(score == round(score) for row in behaviors["score"] for score in row)
    assert not check_events(objective.events, CORPUS, objective.config).broken.total()
    config = PretrainConfig(sequence_negatives="random")
    assert (config.negatives_of_behaviors, config.negatives_of_sequences) == ("medium", "random")


def test_own_titles_are_set_aside_by_what_they_look_like():
    batch = Batch(
        0,
        np.arange(2),
        np.arange(2),
        *(Ragged.of([[1, 2], [5]]), Ragged.of([[3], [6, 7]])),
        *(Ragged.of([[1, 2], [5]]), Ragged.of([[3], [6, 7]])),
        np.empty((2, 0), np.int64),
        *(Ragged.of([]), Ragged.of([])),
    )
    own = own_titles(batch)
    assert [own[0].tolist(), own[1].tolist()] == [[1, 2, 3], [5, 6, 7]]
    identity = np.array([0, 1, 2, 3, 4, 5, 6, 7, 3])  # title 8 looks like title 3
    pool = np.array([4, 8, 5, 2])
    allowed = allowed_behaviors(identity, np.array([1, 5]), pool, own)
    assert allowed.tolist() == [[True, False, True, False], [True, True, False, True]]
    assert allowed_behaviors(identity, np.array([1, 5]), pool).tolist() == [
        [True] * 4,
        [True, True, False, True],
    ]


@pytest.mark.parametrize("tasks", [("mbp", "bsm"), ("mbp", "nbp")])
def test_a_record_shows_that_own_titles_were_set_aside(tasks):
    settings = {"tasks": tasks, "negatives": "random", "masked_sequences": "both"}
    objective = objective_of(**settings, set_aside_own=True)
    for step in range(3):
        loss_of(objective, step)
    found = check_events(objective.events, CORPUS, objective.config)
    assert found.looked["other user's title"] > 0
    assert not found.broken.total()
    # The same check finds them in a record of a run that keeps them.
    kept = objective_of(**settings)
    loss_of(kept)
    pairs = next(e["pairs"] for e in objective.events if e["event"] == "behaviors")
    events = [e | ({"pairs": pairs} if e["event"] == "behaviors" else {}) for e in kept.events]
    assert check_events(events, CORPUS, objective.config).broken["other user's title"] > 0


def test_the_contrast_of_views_by_cosine_is_the_task_s_loss():
    dot, cosine = (
        loss_of(objective_of(tasks=("cp",), matching_score=s)) for s in ("dot", "cosine")
    )
    assert dot.loss.item() != pytest.approx(cosine.loss.item(), rel=0.01)
