"""The judge from end to end on a small lake: resumed, repeatable, and not to be fooled."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from small_judge import HORIZON_DAYS, NUM_USERS, comes_again, write_small_lake
from small_lake import write
from small_model import DAY, save

from analyst import open_lake
from contracts.errors import BadInput
from contracts.evaluation_settings import EvaluationSettings
from contracts.paths import Places
from downstream.data.views import read_views
from downstream.judging import cells
from downstream.judging.canaries import (
    JudgeFailed,
    must_be_chance_when_shuffled,
    must_not_hold_labels,
)
from downstream.judging.evaluation import evaluate_models
from downstream.output.markdown import as_markdown
from downstream.output.picture import draw_picture
from downstream.output.report import as_json, tables
from downstream.rivals.encoders import judged_model, model_vectors, variant_folder
from downstream.tasks.task import Task
from model.config import PRESETS
from model.data.build_corpus import training_input_for
from model.data.ragged import Ragged
from model.inference.embed_users import embed_users
from model.storage.checkpoint import load_model, read_manifest
from model.training.distributed import Processes
from model.training.pretrain import pretrain_model

SETTINGS = EvaluationSettings(
    horizon_days=HORIZON_DAYS,
    splits=2,
    tree_splits_of_many=1,
    canary_splits=1,
    label_shares=(1.0,),
    stale_days=(1,),
    tasks=("churn", "propensity"),
    rivals=("num_views", "aggregates", "word2vec", "joined"),
)


@pytest.fixture(scope="module")
def finished_root(tmp_path_factory):
    """A lake, a model and a finished run, which each test copies."""
    places = Places(tmp_path_factory.mktemp("judged"))
    write_small_lake(places)
    save(places, "m1")
    evaluate(places)
    return places.root


@pytest.fixture
def judged_places(finished_root, tmp_path):
    shutil.copytree(finished_root, tmp_path / "data")
    return Places(tmp_path / "data")


def evaluate(places, settings=SETTINGS, models=("m1",), as_of=DAY, processes=1):
    lines = []
    found = evaluate_models(open_lake(places), settings, models, as_of, processes, lines.append)
    return found, [line for line in lines if line.startswith("cell")]


def mean_of(found, rival, task, head="logistic"):
    (result,) = [
        r
        for r in found.results
        if (r.rival, r.task, r.head, r.label_share, r.population) == (rival, task, head, 1.0, "all")
    ]
    return result.mean


def test_a_run_judges_every_rival_and_a_second_one_gives_the_same_table(judged_places):
    found, made = evaluate(judged_places)
    assert made == []  # all cells are finished
    # Two tasks with five rivals, and the curve: two ages, three rivals, two tasks.
    assert len(list((found.shared_folder / "cells").iterdir())) == 5 * 2 + 2 * 3 * 2
    assert {r.rival for r in found.results} == {"m1", *SETTINGS.rivals, "recency_frequency"}
    # Aggregates hold the share of shoes, so they know who will view what; one number does not.
    assert mean_of(found, "aggregates", "propensity") > mean_of(found, "num_views", "propensity")
    assert {r.stale_days for r in found.results if r.population == "seen_early"} == {0, 1}
    assert any(r.population == "cold" for r in found.results)
    shutil.rmtree(found.shared_folder)
    anew, made = evaluate(judged_places, processes=2)
    assert len(made) == 22
    assert as_json(anew) == as_json(found)


def test_a_run_that_was_cut_short_goes_on_with_the_missing_cells(judged_places):
    found, _ = evaluate(judged_places)
    (cell,) = (found.shared_folder / "cells").glob("churn--aggregates--????????.json")
    cell.unlink()
    again, made = evaluate(judged_places)
    assert made == ["cell 22 of 22: churn--aggregates"]
    assert as_json(again) == as_json(found)
    more = replace(SETTINGS, rivals=(*SETTINGS.rivals, "tfidf_all"))
    _, made = evaluate(judged_places, more)
    assert [line.split(": ")[1] for line in made] == ["churn--tfidf_all", "propensity--tfidf_all"]


def test_another_model_is_judged_against_the_same_rivals_by_its_own_cells_alone(judged_places):
    found, _ = evaluate(judged_places)
    save(judged_places, "m2", word_width=10)
    both, made = evaluate(judged_places, models=("m2", "m1"))
    assert {line.split("--")[1] for line in made} == {"m2", "joined"}  # and `joined`, which has m2
    assert both.evaluation_id != found.evaluation_id
    for rival in ("m1", "aggregates", "word2vec"):
        assert mean_of(both, rival, "churn") == mean_of(found, rival, "churn")
    again, made = evaluate(judged_places)
    assert made == []
    assert as_json(again) == as_json(found)


def test_a_report_has_every_task_and_rival_in_each_form(judged_places, tmp_path):
    found, _ = evaluate(judged_places)
    text = as_markdown(found)
    assert "## lightgbm, 100% of the labels" in text
    assert "| aggregates |" in text
    assert any("Borda" in part for part in tables(found) if isinstance(part, str))
    assert json.loads(as_json(found))["tasks"]["churn"] == "no view in the next 3 days"
    draw_picture(found, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"


def test_the_judges_vectors_are_those_of_the_newest_views(judged_places):
    lake = open_lake(judged_places)
    views = read_views(lake, DAY, HORIZON_DAYS, 1000)
    trained = load_model(judged_places.models / "m1")
    past = views.before(DAY)
    vectors = model_vectors(trained, past, DAY)
    user = 7
    titles = past.catalog.title_ids[past.titles[past.offsets[user] : past.offsets[user + 1]]]
    alone = embed_users(trained, Ragged.of([titles]), past.catalog.title_ids, past.catalog.words)
    assert vectors[user] == pytest.approx(alone.vectors[0], abs=1e-5)
    assert len(vectors) == NUM_USERS  # everybody, not those of the day before alone


def test_a_label_that_was_planted_in_a_vector_stops_the_run(judged_places):
    found, _ = evaluate(judged_places)
    path = found.shared_folder / "vectors" / "word2vec-0.npy"
    vectors = np.load(path)
    churned = np.array([not comes_again(number) for number in range(NUM_USERS)])
    vectors[:, 1] = churned + 0.01 * vectors[:, 1]
    np.save(path, vectors)
    with pytest.raises(JudgeFailed, match="word2vec holds the label 'churn' of task churn: nu"):
        evaluate(judged_places)
    # Spread over all directions no single number shows it, but a head finds it.
    random = np.random.default_rng(0)
    spread = vectors[:, 1:2] * random.standard_normal((1, 40)) + random.standard_normal((120, 40))
    np.save(path, (spread + np.zeros((120, 40))).astype(np.float32))
    with pytest.raises(JudgeFailed, match=r"word2vec (holds|scores)"):
        evaluate(judged_places)


def test_a_number_that_was_planted_is_found_in_either_direction():
    users = np.arange(50)
    task = Task("spend", "number", users, np.random.default_rng(0).random((50, 1)), ("spend",), "")
    vectors = np.random.default_rng(1).standard_normal((50, 4))
    must_not_hold_labels(task, "ours", vectors)
    vectors[:, 2] = -task.labels[:, 0]
    with pytest.raises(JudgeFailed, match=r"number 2 of the vector alone scores 1\.000"):
        must_not_hold_labels(task, "ours", vectors)


def test_a_judge_that_sees_test_labels_is_found_by_shuffled_ones(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    np.save(tmp_path / "wide.npy", random.standard_normal((600, 900)).astype(np.float32))
    labels = random.integers(0, 2, (600, 1)).astype(float)
    task = Task("churn", "binary", np.arange(600), labels, ("churn",), "")
    settings = replace(SETTINGS, canary_splits=4)
    cell = cells.Cell(task, "m1", tmp_path / "wide.npy", "", np.ones(600, np.int64), settings)
    assert must_be_chance_when_shuffled(cell) == pytest.approx(0.5, abs=0.08)
    split = cells.user_split

    def split_that_leaks(num_users, seed, number):
        whole = split(num_users, seed, number)
        return replace(whole, train=np.concatenate([whole.train, whole.test]))

    monkeypatch.setattr(cells, "user_split", split_that_leaks)
    with pytest.raises(JudgeFailed, match="with shuffled labels m1 scores"):
        must_be_chance_when_shuffled(cell)


def test_a_task_that_aggregates_solve_is_reported_and_does_not_count(judged_places):
    lake = open_lake(judged_places)
    views = read_views(lake, DAY, HORIZON_DAYS, 1000).before(DAY)
    judged_places.labels.mkdir()
    rows = [f"{u},{int(n > 6)}" for u, n in zip(views.user_ids, views.counts(), strict=True)]
    (judged_places.labels / "many.csv").write_text("\n".join(["user_id,value", *rows]) + "\n")
    settings = 'kind = "binary"\nis_static = true\ndoc = "many views before the cut"\n'
    (judged_places.labels / "many.toml").write_text(settings)
    found, _ = evaluate(judged_places, replace(SETTINGS, tasks=("churn", "many")))
    assert found.leaking == ("many",)
    assert "LEAKING: aggregates all but solve many" in as_markdown(found)
    only_churn, _ = evaluate(judged_places, replace(SETTINGS, tasks=("churn",)))
    assert found.borda == only_churn.borda


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ("chrun",)}, "there is no task chrun; the tasks are propensity, preference"),
        ({"rivals": ("bert",)}, "there is no rival bert; the rivals are num_views"),
    ],
)
def test_an_unknown_name_is_one_clear_line(judged_places, changes, message):
    with pytest.raises(BadInput, match=message):
        evaluate(judged_places, replace(SETTINGS, **changes))


def test_a_cut_without_later_views_names_the_newest_that_has_them(judged_places):
    with pytest.raises(BadInput, match=r"leaves fewer than 3 days .* is 2026-01-06"):
        evaluate(judged_places, as_of=DAY + timedelta(days=1))


def test_coles_without_its_environment_is_a_note_and_no_failure(judged_places, monkeypatch):
    monkeypatch.delenv("USERBERT_PEERS", raising=False)
    found, _ = evaluate(judged_places, replace(SETTINGS, rivals=("num_views", "coles")))
    assert "benchmarks/peers/make_environment.sh" in found.notes[0]
    assert "coles" not in {r.rival for r in found.results}


def pairs(as_of):
    """A pair a user, of three views before `as_of`."""
    rows, day = [], datetime(as_of.year, as_of.month, as_of.day, tzinfo=UTC)
    for number in range(40):
        titles = [11, 11, 33] if number % 2 else [22, 33, 22]
        times = [day - timedelta(days=3 - place) for place in range(3)]
        rows.append({
            "as_of": as_of, "user_id": f"user-{number:03d}", "pair_id": 0,
            "a_title_ids": titles[:2], "a_event_times": times[:2], "b_title_ids": titles[2:],
            "b_event_times": times[2:], "a_start": times[0], "a_end": times[1],
            "b_start": times[2], "b_end": times[2],
        })  # fmt: skip
    return rows


def test_a_model_that_saw_the_labels_days_is_judged_by_its_twin(judged_places):
    cut = DAY - timedelta(days=1)
    write(judged_places, "sequence_pairs", pairs(DAY))
    write(judged_places, "sequence_pairs", pairs(cut))
    tiny = PRESETS["tiny"]
    config = replace(tiny, steps=2, model=replace(tiny.model, behavior_encoder="cnn"))
    given = training_input_for(config, judged_places, DAY)
    later = pretrain_model(given, config, judged_places.models, Processes())
    lake, out = open_lake(judged_places), judged_places.evaluations / "models"
    itself = judged_model(lake, later.name, DAY, out)
    assert (itself.folder, itself.is_twin) == (later, False)
    twin = judged_model(lake, later.name, cut, out)
    assert twin.is_twin
    assert read_manifest(twin.folder).trained_before == cut
    assert read_manifest(twin.folder).settings == read_manifest(later).settings
    untrained = read_manifest(variant_folder(lake, twin, cut, "untrained_centered", out))
    assert (untrained.config.steps, untrained.config.first_weights) == (0, "centered")
    assert untrained.vocabulary_hash == read_manifest(twin.folder).vocabulary_hash
    found, _ = evaluate(judged_places, replace(SETTINGS, tasks=("propensity",)), (later.name,), cut)
    assert found.twins == (later.name,)
    assert "trained on views after 2026-01-05" in as_markdown(found)
