"""Real trainings of a tiny model, in processes of their own where they are killed."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_corpus import DAY, interests

from contracts.errors import BadInput
from contracts.paths import Places
from contracts.terminal.command_line import parse_options
from model.config import PRESETS
from model.config_options import config_from_options
from model.objective.trace_check import TRACE_RULES, check_trace_file
from model.storage.checkpoint import BrokenCheckpoint, load_model, read_manifest, read_tensors
from model.training.distributed import Processes
from model.training.evaluation import draw_questions, evaluate_model
from model.training.pretrain import (
    AlreadyTraining,
    TrainingStopped,
    _save,
    main,
    model_id,
    pretrain_model,
    run_pretraining,
)
from model.training.run_log import RunLog
from model.training.trainer import Training
from userbert.cli import main as command_line

ROOT = Path(__file__).parents[1]
STEPS = 12
FLAGS = [
    *("--preset", "tiny", "--steps", str(STEPS), "--width", "16", "--batch-size", "8"),
    *("--refresh-interval", "5", "--sequence-pool", "20", "--behavior-pool", "30"),
    *("--checkpoint-interval", "4", "--validation-interval", "6", "--as-of", str(DAY)),
]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return Places(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def given(places):
    return interests(places)


def config(**settings):
    return replace(config_from_options(parse_options(run_pretraining, FLAGS)), **settings)


@pytest.fixture
def double_precision():
    """For trainings to be compared: Adam divides by a gradient's size, so that in single precision
    rounding alone decides the steps of a weight whose gradient is near nothing."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def signal_after(step, number):
    """Make this process send itself a signal as soon as it has logged `step`."""
    log_step = RunLog.step

    def log_and_send(log, done, facts):
        log_step(log, done, facts)
        if done == step:
            os.kill(os.getpid(), number)

    RunLog.step = log_and_send


TORCHRUN = """
import model, sys, torch
torch.set_default_dtype(torch.float64)
from test_pretraining import signal, signal_after
from contracts.terminal.command_line import parse_options
from model.training.pretrain import main
signal_after(STEP, signal.SIGTERM)
main(**parse_options(main, sys.argv[1:]))
"""


def two_processes(places, out, *more, stop_after=0):
    """Run a training by torchrun, double precision; the first process may be asked to stop."""
    run = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python"]
    code = TORCHRUN.replace("STEP", str(stop_after))
    path = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    return subprocess.run(
        [sys.executable, *run, sys.executable, "-c", code, *FLAGS, "--out", str(out), *more],
        env=os.environ | {"USERBERT_DATA": str(places.root)} | path,
        capture_output=True,
        text=True,
        check=False,
    )


def killed_after(step, given, settings, out, trace):
    """Train in a process of its own (a fork: importing torch takes seconds) that is killed -9."""

    def train():
        signal_after(step, signal.SIGKILL)
        pretrain_model(given, settings, out, Processes(), threads=1, trace=trace)

    training = multiprocessing.get_context("fork").Process(target=train)
    training.start()
    training.join()
    return training.exitcode


@pytest.fixture(scope="module")
def unbroken(places, given, tmp_path_factory):
    """The folder of a training that nothing disturbed."""
    out = tmp_path_factory.mktemp("unbroken")
    return pretrain_model(given, config(), out, Processes(), threads=1, trace=out / "trace")


def trace_of(folder):
    return folder.parent / "trace" / "rank-0.jsonl"


def weights(folder):
    return read_tensors(folder, "weights.safetensors")


def assert_same_training(one, other):
    assert (one / "log.jsonl").read_bytes() == (other / "log.jsonl").read_bytes()
    for name, value in weights(one).items():
        assert torch.equal(value, weights(other)[name]), name
    assert read_manifest(one).measures == read_manifest(other).measures


def test_a_second_training_of_a_model_ends_at_once_and_disturbs_nothing(given, unbroken, tmp_path):
    inside = tmp_path / f"{unbroken.name}.training"
    refused = []

    def try_again(log, step, facts):
        with pytest.raises(AlreadyTraining, match="another process trains this model") as error:
            pretrain_model(given, config(), tmp_path, Processes(), threads=1)
        refused.append((error.value.exit_code, inside.is_dir()))
        log_step(log, step, facts)

    log_step, RunLog.step = RunLog.step, try_again
    try:
        folder = pretrain_model(given, config(), tmp_path, Processes(), threads=1)
    finally:
        RunLog.step = log_step
    assert refused == [(1, True)] * STEPS
    assert_same_training(folder, unbroken)


def test_a_finished_training_cannot_be_recorded_afterwards(given, unbroken, tmp_path):
    again = (given, config(), unbroken.parent, Processes())
    assert pretrain_model(*again, trace=unbroken.parent / "trace") == unbroken
    with pytest.raises(BadInput, match="would get no record of it: train the model once more"):
        pretrain_model(*again, trace=tmp_path)


def test_killed_at_three_steps_and_resumed_it_is_the_unbroken_training(given, unbroken, tmp_path):
    trace = tmp_path / "trace"
    for step in (2, 5, 9):  # before the first checkpoint, after it, and after another refresh
        assert killed_after(step, given, config(), tmp_path, trace) == -signal.SIGKILL
        assert not (tmp_path / unbroken.name).exists()
    resumed = pretrain_model(given, config(), tmp_path, Processes(), threads=1, trace=trace)
    assert_same_training(resumed, unbroken)
    assert trace_of(resumed).read_bytes() == trace_of(unbroken).read_bytes()


def test_the_trace_of_a_training_keeps_every_rule(places, unbroken):
    run, found = check_trace_file(trace_of(unbroken), places)
    assert (run["model_id"], run["process"]) == (unbroken.name, "0 of 1")
    assert found.cases == []
    assert found.broken.total() == 0
    assert (found.looked["every step"], found.looked["apart in time"]) == (STEPS, STEPS * 8)
    unasked = {"other user's title"}  # which a setting asks of, and not by default
    assert {rule for rule in TRACE_RULES if not found.looked[rule]} == unasked


def test_a_trace_that_was_changed_is_named_by_rule_and_exit_code(
    places, unbroken, tmp_path, monkeypatch, capsys
):
    lines = trace_of(unbroken).read_text().splitlines()
    changed = tmp_path / "rank-0.jsonl"
    nth, event = next(
        (nth, event) for nth, event in enumerate(map(json.loads, lines)) if "targets" in event
    )
    event["pool"][event["chosen"][2][0]] = event["targets"][2]
    changed.write_text("\n".join([*lines[:nth], json.dumps(event), *lines[nth + 1 :]]))
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    assert command_line(["trace", "check", str(changed)]) == 3
    printed = capsys.readouterr()
    assert "step 0, target 2: other title" in printed.out
    assert "found a rule broken" in printed.err
    changed.write_text("{}")
    assert command_line(["trace", "check", str(changed)]) == 2


def test_half_a_trace_is_refused(given, tmp_path):
    assert killed_after(5, given, config(), tmp_path, None) == -signal.SIGKILL
    with pytest.raises(BadInput, match=r"goes on at step 4.*without --trace"):
        pretrain_model(given, config(), tmp_path, Processes(), threads=1, trace=tmp_path / "trace")


def test_sigterm_writes_a_checkpoint_after_the_step_under_way(
    given, unbroken, tmp_path, monkeypatch
):
    monkeypatch.setattr(RunLog, "step", RunLog.step)  # put back what signal_after replaces
    signal_after(7, signal.SIGTERM)
    with pytest.raises(
        TrainingStopped, match="after step 8 of 12; the same command goes on"
    ) as stopped:
        pretrain_model(given, config(), tmp_path, Processes(), threads=1)
    assert stopped.value.exit_code == 128 + signal.SIGTERM
    newest = max(tmp_path.glob("*.training/step-*"))
    assert read_manifest(newest).progress["step"] == 8
    assert_same_training(
        pretrain_model(given, config(), tmp_path, Processes(), threads=1), unbroken
    )


def test_a_training_ranks_its_pools_as_it_began_also_on_another_kind_of_machine(
    given, unbroken, tmp_path, monkeypatch
):
    """`auto` is settled once, by the machine that begins, and the manifest says what it came to."""
    machine = "model.objective.negatives._has_fast_bfloat16"
    monkeypatch.setattr(machine, lambda: True)
    assert killed_after(5, given, config(), tmp_path, None) == -signal.SIGKILL
    monkeypatch.setattr(machine, lambda: False)
    moved = pretrain_model(given, config(), tmp_path, Processes(), threads=1)
    assert moved.name == unbroken.name  # the settings asked for are the same
    assert read_manifest(moved).config.ranking_dtype == "bfloat16"
    other = pretrain_model(given, config(), tmp_path / "other", Processes(), threads=1)
    assert read_manifest(other).config.ranking_dtype == "float32"


def test_two_processes_stopped_and_resumed_train_as_one(places, given, tmp_path, double_precision):
    """Half the batch each; the negatives that both had chosen at the refresh are found again."""
    flags = ("--dropout", "0", "--refresh-interval", "50", "--threads", "1", "--device", "cpu")
    stopped = two_processes(places, tmp_path / "two", *flags, stop_after=5)
    assert "the same command goes on from there" in stopped.stderr
    resumed = two_processes(places, tmp_path / "two", *flags)
    assert resumed.returncode == 0, resumed.stderr
    settings = replace(config(refresh_interval=50), model=replace(config().model, dropout=0.0))
    one = pretrain_model(given, settings, tmp_path / "one", Processes(), threads=1)
    assert resumed.stdout.splitlines()[-1] == one.name
    for key, value in weights(one).items():
        theirs = weights(tmp_path / "two" / one.name)[key]
        torch.testing.assert_close(theirs, value, rtol=0, atol=1e-6)


def test_micro_batches_add_up_to_the_whole_batch(given, double_precision):
    still = replace(config().model, dropout=0.0)
    whole = Training(given, config(model=still), Processes(), 1)
    parts = Training(given, config(model=still, accumulation=4), Processes(), 1)
    for _ in range(3):
        one, four = whole.update(), parts.update()
        assert four["loss"] == pytest.approx(one["loss"], abs=1e-6)
        assert four["mbp_targets"] == one["mbp_targets"]
    for ours, theirs in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_shares_have_no_pair_in_common_and_make_up_the_batch(given):
    trainings = [
        Training(given, config(), Processes(rank=rank, world=2, local_world=2), 1)
        for rank in range(2)
    ]
    batches = [training.objective.batches for training in trainings]
    for step in range(STEPS):
        ours, theirs = (each.share(step) for each in batches)
        assert not set(ours) & set(theirs)
        assert sorted([*ours, *theirs]) == sorted(batches[0].whole(step))


def test_training_learns_the_planted_interests(tmp_path):
    """With random negatives: of four interests, the hardest negatives are of the right one."""
    given = interests(Places(tmp_path / "data"), users=200)
    settings = config(steps=150, validation_interval=0, learning_rate=1e-2, negatives="random")
    folder = pretrain_model(given, settings, tmp_path, Processes(), threads=1)
    untrained = pretrain_model(given, replace(settings, steps=0), tmp_path, Processes(), threads=1)
    trained, before = (read_manifest(each).measures for each in (folder, untrained))
    assert (trained["steps"], before["steps"]) == (150, 0)
    assert trained["masked_accuracy"] > 0.4 > before["masked_accuracy"]
    assert trained["matching_accuracy"] > 0.5 > before["matching_accuracy"]


def test_held_out_users_are_never_trained_on(given):
    training = Training(given, config(), Processes(), 1)
    held_out = set(given.held_out_pairs.tolist())
    assert held_out
    for step in range(100):
        assert not held_out & set(training.objective.batches.whole(step).tolist())


def test_a_finished_training_is_not_repeated(given, unbroken, capfd):
    before = {path: path.stat().st_mtime_ns for path in unbroken.rglob("*")}
    assert pretrain_model(given, config(), unbroken.parent, Processes()) == unbroken
    assert {path: path.stat().st_mtime_ns for path in unbroken.rglob("*")} == before


def test_the_command_tells_the_model_s_id_last(places, unbroken, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    main(**parse_options(main, [*FLAGS, "--out", str(unbroken.parent)]))
    lines = capsys.readouterr().out.splitlines()
    assert "was finished before; nothing to do" in lines[0]
    assert lines[-1] == unbroken.name


def test_the_id_follows_from_settings_input_and_the_version_of_the_objective(given, monkeypatch):
    ids = {
        model_id(config(), given),
        model_id(config(seed=1), given),
        model_id(config(), replace(given, content="other")),
    }
    monkeypatch.setattr("model.training.pretrain.OBJECTIVE_VERSION", 999)
    ids.add(model_id(config(), given))
    monkeypatch.undo()
    assert len(ids) == 4
    assert model_id(config(), replace(given, inputs={"titles": 9})) in ids
    assert model_id(PRESETS["paper"], given).startswith(f"nrms-{DAY}-")


def test_a_checkpoint_of_other_settings_is_refused(given, tmp_path):
    """As where someone copied a folder under another model's name."""
    ours, theirs = config(), config(seed=1)
    training = Training(given, ours, Processes(), 1)
    training.update()
    working = tmp_path / f"{model_id(theirs, given)}.training"
    with RunLog(working, 0, 1, 0, show=False) as log:
        _save(training, model_id(theirs, given), working, log)
    with pytest.raises(BrokenCheckpoint, match="seed is 0, not 1"):
        pretrain_model(given, theirs, tmp_path, Processes(), threads=1)


def test_a_bar_in_a_file_is_a_line_for_each_state(tmp_path, capsys):
    with RunLog(tmp_path, 0, 4, 0, show=True) as log:
        log._bar.mininterval = 0
        log._bar.update(3)
    states = capsys.readouterr().err.splitlines()
    assert len(states) >= 2
    assert all(state.startswith("pre-training: ") and "/4 [" in state for state in states)


@pytest.mark.parametrize("damage", ["truncated", "no manifest", "torn manifest", "empty"])
def test_a_damaged_newest_checkpoint_gives_way_to_the_whole_one_before_it(
    given, unbroken, tmp_path, capsys, damage
):
    assert killed_after(11, given, config(), tmp_path, None) == -signal.SIGKILL
    (working,) = tmp_path.glob("*.training")
    before, newest = sorted(working.glob("step-*"))
    if damage == "truncated":
        os.truncate(newest / "weights.safetensors", 100)
    elif damage == "torn manifest":
        os.truncate(newest / "manifest.json", 100)
    elif damage == "no manifest":
        (newest / "manifest.json").unlink()
    else:
        shutil.rmtree(newest)
        newest.mkdir()
    (working / "log.jsonl").unlink()  # the checkpoint has its own
    resumed = pretrain_model(given, config(), tmp_path, Processes(), threads=1)
    assert (
        f"{newest} is damaged: the training goes on from {before.name}" in capsys.readouterr().err
    )
    assert_same_training(resumed, unbroken)


def test_a_training_without_a_whole_checkpoint_is_refused_unless_it_begins_anew(
    given, unbroken, tmp_path
):
    assert killed_after(5, given, config(), tmp_path, None) == -signal.SIGKILL
    (newest,) = tmp_path.glob("*.training/step-*")
    (newest / "manifest.json").unlink()
    with pytest.raises(BrokenCheckpoint, match=r"no whole checkpoint to go on from; --no-resume"):
        pretrain_model(given, config(), tmp_path, Processes(), threads=1)
    anew = pretrain_model(given, config(), tmp_path, Processes(), threads=1, resume=False)
    assert_same_training(anew, unbroken)


def test_without_a_held_out_user_a_training_ends_before_its_first_step(tmp_path):
    given = interests(Places(tmp_path / "data"), users=3)
    with pytest.raises(BadInput, match=r"of 3 users with pairs none is among the 10 %"):
        pretrain_model(given, config(), tmp_path, Processes(), threads=1)
    assert list(tmp_path.iterdir()) == [tmp_path / "data"]


def test_held_out_users_that_validate_and_test_as_well_are_a_warning(given, tmp_path, capsys):
    for test_pairs, is_warned in ((given.test_pairs, False), (given.validation_pairs, True)):
        few = replace(given, test_pairs=test_pairs)
        pretrain_model(few, config(steps=0), tmp_path / str(is_warned), Processes(), threads=1)
        warning = "so few are held out that the same ones validate and test"
        assert (warning in capsys.readouterr().err) is is_warned


def test_the_model_s_measures_are_of_test_users_and_validation_s_stand_next_to_them(
    given, unbroken
):
    measures, loaded = read_manifest(unbroken).measures, load_model(unbroken)
    asked = draw_questions(given.corpus, given.test_pairs, config().validation_pairs)
    again = evaluate_model(loaded.model, asked, "test")
    assert {name: measures[name] for name in again} == pytest.approx(again)
    assert measures["validation_loss"] != measures["test_loss"]
    assert not set(given.validation_pairs) & set(given.test_pairs)
    assert measures["learned_from_test_pairs"] == len(given.test_pairs)


def test_early_stopping_keeps_the_weights_of_the_best_look(given, tmp_path):
    settings = config(steps=60, validation_interval=2, patience=1, learning_rate=1.0)
    folder = pretrain_model(given, settings, tmp_path, Processes(), threads=1)
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    looks = [line for line in lines if "held_out" in line]
    assert looks[-1]["step"] < 60
    best = min(looks, key=lambda look: look["held_out"]["validation_loss"])
    measures = read_manifest(folder).measures
    assert measures["steps"] == best["step"]
    assert measures["validation_loss"] == best["held_out"]["validation_loss"]
    asked = draw_questions(given.corpus, given.validation_pairs, settings.validation_pairs)
    again = evaluate_model(load_model(folder).model, asked)  # the weights that were kept
    assert again["validation_loss"] == pytest.approx(measures["validation_loss"], rel=1e-5)
    asked = draw_questions(given.corpus, given.test_pairs, settings.validation_pairs)
    again = evaluate_model(load_model(folder).model, asked, "test")
    assert again["test_loss"] == pytest.approx(measures["test_loss"], rel=1e-5)


def test_the_learning_rate_rises_over_the_warm_up_and_falls_over_the_cooldown(given):
    plan = config(steps=8, warmup_steps=4, cooldown_steps=2, learning_rate=0.4)
    training = Training(given, plan, Processes(), 1)
    rates = [training.update()["learning_rate"] for _ in range(8)]
    np.testing.assert_allclose(rates, [0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4, 0.2])


def test_bfloat16_comes_close_to_float32(given):
    wide, narrow = (
        Training(given, config(dtype=dtype), Processes(), 1) for dtype in ("float32", "bfloat16")
    )
    assert narrow.update()["loss"] == pytest.approx(wide.update()["loss"], rel=0.02)
    assert next(narrow.model.parameters()).dtype == torch.float32


def test_an_id_encoder_s_titles_are_kept_with_the_model(given, tmp_path):
    tiny = config(steps=2)
    tiny = replace(tiny, model=replace(tiny.model, behavior_encoder="id"))
    loaded = load_model(pretrain_model(given, tiny, tmp_path, Processes(), threads=1))
    assert loaded.title_ids.tolist() == given.corpus.title_ids.tolist()
