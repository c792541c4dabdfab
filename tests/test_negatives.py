"""Medium-hard negatives (section 3.3) and their trace, against the rules and plain encodings."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from reference_model import PlainEncoder, PlainUserModel
from tiny_corpus import corpus_of, random_corpus
from torch.nn import functional as F

from model.config import ModelConfig, PretrainConfig
from model.data.batches import BatchOrder
from model.layers.user_model import UserModel
from model.objective.negatives import (
    BehaviorNegatives,
    SequenceNegatives,
    SequencePool,
    allowed_sequences,
    random_order_scores,
    top_candidates,
)
from model.objective.negatives_trace import event_writer
from model.objective.objective import Objective
from model.objective.tasks.task import NO_NEGATIVE
from model.objective.trace_check import Check, check_events

TINY = ModelConfig(
    behavior_encoder="cnn", width=8, word_width=6, query_width=5, heads=2, dropout=0.5, max_words=8
)
CONFIG = PretrainConfig(
    model=TINY, behavior_pool=20, sequence_pool=10, refresh_interval=4, batch_size=6
)


@pytest.fixture(autouse=True)
def _one_thread():
    """Tensors this small are slower on two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def tiny_model(config=TINY, num_titles=60):
    torch.manual_seed(0)
    model = UserModel(config, num_words=40, num_titles=num_titles).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    return model


def objective_of(corpus, config=CONFIG, model=None, trace=None):
    order = BatchOrder(np.arange(len(corpus.pairs)), config.batch_size, config.seed)
    return Objective(model or tiny_model(config.model), corpus, config, order, trace)


def run(steps, corpus, config=CONFIG, first=0, objective=None):
    """A training of some steps; returns the objective and what it traced."""
    events = []
    objective = objective or objective_of(corpus, config)
    objective.trace = events.append
    optimizer = torch.optim.SGD(objective.model.parameters(), 0.01)
    for step in range(first, first + steps):
        optimizer.zero_grad()
        objective.loss(step, objective.batches.share(step)).loss.backward()
        optimizer.step()
    return objective, events


def of(events, kind):
    return [event for event in events if event["event"] == kind]


def behavior_negatives(corpus, **settings):
    config = replace(CONFIG, **settings)
    return BehaviorNegatives(tiny_model(config.model, len(corpus.title_ids)), corpus, config)


def zeros(num):
    return np.zeros(num, np.uint64)


def test_the_highest_scores_win_and_of_equal_ones_the_first():
    scores = torch.tensor([[1.0, 5, 5, 2, 5], [0, -1, -2, -3, float("-inf")]])
    for at_once in (1, 2, 5):  # in whatever pieces they are looked at
        chosen = top_candidates(lambda part: scores[:, part], 5, 3, at_once)
        assert chosen.index.tolist() == [[1, 2, 4], [0, 1, 2]]
        assert chosen.score.tolist() == [[5, 5, 5], [0, -1, -2]]


def test_too_few_candidates_leave_places_empty():
    scores = torch.tensor([[float("-inf"), 3.0], [float("-inf"), float("-inf")]])
    chosen = top_candidates(lambda part: scores[:, part], 2, 3, 10)
    assert chosen.index.tolist() == [
        [1, NO_NEGATIVE, NO_NEGATIVE],
        [NO_NEGATIVE, NO_NEGATIVE, NO_NEGATIVE],
    ]
    assert chosen.missing == 5


def test_random_takes_the_pool_in_order_from_a_place_of_the_targets_own():
    order = np.array([0, 3, 7], np.uint64)
    chosen = top_candidates(random_order_scores(order, 5, torch.device("cpu")), 5, 2, 3)
    assert chosen.index.tolist() == [[0, 1], [3, 4], [2, 3]]


def test_the_chosen_behaviors_are_the_most_similar_of_the_pool():
    corpus = random_corpus()
    negatives = behavior_negatives(corpus)
    targets = np.arange(12)
    pool, chosen = negatives.choose(3, targets, zeros(12))
    model = negatives.model.eval()
    vectors = PlainEncoder(PlainUserModel(TINY, 40).double().copy(model), corpus).titles(
        np.arange(60)
    )
    for row, target in enumerate(targets):
        others = [t for t in pool if corpus.title_identity[t] != corpus.title_identity[target]]
        similar = F.cosine_similarity(vectors[others], vectors[target], dim=-1)
        order = similar.argsort(descending=True)[: CONFIG.K].tolist()
        assert pool[chosen.index[row]].tolist() == [others[i] for i in order]
        np.testing.assert_allclose(chosen.score[row], similar[order].detach(), atol=1e-12)


def test_copies_of_the_target_are_never_chosen_and_a_variant_may_be():
    """50 planted copies, by the words as encoded; `:` against `|` is the paper's own variant."""
    colon, bar = 30, 31
    target = [2, 3, colon, 4, 5]
    words = [target] * 51 + [[2, 3, bar, 4, 5]] + [[10 + i] for i in range(10)]
    corpus = corpus_of(words, [([(0, 0)], [(1, 0)])], behaviors=np.arange(len(words)))
    for settings in ({"behavior_pool": 1000}, {"negatives": "hardest"}, {"negatives": "random"}):
        pool, chosen = behavior_negatives(corpus, **settings).choose(0, np.array([7]), zeros(1))
        assert not set(pool[chosen.index[0]]) & set(range(51))
    negatives = behavior_negatives(corpus, behavior_pool=1000)
    with torch.no_grad():  # the variant's one other word hardly differs
        table = negatives.model.behavior.words.weight
        table[bar] = table[colon] * 1.01
    pool, chosen = negatives.choose(0, np.array([7]), zeros(1))
    assert pool[chosen.index[0, 0]] == 51


def test_a_title_drawn_twice_is_one_candidate():
    words = [[2], [3], [4], [4]]
    corpus = corpus_of(words, [([(0, 0)], [(1, 0)])], behaviors=[1] * 30 + [2, 3, 0] * 3)
    for step in range(5):
        pool = behavior_negatives(corpus, behavior_pool=38).pool(step)
        identities = corpus.title_identity[pool].tolist()
        assert len(identities) == len(set(identities))
        assert 1 in identities


def test_for_ids_a_title_is_identical_to_itself_alone():
    corpus = corpus_of([[2], [2], [3]], [([(0, 0)], [(1, 0)])], behaviors=[0, 1, 2])
    config = replace(CONFIG, model=replace(TINY, behavior_encoder="id"), behavior_pool=1000)
    negatives = BehaviorNegatives(tiny_model(config.model), corpus, config)
    pool, chosen = negatives.choose(0, np.array([0]), zeros(1))
    assert sorted(pool[chosen.index[0, :2]]) == [1, 2]
    assert chosen.missing == 2


def test_the_behavior_pool_is_drawn_anew_each_step_and_the_same_in_every_process():
    corpus = random_corpus()
    negatives = behavior_negatives(corpus)
    pools = [negatives.pool(step).tolist() for step in range(10)]
    assert len({tuple(pool) for pool in pools}) == 10
    assert pools == [behavior_negatives(corpus).pool(step).tolist() for step in range(10)]


def test_behaviors_are_drawn_as_often_as_they_were_viewed():
    views = [0] * 75 + [1] * 25
    corpus = corpus_of([[2], [3]], [([(0, 0)], [(1, 0)])], behaviors=views)
    negatives = behavior_negatives(corpus, behavior_pool=1)
    drawn = [int(negatives.pool(step)[0]) for step in range(1000)]
    assert np.mean(drawn) == pytest.approx(0.25, abs=0.06)


def test_medium_with_everything_in_the_pools_is_hardest():
    corpus = random_corpus()
    everything = replace(CONFIG, behavior_pool=10**6, sequence_pool=10**6)
    _, medium = run(2, corpus, everything)
    _, hardest = run(2, corpus, replace(CONFIG, negatives="hardest"))
    assert medium == hardest


def test_medium_with_pools_of_k_is_random():
    corpus = corpus_of(
        [[2 + i] for i in range(6)],
        [([(10 * i, i % 6)], [(1000 + 10 * i, i % 6)]) for i in range(8)],
        behaviors=[0, 1, 2, 3, 4, 5],
    )
    small = replace(CONFIG, behavior_pool=4, sequence_pool=4, batch_size=4)
    _, medium = run(1, corpus, small)
    _, random = run(1, corpus, replace(small, negatives="random"))
    for kind in ("behaviors", "sequences"):
        for ours, theirs in zip(of(medium, kind), of(random, kind), strict=True):
            assert list(map(sorted, ours["chosen"])) == list(map(sorted, theirs["chosen"]))


def test_spans_are_closed_so_equal_times_overlap():
    corpus = corpus_of(
        [[2]],
        [
            ([(10, 0), (20, 0)], [(30, 0)]),
            ([(0, 0), (9, 0)], [(20, 0)]),  # ends before; begins as A ends
            ([(0, 0), (10, 0)], [(21, 0), (22, 0)]),  # ends as A begins; begins after
            ([(12, 0), (13, 0)], [(40, 0)]),  # within A
            ([(0, 0), (99, 0)], [(100, 0)]),  # around A
        ],
    )
    early = SequencePool.whole(corpus, np.array([0]))
    allowed = allowed_sequences(corpus, early, SequencePool.whole(corpus, np.arange(10)))
    assert np.flatnonzero(allowed[0]).tolist() == [2, 5, 7, 9]


def test_no_chosen_sequence_is_of_the_same_user_or_overlaps_a_over_a_whole_run():
    corpus = random_corpus(num_users=40)
    _, events = run(21, corpus)
    crops, seen = None, 0
    for event in events:
        if event["event"] == "sequence pool":
            crops = event["crops"]
        if event["event"] != "sequences":
            continue
        for pair, chosen in zip(event["pairs"], event["chosen"], strict=True):
            target = corpus.pairs[pair, 0]
            first, last = corpus.times[corpus.sequences.offsets[[target, target + 1]] - [0, 1]]
            assert len({c for c in chosen if c != NO_NEGATIVE}) == sum(
                c != NO_NEGATIVE for c in chosen
            )
            for row, start, length in (crops[c] for c in chosen if c != NO_NEGATIVE):
                offset = corpus.sequences.offsets[row] + start
                times = corpus.times[offset : offset + length]
                assert corpus.sequence_users[row] != corpus.sequence_users[target]
                assert times.max() < first or times.min() > last
                assert 0 <= start <= start + length <= corpus.sequences.lengths()[row]
                seen += 1
    assert seen > 400


def test_a_trace_is_lines_of_json_and_what_breaks_a_rule_in_it_is_found():
    corpus, file = random_corpus(), io.StringIO()
    objective = objective_of(corpus, trace=event_writer(file))
    for step in range(6):
        objective.loss(step, objective.batches.share(step))
    events = [json.loads(line) for line in file.getvalue().splitlines()]
    assert [event["event"] for event in events].count("sequence pool") == 2
    assert check_events(events, corpus, CONFIG).broken.total() == 0
    behaviors, sequences = of(events, "behaviors"), of(events, "sequences")
    behaviors[0]["pool"][behaviors[0]["chosen"][2][0]] = behaviors[0]["targets"][2]
    behaviors[0]["chosen"][3][1] = behaviors[0]["chosen"][3][0]
    behaviors[1]["score"][1].reverse()
    behaviors[2]["chosen"][0][0] = 20
    behaviors[2]["pool"], behaviors[3]["model_step"] = behaviors[1]["pool"], 2
    own = [corpus.pairs[sequences[1]["pairs"][0], 1], 0, 1]  # B itself
    of(events, "sequence pool")[0]["crops"][sequences[1]["chosen"][0][0]] = list(map(int, own))
    sequences[2]["model_step"] = 1
    found = check_events([e for e in events if e["step"] != 4], corpus, CONFIG)
    for case in (
        "step 0, target 2: other title",
        "step 0, target 3: distinct",
        "step 1, target 0: other user",
        "step 1, target 1: best first",
        "step 2: fresh pool",
        "step 2, target 0: in the pool",
        "step 2: model of refresh",
        "step 3: fresh pool",
        "step 5: every step",
        "step 5: refresh",
    ):
        assert case in found.cases, (case, found.cases)


@pytest.mark.parametrize("negatives", ["random", "medium", "hardest"])
def test_no_rule_is_broken_where_half_of_all_views_are_at_equal_times(negatives):
    draw = np.random.default_rng(0)

    def sequence(first):
        times = np.sort(draw.integers(first, first + 4, draw.integers(1, 5)))
        return [(int(time), int(draw.integers(20))) for time in times]

    starts = draw.integers(0, 30, 40)
    corpus = corpus_of(
        [[2 + i // 2] for i in range(20)], [(sequence(t), sequence(t + 5)) for t in starts]
    )
    config = replace(CONFIG, negatives=negatives, behavior_pool=15, sequence_pool=30)
    _, events = run(21, corpus, config)
    found = check_events(events, corpus, config)
    assert found.broken.total() == 0, found.cases
    assert found.looked["apart in time"] == found.looked["other user"] == 21 * 6
    assert found.looked["refresh"] == 6 + 21


def test_the_trace_of_one_of_two_processes_with_micro_batches_keeps_the_rules_too():
    corpus, events = random_corpus(), []
    order = BatchOrder(np.arange(len(corpus.pairs)), 8, seed=0, rank=1, world=2)
    objective = Objective(tiny_model(), corpus, CONFIG, order, events.append)
    for step in range(6):
        for micro in np.array_split(order.share(step), 2):
            objective.loss(step, micro)
    found = check_events(events, corpus, CONFIG)
    assert found.broken.total() == 0, found.cases
    assert (found.looked["every step"], found.looked["apart in time"]) == (6, 6 * 4)


def pool_at(corpus, step, **settings):
    order = BatchOrder(np.arange(len(corpus.pairs)), 4, seed=0)
    return SequenceNegatives(tiny_model(), corpus, replace(CONFIG, **settings), order).draw(step)


def crops(pool):
    return list(zip(pool.rows.tolist(), pool.starts.tolist(), pool.lengths.tolist(), strict=True))


def test_a_sequence_pool_is_drawn_anew_at_each_refresh_and_by_the_seed():
    corpus = random_corpus()
    drawn = [crops(pool_at(corpus, *step)) for step in ((0,), (4,), (8,))]
    assert len({tuple(each) for each in drawn}) == 3
    assert drawn[0] == crops(pool_at(corpus, 0))
    assert drawn[0] != crops(pool_at(corpus, 0, seed=1))


def test_a_behavior_pool_is_drawn_by_the_seed():
    corpus = random_corpus()
    pools = [behavior_negatives(corpus, seed=seed).pool(0).tolist() for seed in (0, 0, 1)]
    assert pools[0] == pools[1] != pools[2]


def long_a_short_b():
    """A of 1 to 9 views and B of 1 to 3, so that whose length a crop has can be seen."""
    people = [
        (
            [(10 * user + i, 0) for i in range(1 + user % 9)],
            [(5000 + i, 0) for i in range(1 + user % 3)],
        )
        for user in range(40)
    ]
    return corpus_of([[2], [3]], people)


def test_crops_are_as_long_as_a_b_and_the_longest_are_of_the_longest_rows():
    corpus = long_a_short_b()
    whole = corpus.sequences.lengths()
    for step in range(20):
        pool = pool_at(corpus, step, sequence_pool=20)
        assert pool.lengths.max() <= 3
        assert (pool.lengths <= whole[pool.rows]).all()
        order = np.argsort(whole[pool.rows], kind="stable")
        longest_b = np.sort(pool.lengths[order])
        assert pool.lengths[order].tolist() == longest_b.tolist()
    sums = [pool_at(corpus, step, sequence_pool=20).lengths.sum() for step in range(20)]
    assert np.mean(sums) > 30  # with lengths in any order, short rows cut more of them: 28


def test_crops_begin_anywhere_that_leaves_their_length():
    corpus = long_a_short_b()
    starts, rest = [], []
    for step in range(30):
        pool = pool_at(corpus, step, sequence_pool=20)
        room = corpus.sequences.lengths()[pool.rows] - pool.lengths
        assert (pool.starts <= room).all()
        starts += pool.starts[room > 0].tolist()
        rest += (room - pool.starts)[room > 0].tolist()
    assert min(starts) == min(rest) == 0  # the first place and the last one occur
    assert max(starts) >= 5


def random_order(corpus, step, seed=0):
    """What `random` chooses for every pair where the pool is everything there is."""
    config = replace(CONFIG, negatives="random", sequence_pool=10**6, seed=seed)
    order = BatchOrder(np.arange(len(corpus.pairs)), len(corpus.pairs), seed=0)
    negatives = SequenceNegatives(tiny_model(), corpus, config, order)
    negatives.refresh(step)
    return negatives.of(np.arange(len(corpus.pairs))).index


def test_random_sequences_begin_at_a_place_of_the_step_of_the_pair_and_of_the_seed():
    people = [([(i, 0)], [(1000 + i, 0)]) for i in range(24)]
    corpus = corpus_of([[2], [3]], people)
    first = random_order(corpus, 0)
    assert np.array_equal(first, random_order(corpus, 0))
    assert not np.array_equal(first, random_order(corpus, 4))
    assert not np.array_equal(first, random_order(corpus, 0, seed=1))
    assert len(set(first[:, 0].tolist())) > 5  # a place a pair: all from one place gave 1 or 2


def test_the_trace_check_knows_closed_spans_and_strange_rows():
    """`_apart` shares no code with what chooses, and says the same."""
    corpus = corpus_of(
        [[2]],
        [
            ([(10, 0), (20, 0)], [(30, 0)]),
            ([(0, 0), (9, 0)], [(20, 0)]),  # ends before; begins as A ends
            ([(0, 0), (10, 0)], [(21, 0), (22, 0)]),  # ends as A begins; begins after
            ([(12, 0), (13, 0)], [(40, 0)]),  # within A
            ([(0, 0), (99, 0)], [(100, 0)]),  # around A
        ],
    )
    check = Check(corpus, CONFIG, np.arange(5))
    check.pool = SequencePool.whole(corpus, np.arange(10))
    apart = check._apart(SequencePool.whole(corpus, np.array([0])))
    assert np.flatnonzero(apart[0]).tolist() == [1, 2, 5, 7, 9]


def changed_events(change, corpus=None, training_pairs=None, **settings):
    """What the check finds in a whole run of six steps of which `change` edits the events."""
    corpus, config = corpus or random_corpus(), replace(CONFIG, **settings)
    _, events = run(6, corpus, config)
    change(events)
    return check_events(events, corpus, config, training_pairs)


def test_the_trace_check_finds_a_pool_that_was_drawn_before():
    def repeat(events):
        pools = of(events, "sequence pool")
        pools[1]["crops"] = pools[0]["crops"]

    found = changed_events(repeat)
    assert "step 4: fresh sequences" in found.cases
    assert changed_events(lambda events: None).broken.total() == 0


def test_the_trace_check_finds_views_and_sequences_that_are_not_trained_on():
    found = changed_events(lambda events: None, training_pairs=np.arange(12))
    assert any("crop" in case and "pool size" in case for case in found.cases)
    strange = corpus_of(
        [[2 + i] for i in range(8)],
        [([(i, i)], [(100 + i, i)]) for i in range(6)],
        behaviors=[0, 1, 2, 3, 4, 5],
    )

    def take_a_title_that_nobody_viewed(events):
        of(events, "behaviors")[0]["pool"][0] = 7

    found = changed_events(take_a_title_that_nobody_viewed, strange, negatives="random")
    assert "step 0: pool size" in found.cases


def test_the_trace_check_compares_titles_by_what_the_encoder_sees():
    words = [[2 + i // 2] for i in range(20)]  # titles 2 n and 2 n + 1 look alike
    draw = np.random.default_rng(0)
    people = [
        ([(t, int(draw.integers(20)))], [(500 + t, int(draw.integers(20)))]) for t in range(30)
    ]
    corpus = corpus_of(words, people)

    def choose_a_copy(events):
        event = of(events, "behaviors")[0]
        event["pool"][event["chosen"][1][0]] = event["targets"][1] ^ 1

    assert "step 0, target 1: other title" in changed_events(choose_a_copy, corpus).cases


def test_crops_are_no_longer_than_some_b_and_come_from_training_users():
    corpus = random_corpus()
    order = BatchOrder(np.arange(10), 4, seed=0)
    pool = SequenceNegatives(tiny_model(), corpus, CONFIG, order).draw(0)
    assert set(pool.rows.tolist()) <= set(range(20))
    assert pool.lengths.max() <= corpus.sequences.lengths()[1:20:2].max()
    assert len(set(pool.rows.tolist())) == len(pool) == 10


@pytest.fixture(scope="module")
def unbroken():
    """101 steps of a small corpus at the paper's interval, and what they traced."""
    torch.set_num_threads(1)
    config = replace(CONFIG, refresh_interval=50, batch_size=2)
    corpus = random_corpus()
    return corpus, config, *run(101, corpus, config)


def test_three_refreshes_in_101_steps_at_interval_50(unbroken):
    *_, events = unbroken
    assert [event["step"] for event in of(events, "sequence pool")] == [0, 50, 100]
    assert [event["model_step"] for event in of(events, "sequences")] == [0] * 50 + [50] * 50 + [
        100
    ]


@pytest.mark.parametrize("killed", [1, 50, 63])
def test_a_resumed_run_refreshes_when_the_unbroken_one_does_and_chooses_the_same(killed, unbroken):
    corpus, config, whole, expected = unbroken
    first, before = run(killed, corpus, config)
    resumed = objective_of(corpus, config)
    resumed.model.load_state_dict(first.model.state_dict())
    resumed.load_state_dict(first.state_dict())
    resumed, after = run(101 - killed, corpus, config, first=killed, objective=resumed)
    assert before + after == expected
    for ours, theirs in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_run_that_goes_on_without_its_state_is_refused():
    with pytest.raises(ValueError, match="step 13 goes on with the negatives chosen at step 12"):
        run(1, random_corpus(), first=13)


def test_sequences_are_ranked_by_the_model_of_the_refresh_for_targets_and_candidates():
    corpus = random_corpus()
    objective = objective_of(corpus)
    at_refresh = PlainUserModel(TINY, 40).double().copy(objective.model).eval()
    _, events = run(4, corpus, objective=objective)
    crops = of(events, "sequence pool")[0]["crops"]
    encoder = PlainEncoder(at_refresh, corpus)
    pool = encoder.sequences([corpus.sequences[r][s : s + n] for r, s, n in crops])[1]
    last = of(events, "sequences")[-1]
    assert (last["step"], last["model_step"]) == (3, 0)
    early = encoder.sequences([corpus.sequences[row] for row in corpus.pairs[last["pairs"], 0]])[1]
    similar = F.normalize(early, dim=-1) @ F.normalize(pool, dim=-1).T
    for row, (chosen, scores) in enumerate(zip(last["chosen"], last["score"], strict=True)):
        found = [(c, s) for c, s in zip(chosen, scores, strict=True) if c != NO_NEGATIVE]
        for candidate, score in found:
            assert score == pytest.approx(similar[row, candidate].item(), abs=1e-12)


def test_behaviors_are_ranked_by_the_model_of_the_step_itself():
    corpus = random_corpus()
    objective, _ = run(2, corpus)
    now = PlainUserModel(TINY, 40).double().copy(objective.model).eval()
    events = []
    objective.trace = events.append
    objective.loss(2, objective.batches.share(2))
    event = of(events, "behaviors")[0]
    vectors = PlainEncoder(now, corpus).titles(np.arange(60))
    for target, chosen, scores in zip(
        event["targets"], event["chosen"], event["score"], strict=True
    ):
        titles = [event["pool"][c] for c in chosen]
        similar = F.cosine_similarity(vectors[titles], vectors[target], dim=-1)
        np.testing.assert_allclose(scores, similar.detach(), atol=1e-12)


def test_scaling_a_candidate_by_10_changes_no_choice_and_changes_its_logit():
    corpus = random_corpus()
    config = replace(CONFIG, model=replace(TINY, behavior_encoder="id", dropout=0.0))
    objective = objective_of(corpus, config)
    _, events = [], []
    objective.trace = events.append
    before = objective.loss(0, objective.batches.share(0))
    chosen = of(events, "behaviors")[0]
    candidate = chosen["pool"][chosen["chosen"][0][0]]
    assert candidate not in chosen["targets"]
    negatives = objective.behaviors
    targets = np.array(chosen["targets"])
    with torch.no_grad():
        objective.model.behavior.titles.weight[candidate + 1] *= 10
    _, again = negatives.choose(0, targets, zeros(len(targets)))
    assert again.index.tolist() == chosen["chosen"]
    after = objective.loss(0, objective.batches.share(0))
    assert after.parts["mbp"] != pytest.approx(before.parts["mbp"], abs=1e-3)


def test_selection_ignores_dropout_and_restores_the_mode():
    corpus = random_corpus()
    for training in (True, False):
        model = tiny_model().train(training)
        objective = objective_of(corpus, model=model)
        objective.sequences.refresh(0)
        objective.behaviors.choose(0, np.arange(5), zeros(5))
        assert all(module.training is training for module in model.modules())
        assert objective.sequences.chosen.index.tolist() == sequences_in_eval_mode(corpus)


def sequences_in_eval_mode(corpus):
    objective = objective_of(corpus, model=tiny_model().eval())
    objective.sequences.refresh(0)
    return objective.sequences.chosen.index.tolist()


def test_selection_leaves_no_gradient():
    corpus = random_corpus()
    objective = objective_of(corpus)
    objective.sequences.refresh(0)
    objective.behaviors.choose(0, np.arange(5), zeros(5))
    assert all(parameter.grad is None for parameter in objective.model.parameters())


def test_too_few_candidates_are_counted():
    corpus = corpus_of(
        [[2], [3], [4]],
        [([(0, 0)], [(1, 1)]), ([(0, 1)], [(9, 0)]), ([(5, 2)], [(6, 2)])],
    )
    everything = replace(CONFIG, behavior_pool=100, sequence_pool=100, batch_size=3)
    result = objective_of(corpus, everything).loss(0, np.arange(3))
    assert result.counts["mbp_missing"] == 3 * (4 - 2)
    # Of four sequences of others each: pair 0 may not have A of 1, pair 1 not A of 0.
    assert result.counts["bsm_missing"] == 1 + 1 + 0
    assert torch.isfinite(result.loss)


def test_processes_share_the_pools_and_each_ranks_its_own_pairs():
    corpus, whole = random_corpus(), []
    for rank in range(2):
        order = BatchOrder(np.arange(len(corpus.pairs)), 6, seed=0, rank=rank, world=2)
        negatives = SequenceNegatives(tiny_model(), corpus, CONFIG, order)
        negatives.refresh(0)
        whole.append(negatives)
    alone = SequenceNegatives(
        tiny_model(), corpus, CONFIG, BatchOrder(np.arange(len(corpus.pairs)), 6, seed=0)
    )
    alone.refresh(0)
    assert whole[0].pool.rows.tolist() == whole[1].pool.rows.tolist() == alone.pool.rows.tolist()
    for negatives in whole:
        own = negatives.batches.share(2)
        assert negatives.of(own).index.tolist() == alone.of(own).index.tolist()


def test_pairs_of_another_step_are_refused():
    objective = objective_of(random_corpus(), replace(CONFIG, batch_size=2, refresh_interval=1))
    with pytest.raises(ValueError, match="not those of the batch order"):
        objective.loss(0, objective.batches.share(1))
