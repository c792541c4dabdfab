"""The tasks of the memory form: no target after the training's day, and equal shares."""

import math
import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from small_histories import (
    DAY,
    NUM_DAYS,
    NUM_TITLES,
    SMALL_MEMORY,
    input_of,
    random_histories,
    write_sessions,
)
from small_lake import write

from analyst.lake_access.registered_models import title_candidates
from contracts.errors import BadInput
from contracts.forecasts import FORECAST_NAMES
from contracts.instants import DAY_MICROSECONDS, midnight_microseconds
from contracts.paths import Places
from contracts.vectors import vector_blocks
from downstream.rivals.coles import RivalLeftOut
from downstream.rivals.encoders import (
    MODEL_VARIANTS,
    JudgedModel,
    variant_config,
    variant_folder,
)
from model.config import PRESETS
from model.data.build_corpus import training_input, training_input_for
from model.data.histories import Histories
from model.data.ragged import Ragged
from model.inference.embed_users import embed_users
from model.objective.period_measures import mean_auc, period_measures, roc_auc, spearman_correlation
from model.objective.period_objective import encode_cuts
from model.objective.tasks.next_period import NextActivity
from model.objective.tasks.periods import CutRange, Cuts, LeakingTargets, draw_cuts
from model.storage.checkpoint import (
    TrainedModel,
    load_model,
    read_manifest,
    read_tensors,
    write_checkpoint,
)
from model.training.distributed import Processes
from model.training.pretrain import model_id, pretrain_model
from model.training.run_log import RunLog
from model.training.trainer import Training

CONFIG = SMALL_MEMORY

# With dropout of both kinds, so that a resumed training must draw what the unbroken one drew.
# And with all that a vector may carry beside what is learned, and titles by name.
CARRYING = replace(CONFIG.model, half_lives=(7,), activity_sums=1, class_counts=4, own_titles=True)
KILLED = replace(CONFIG, model=replace(CARRYING, dropout=0.2), word_dropout=0.1)


@pytest.fixture(scope="module")
def given():
    return input_of(random_histories())


@pytest.fixture(autouse=True)
def one_thread():
    """Threads of a busy machine wait for each other at every step of so small a model."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def training_of(given, **settings):
    return Training(given, replace(CONFIG, **settings), Processes(), 1)


def one_user(*days, end=100):
    """Views on these days (fractions are hours) before the day `end`."""
    times = np.array([round(day * DAY_MICROSECONDS) for day in days], np.int64)
    titles = Ragged.of([list(range(len(days)))], np.int32)
    return Histories(titles, times, 1, 0, end * DAY_MICROSECONDS)


def test_the_next_period_is_what_a_hand_counts():
    """Cut at day 60: views on day 60, ten minutes later, day 66.5 and 67; day 88 is too late."""
    ten_minutes = 10 / (24 * 60)
    histories = one_user(10, 59.9, 60, 60 + ten_minutes, 66.5, 67, 88)
    cuts = Cuts(histories, np.array([0]), np.array([60 * DAY_MICROSECONDS]))
    assert cuts.before().titles.values.tolist() == [0, 1]
    assert cuts.after().titles.values.tolist() == [2, 3, 4, 5]
    found = NextActivity.of(cuts, cuts.after())
    assert (found.views[0], found.soon_views[0]) == (4, 3)
    assert (found.sessions[0], found.soon_sessions[0]) == (3, 2)
    assert found.days[0] == 0
    assert not found.is_absent().any()
    assert found.observed().tolist() == [[0, 0, 4, 3, 0]]


def test_who_does_not_come_back_has_28_days():
    cuts = Cuts(one_user(10, 90), np.array([0]), np.array([60 * DAY_MICROSECONDS]))
    found = NextActivity.of(cuts, cuts.after())
    assert found.days[0] == 28
    assert found.is_absent().all()
    assert found.observed().tolist() == [[1, 1, 0, 0, 28]]
    assert found.logs()[0].tolist() == [0, 0, 0, 0, math.log1p(28)]


def test_a_cut_whose_targets_reach_past_the_day_of_the_training_is_refused():
    histories = one_user(10, 60, 80)
    Cuts(histories, np.array([0]), np.array([72 * DAY_MICROSECONDS]))
    with pytest.raises(LeakingTargets, match="fewer than 28 days"):
        Cuts(histories, np.array([0]), np.array([73 * DAY_MICROSECONDS]))


def test_every_cut_of_many_steps_leaves_the_period_before_the_end(given):
    histories = given.corpus.histories
    cut_range = CutRange.of(histories)
    users = np.flatnonzero(cut_range.has_cut())
    drawn = [draw_cuts(cut_range, histories, users, 0, step).at for step in range(300)]
    assert np.max(drawn) == histories.end - 28 * DAY_MICROSECONDS
    firsts = histories.times[histories.titles.offsets[users]]
    assert (np.array(drawn) > firsts).all()  # somebody has a view before each cut
    again = draw_cuts(cut_range, histories, users[:3], 0, 299).at
    assert np.array_equal(again, drawn[299][:3])  # of the user and the step alone


def test_a_planted_leak_is_found(given):
    """A loss that knows the days after its cut falls when these days change; ours must move its
    targets alone: views from 28 days after the cut on change nothing."""
    training = training_of(given)
    objective, histories = training.objective, given.corpus.histories
    users = np.array([3])
    cuts = Cuts(histories, users, np.array([midnight_microseconds(DAY) - 60 * DAY_MICROSECONDS]))
    own = slice(*histories.titles.offsets[[3, 4]])
    ages = (histories.times[own] - cuts.at[0]) / DAY_MICROSECONDS

    def loss_with(is_changed):
        titles = np.array(histories.titles.values)
        titles[own] = np.where(is_changed, (titles[own] + 5) % 12, titles[own])
        changed = replace(histories, titles=Ragged(titles, histories.titles.offsets))
        there = Cuts(changed, users, cuts.at)
        return objective.loss_at(0, there, np.array([0])).parts["next_period"]

    assert ((ages >= 28).any(), ((ages >= 0) & (ages < 28)).any()) == (True, True)
    unchanged = loss_with(np.zeros(len(ages), bool))
    assert loss_with(ages >= 28) == unchanged
    assert loss_with((ages >= 0) & (ages < 28)) != unchanged
    assert loss_with(ages < 0) != unchanged


def test_shares_of_a_step_add_up_to_the_whole(given, double_precision):
    """In two processes of two micro-batches each, also where they share a group of the contrast."""
    for groups in (1, 4):
        whole = training_of(given, matching_groups=groups)
        for _ in range(2):
            whole.update()
        shared = training_of(given, matching_groups=groups, accumulation=4)
        expected = training_of(given, matching_groups=groups)
        for _ in range(2):
            one, four = expected.update(), shared.update()
            assert four["loss"] == pytest.approx(one["loss"], abs=1e-9)
            assert four["period_matching_targets"] == one["period_matching_targets"]
        for ours, theirs in zip(
            shared.model.parameters(), expected.model.parameters(), strict=True
        ):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_two_processes_halve_a_step_without_a_user_in_common(given):
    trainings = [
        Training(given, CONFIG, Processes(rank=rank, world=2, local_world=2), 1)
        for rank in range(2)
    ]
    one = training_of(given)
    for step in range(5):
        shares = [training.objective.batches.share(step) for training in trainings]
        assert sorted(np.concatenate(shares)) == sorted(one.objective.batches.whole(step))
        halves = [
            training.objective.loss(step, share).loss.item()
            for training, share in zip(trainings, shares, strict=True)
        ]
        together = one.objective.loss(step, one.objective.batches.share(step)).loss.item()
        assert sum(halves) == pytest.approx(together, rel=1e-5)


def test_stopped_and_resumed_it_is_the_unbroken_training(given, tmp_path):
    settings = {"model": replace(CONFIG.model, dropout=0.2), "word_dropout": 0.1}
    unbroken, stopped, resumed = (training_of(given, **settings) for _ in range(3))
    for _ in range(3):
        unbroken.update()
        stopped.update()
    manifest = stopped.manifest("m")
    write_checkpoint(tmp_path / "c", manifest, given.vocabulary, stopped.tensors())
    resumed.restore(tmp_path / "c", manifest)
    for _ in range(3):
        assert unbroken.update() == resumed.update()
    ours, theirs = unbroken.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def killed_after(step, given, out):
    """Train in a fork that is killed -9 as soon as it has logged `step`."""

    def train():
        log_step = RunLog.step

        def log_and_die(log, done, facts):
            log_step(log, done, facts)
            if done == step:
                os.kill(os.getpid(), signal.SIGKILL)

        RunLog.step = log_and_die
        pretrain_model(given, KILLED, out, Processes(), threads=1)

    training = multiprocessing.get_context("fork").Process(target=train)
    training.start()
    training.join()
    return training.exitcode


def test_killed_twice_and_resumed_it_is_the_unbroken_training_to_the_bit(given, tmp_path):
    whole = pretrain_model(given, KILLED, tmp_path / "whole", Processes(), threads=1)
    for step in (2, 5):  # before the first checkpoint, and after it
        assert killed_after(step, given, tmp_path) == -signal.SIGKILL
        assert not (tmp_path / whole.name).exists()
    resumed = pretrain_model(given, KILLED, tmp_path, Processes(), threads=1)
    assert resumed.name == whole.name
    assert (resumed / "log.jsonl").read_bytes() == (whole / "log.jsonl").read_bytes()
    ours, theirs = (read_tensors(each, "weights.safetensors") for each in (resumed, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert read_manifest(resumed).measures == read_manifest(whole).measures


TORCHRUN = """
import sys, torch
from pathlib import Path
torch.set_default_dtype(torch.float64)
from small_histories import SMALL_MEMORY, input_of, random_histories
from model.training.distributed import join_processes
from model.training.pretrain import pretrain_model
with join_processes("cpu") as processes:
    given, out = input_of(random_histories()), Path(sys.argv[1])
    pretrain_model(given, SMALL_MEMORY, out, processes, threads=1)
"""


def test_two_processes_of_torchrun_train_as_one(given, tmp_path, double_precision):
    run = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python"]
    tests = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, *run, sys.executable, "-c", TORCHRUN, str(tmp_path / "two")],
        env=os.environ | {"PYTHONPATH": f"{tests.parent}:{tests}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    one = pretrain_model(given, CONFIG, tmp_path / "one", Processes(), threads=1)
    for name, value in read_tensors(one, "weights.safetensors").items():
        theirs = read_tensors(tmp_path / "two" / one.name, "weights.safetensors")[name]
        torch.testing.assert_close(theirs, value, rtol=0, atol=1e-6)


def test_a_training_leaves_a_model_that_forecasts_and_answers_every_question(given, tmp_path):
    folder = pretrain_model(given, CONFIG, tmp_path, Processes(), threads=1)
    assert folder.name.startswith("memory-2020-05-01-")
    trained = load_model(folder)
    measures = trained.manifest.measures
    assert {"masked_accuracy", "matching_accuracy", "effective_rank", "test_loss"} <= set(measures)
    assert 0 <= measures["no_view_auc"] <= 1
    for name in FORECAST_NAMES:
        assert measures[f"forecast_{name}_users"] == measures["asked_cuts"]
    bins = [measures.get(f"forecast_no_view_7_days_bin_{n}_users", 0) for n in range(10)]
    assert sum(bins) == measures["asked_cuts"]
    assert "validation_loss" in measures
    weights = read_tensors(folder, "weights.safetensors")
    assert weights["class_words"].count_nonzero() == 10


def test_a_trained_model_carries_sums_and_knows_titles(given, tmp_path):
    folder = pretrain_model(
        given, replace(CONFIG, model=CARRYING), tmp_path, Processes(), threads=1
    )
    trained = load_model(folder)
    assert trained.manifest.num_titles == NUM_TITLES
    assert trained.model.known.vectors.abs().min(dim=1).values.gt(0).all()  # each title has learned
    histories = given.corpus.histories
    at = np.full(len(histories), midnight_microseconds(DAY) - 30 * DAY_MICROSECONDS)
    users = encode_cuts(trained.model, given.corpus, Cuts(histories, np.arange(len(at)), at))
    carried = users[:, -4:].detach().numpy()
    assert carried.std(0).min() > 0.3  # about 1: standardized by other cuts of the same users
    assert vector_blocks(trained.manifest.settings)["preference"] == slice(6, 16)


def test_a_title_that_came_after_the_training_lies_near_the_title_that_shares_its_words(given):
    """Under the old vocabulary: its known words count, and words that nobody knows are one word."""
    training = training_of(given, word_dropout=0.1, steps=30)
    for _ in range(30):
        training.update()
    manifest = training.manifest("m")
    trained = TrainedModel(training.model.eval(), given.vocabulary, torch.empty(0), manifest)
    title_ids = np.array([0, 4, 1000, 2000])
    words = pa.array([["w0", "w3"], ["w1", "w7"], ["w0", "w3", "brand-new"], ["brand-new"]])
    as_of = np.full(4, midnight_microseconds(DAY))
    found = embed_users(
        trained,
        Ragged.of([[0, 0], [4, 4], [1000, 1000], [2000, 2000]]),
        title_ids,
        words,
        np.tile(as_of[:1] - np.array([9, 2]) * DAY_MICROSECONDS, 4),
        as_of,
    )
    assert np.isfinite(found.vectors).all()
    assert np.isfinite(found.forecasts).all()
    known, other, new, _ = found.vectors
    assert np.linalg.norm(new - known) < 0.5 * np.linalg.norm(new - other)
    # As an analyst asks for titles: in the users' space, one product is the logit of a view.
    candidates = title_candidates(trained, title_ids, words.to_pylist())
    assert candidates.shape == found.vectors.shape
    assert np.isfinite(candidates).all()
    known, other, new, unknown = candidates
    assert np.linalg.norm(new - known) < np.linalg.norm(new - other)
    assert not np.array_equal(unknown, new)
    logits = found.vectors @ candidates.T  # (users, titles)
    assert (logits[[0, 2]][:, [0, 2]].mean() > logits[[0, 2]][:, 1]).all()  # their title, not 4


def test_learning_lowers_the_loss_of_users_who_are_held_out(given):
    training = training_of(given, steps=80, learning_rate=1e-2)
    before = training.objective
    first = period_measures(before, "validation")["validation_loss"]
    for _ in range(80):
        training.update()
    assert period_measures(training.objective, "validation")["validation_loss"] < 0.9 * first


def test_too_few_users_for_a_batch_are_named(given):
    with pytest.raises(BadInput, match=r"32 training users .* batch_size is 64"):
        training_of(given, batch_size=64)


def test_the_arrays_hold_the_views_of_the_window_before_the_day(tmp_path):
    """A view from the day itself on is nowhere, and neither is its title: a planted leak."""
    places = Places(tmp_path)
    titles = {11: ["tea"], 22: ["red", "shoes"], 33: ["hat"], 44: ["leak"], 55: ["too", "old"]}
    write_sessions(
        places,
        [
            ("ann", [(3, 22), (2.999, 11)]),
            ("bob", [(50, 33)]),
            ("ann", [(90, 33)]),
            ("ann", [(0.001, 22), (-0.001, 44)]),  # a session that passes midnight
            ("bob", [(200, 55)]),
        ],
        titles,
    )
    pair = {"as_of": DAY, "user_id": "ann", "pair_id": 0}
    pair |= {"a_title_ids": [33], "b_title_ids": [22]}
    midnight = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
    pair |= {"a_event_times": [midnight - timedelta(days=90)]}
    pair |= {"b_event_times": [midnight - timedelta(days=3)]}
    write(places, "sequence_pairs", [pair])
    made = training_input(
        places.lake, DAY, places.arrays, max_words=30, max_views=100, with_histories=True
    )
    histories, ids = made.corpus.histories, made.corpus.title_ids
    assert ids.tolist() == [11, 22, 33]
    rows = sorted(ids[histories.titles[user]].tolist() for user in range(len(histories)))
    assert rows == [[33], [33, 22, 11, 22]]
    assert histories.times.max() < histories.end == midnight_microseconds(DAY)
    assert set(made.inputs) == {"sequence_pairs", "titles", "sessions"}
    plain = training_input(places.lake, DAY, places.arrays, max_words=30, max_views=100)
    assert plain.corpus.histories is None
    assert plain.content != made.content


def write_hosts(places, hosts):
    """`browsing_logs`: (days before DAY, title, host)."""
    midnight = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
    rows = []
    for nth, (days, title, host) in enumerate(hosts):
        at = midnight - timedelta(days=days)
        rows.append(
            {
                "event_date": at.date(),
                "log_id": nth,
                "user_id": "ann",
                "event_time": at,
                "title_id": title,
                "title": "t",
                "host": host,
                "landing_day": at.date(),
            }
        )
    write(places, "browsing_logs", rows)


def write_two_shops(places):
    """Forty users view shoes on one host and tea on another, and all of them a page without one."""
    sessions = [
        (f"user{user}", [(days, title)])
        for user in range(40)
        for days in range(3 + user % 5, 100, 9)
        for title in ([11, 22][user % 2], 33)[: 1 + days % 2]
    ]
    write_sessions(places, sessions, {11: ["shoe"], 22: ["tea"], 33: ["home"], 44: ["new"]})
    midnight = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
    pairs = [
        {"as_of": DAY, "user_id": f"user{user}", "pair_id": 0, "a_title_ids": [11, 33],
         "b_title_ids": [22], "b_event_times": [midnight - timedelta(days=3)],
         "a_event_times": [midnight - timedelta(days=days) for days in (9, 8)]}
        for user in range(40)
    ]  # fmt: skip
    write(places, "sequence_pairs", pairs)


def test_hosts_are_classes_where_a_setting_says_so(tmp_path):
    """The host that logs before the day name most often; what comes later is a planted leak."""
    places = Places(tmp_path)
    write_two_shops(places)
    shoes = [(9, 11, "shoes.example"), (8, 11, "shoes.example"), (7, 11, "tea.example")]
    later = [(-day, 11, "leak.example") for day in range(5)]
    write_hosts(places, [*shoes, *later, (5, 22, "tea.example"), (4, 33, None), (3, 44, "x")])
    config = replace(CONFIG, classes_of="host", steps=3, batch_size=4)
    given = training_input_for(config, places, DAY)
    corpus = given.corpus
    assert corpus.title_ids.tolist() == [11, 22, 33]
    assert corpus.title_hosts.tolist() == [0, 1, -1]  # shoes.example, tea.example, none
    assert given.inputs["browsing_logs"] == 0
    training = Training(given, config, Processes(), 1)
    found = training.objective.title_classes
    assert [found[title].tolist() for title in range(3)] == [[0], [1], []]
    assert training.model.class_words.tolist() == [2, 3] + [0] * 8
    folder = pretrain_model(given, config, tmp_path / "models", Processes(), threads=1)
    assert read_manifest(folder).settings["classes_of"] == "host"
    words = replace(config, classes_of="word")
    assert "classes_of" not in words.to_json()  # models of before keep their ids
    assert training_input_for(words, places, DAY).content != given.content


def test_logs_without_hosts_are_one_clear_line(tmp_path):
    places = Places(tmp_path)
    write_two_shops(places)
    write_hosts(places, [(9, 11, None)])
    config = replace(CONFIG, classes_of="host")
    with pytest.raises(BadInput, match=r"names no host .* --classes-of word"):
        training_input_for(config, places, DAY)


def test_ids_of_the_window_form_do_not_know_the_settings_of_the_memory_form():
    settings = PRESETS["small"].to_json()
    assert "class_weight" not in settings
    assert "half_lives" not in settings["model"]
    changed = replace(PRESETS["memory"], class_weight=5.0).to_json()
    assert changed["class_weight"] == 5.0
    assert vector_blocks(changed) == {"activity": slice(0, 64), "preference": slice(64, 256)}


def test_tasks_and_forms_must_fit():
    with pytest.raises(BadInput, match="mbp trains the form window, and form is memory"):
        replace(PRESETS["memory"], tasks=("mbp",))
    with pytest.raises(BadInput, match="next_period trains the form memory"):
        replace(PRESETS["small"], tasks=("next_period",))


def test_a_rival_that_would_be_another_one_once_more_is_left_out_with_a_note(given, tmp_path):
    judged = JudgedModel(
        "m", pretrain_model(given, CONFIG, tmp_path, Processes(), threads=1), False
    )
    with pytest.raises(RivalLeftOut, match="it is untrained_plain once more"):
        variant_folder(None, judged, DAY, "untrained_centered", tmp_path)


def test_every_variant_of_the_judge_is_a_training_that_can_be_had():
    """Other papers' tasks do not train the memory form: next to it they train a window."""
    configs = {name: variant_config(CONFIG, each) for name, each in MODEL_VARIANTS.items()}
    assert configs["untrained_plain"].model == CONFIG.model
    assert configs["ptum"].model.form == configs["cp"].model.form == "window"
    assert configs["cp"].tasks == ("cp",)


def test_the_id_follows_the_weights_of_the_tasks(given):
    ids = {model_id(replace(CONFIG, class_weight=weight), given) for weight in (20.0, 5.0)}
    assert len(ids) == 2


def test_rank_measures_are_those_of_the_libraries_ties_included():
    draw = np.random.default_rng(0)
    labels = draw.random((200, 4)) < 0.3
    scores = draw.integers(0, 20, (200, 4)) + 5 * labels
    assert roc_auc(labels[:, 0], scores[:, 0]) == pytest.approx(
        roc_auc_score(labels[:, 0], scores[:, 0]), abs=1e-12
    )
    assert mean_auc(labels, scores) == pytest.approx(
        roc_auc_score(labels, scores, average="macro"), abs=1e-12
    )
    assert spearman_correlation(scores[:, 0], scores[:, 1]) == pytest.approx(
        spearmanr(scores[:, 0], scores[:, 1]).statistic, abs=1e-12
    )
    assert roc_auc(np.zeros(3, bool), np.arange(3)) == 0.5
    assert NUM_DAYS > 28
