import io
import json
import shutil
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
from small_features import NO_FORECASTS
from small_lake import embedding, publish

import feature_store
from contracts.errors import BadInput, GateFailed, MissingTable
from contracts.tables import PUBLISHED_EMBEDDINGS, USER_EMBEDDINGS
from contracts.terminal.command_line import parse_options
from expectations.gate import run_gate
from model.objective.calibration import calibration_measures
from spark_jobs.registry.commands import _comparison_grid, judge, model_list
from spark_jobs.registry.model_card import model_card
from spark_jobs.registry.model_status import (
    rollback_target,
    rolled_back,
    with_champion,
    with_excluded,
    with_reason,
)
from spark_jobs.registry.online_store import refresh_online_store
from spark_jobs.registry.promotion import Registry, reason_not_to_promote
from spark_jobs.registry.promotion_criteria import reasons_against
from spark_jobs.registry.registration import folder_of_new_model, model_from_folder, with_registered
from spark_jobs.tables.models import (
    Model,
    champion_model,
    change_models,
    find_model,
    load_models,
    read_models,
)
from spark_jobs.tables.published_embeddings import published_models

MONDAY = date(2017, 6, 26)
GOOD = {"masked_accuracy": 0.5, "masked_chance": 0.2, "masked_behaviors": 1000.0}
GOOD |= {"matching_accuracy": 0.6, "matching_chance": 0.2, "matched_pairs": 1000.0}
GOOD |= {"effective_rank": 30.0}


def model(model_id, **measures):
    now = datetime(2017, 6, 26, 12, tzinfo=UTC)
    facts = {"path": "/m", "trained_before": MONDAY, "settings": '{"seed": 1}', "inputs": "{}"}
    facts |= {"vocabulary_hash": "0" * 64, "code_version": "abc"}
    facts |= {"measures": json.dumps(GOOD | measures)}
    return Model(model_id, now, "candidate", now, "registered", **facts)


@pytest.fixture
def registry(lake, places):
    return Registry(lake, places)


@pytest.fixture
def known(lake, places):
    def write(*models):
        change_models(lake, places, "test", lambda now: {**now, **{m.model_id: m for m in models}})

    return write


@pytest.fixture
def embed(spark, lake, places):
    def write(*models_and_days):
        """One user's vector each."""
        noon = datetime(2017, 6, 25, 12, tzinfo=UTC)
        rows = [
            (
                model_id,
                date(2017, 6, day),
                "ann",
                [1.0] + [0.0] * 255,
                1.0,
                1,
                noon,
                7,
                *NO_FORECASTS,
            )
            for model_id, day in models_and_days
        ]
        for model_id in {row[0] for row in rows}:
            ours = [row for row in rows if row[0] == model_id]
            frame = spark.createDataFrame(ours, USER_EMBEDDINGS.ddl)
            passed = run_gate(frame, USER_EMBEDDINGS, places=places, run="test")
            lake.replace(passed, f"model_id = '{model_id}'")

    return write


def statuses(lake):
    return {m.model_id: m.status for m in load_models(lake).values()}


def named(*models):
    return {m.model_id: m for m in models}


@pytest.mark.parametrize(
    ("new", "champion", "fault"),
    [
        ({}, None, []),
        ({}, {}, []),
        ({"matching_accuracy": 0.57}, {}, []),  # within what chance may do
        ({"matching_accuracy": 0.5}, {}, ["matching accuracy 0.500 is worse than the champion's"]),
        ({"effective_rank": 1.2}, None, ["collapsed: effective rank 1.20"]),
        ({"effective_rank": float("nan")}, None, ["collapsed"]),
        ({"effective_rank": 2.0, "matched_pairs": 20.0}, None, []),  # few users span little
        ({"masked_accuracy": 0.2}, None, ["masked accuracy 0.200 is not above chance"]),
        ({"matching_accuracy": 0.0, "matched_pairs": 3.0}, None, []),  # luck alone
        ({"matching_accuracy": float("nan")}, None, ["matching accuracy nan is not above chance"]),
    ],
)
def test_a_model_is_judged_by_rank_by_chance_and_by_the_champion(new, champion, fault):
    found = reasons_against(GOOD | new, None if champion is None else GOOD | champion)
    assert len(found) == len(fault)
    assert all(text.startswith(start) for text, start in zip(found, fault, strict=True))


@pytest.fixture
def trained(places):
    """The folder of a training that is finished."""
    import torch

    from model.config import PRESETS
    from model.data.vocabulary import Vocabulary
    from model.storage.checkpoint import Manifest, write_checkpoint
    from model.storage.checkpoint_files import WEIGHTS_FILE

    vocabulary = Vocabulary(("news",))
    manifest = Manifest(
        model_id="m1",
        trained_before=MONDAY,
        settings=PRESETS["tiny"].to_json(),
        inputs={"titles": 3},
        content="c",
        num_words=3,
        num_titles=0,
        measures=GOOD,
        vocabulary_hash=vocabulary.sha256,
    )
    folder = places.models / "m1"
    write_checkpoint(folder, manifest, vocabulary, {WEIGHTS_FILE: {"weight": torch.zeros(1)}})
    return folder


def test_a_training_is_registered_once_with_what_its_manifest_holds(trained):
    first = model_from_folder(trained)
    assert (first.status, first.trained_before) == ("candidate", MONDAY)
    assert json.loads(first.inputs) == {"titles": 3}
    assert with_registered(named(first), model_from_folder(trained)) == named(first)
    (trained / "weights.safetensors").write_bytes(b"other weights")
    with pytest.raises(BadInput, match="sha256"):
        model_from_folder(trained)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_id": "m2"}, "its model_id is 'm2', and the folder is m1"),
        ({"model_id": "../m1"}, "its model_id is '../m1'"),
        ({"model_id": 7}, "model_id is 7, and should be of type str"),
        ({"files": {"../../etc/passwd": "0" * 64}}, "'../../etc/passwd', which is no file of"),
        ({"files": {"/etc/passwd": "0" * 64}}, "'/etc/passwd', which is no file of"),
        ({"files": {"..": "0" * 64}}, "'..', which is no file of"),
        ({"files": {"link": "0" * 64}}, "link is a link to another place"),
        ({"files": {"weights.safetensors": 7}}, "weights.safetensors has no sha256"),
        ({"files": ["weights.safetensors"]}, "should be of type dict"),
        ({"trained_before": "soon"}, "trained_before is 'soon', and should be YYYY-MM-DD"),
        ({"inputs": {"titles": -1}}, "inputs names version -1 of 'titles'"),
        ({"measures": {"masked_accuracy": "good"}}, "'masked_accuracy' is 'good', and should be"),
        ({"settings": None}, "settings is None, and should be of type dict"),
    ],
)
def test_a_manifest_is_input_like_any_other(trained, change, message):
    manifest = json.loads((trained / "manifest.json").read_text())
    (trained / "manifest.json").write_text(json.dumps(manifest | change))
    (trained / "link").symlink_to("/etc/passwd")
    with pytest.raises(BadInput, match="cannot be used: ") as refused:
        model_from_folder(trained)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_folder_without_a_manifest_or_outside_of_the_models_is_no_model(trained, places):
    for text, message in (("{", "is no JSON"), ("[]", "is no JSON object")):
        (trained / "manifest.json").write_text(text)
        with pytest.raises(BadInput, match=message):
            model_from_folder(trained)
    with pytest.raises(MissingTable, match="m9 holds no model"):
        model_from_folder(places.models / "m9")
    for outside in ("../m1", "/tmp/m1", "", ".."):
        with pytest.raises(BadInput, match="is no model_id"):
            folder_of_new_model(places, outside)


def test_a_refused_model_says_why_for_good(registry, lake, known):
    known(model("m1", effective_rank=1.0))
    for _ in range(2):
        with pytest.raises(GateFailed, match="m1 is refused: collapsed"):
            registry.judge("m1")
    with pytest.raises(GateFailed, match="m1 was refused: collapsed"):
        registry.promote("m1", "test")
    assert statuses(lake) == {"m1": "refused"}


def test_readers_change_model_in_one_commit_and_only_when_no_day_is_lost(
    registry, lake, known, embed
):
    known(model("m1"), model("m2"))
    with pytest.raises(GateFailed, match="m1 was not judged; the champion stays"):
        registry.promote("m1", "test")
    registry.promote("m1", registry.judge("m1"))  # the first champion needs no vectors
    assert champion_model(load_models(lake)).status_reason.startswith("fit: masked accuracy 0.500")
    embed(("m1", 26), ("m1", 27), ("m2", 27))
    registry.promote("m1", "again")
    assert (published_models(lake), newest_write(lake)) == ({"m1"}, 1)

    registry.judge("m2")
    with pytest.raises(MissingTable, match=r"m2 has no vectors of 1 days .*: 2017-06-26"):
        registry.promote("m2", "test")
    assert statuses(lake) == {"m1": "champion", "m2": "candidate"}

    embed(("m2", 26), ("m2", 27))
    registry.promote("m2", "better")
    assert (published_models(lake), newest_write(lake)) == ({"m2"}, 2)
    assert statuses(lake) == {"m1": "retired", "m2": "champion"}

    change_models(lake, registry.places, "killed", lambda now: rolled_back(now, "m2", "m1"))
    assert published_models(lake) == {"m2"}  # whole, until the rollback is asked for again
    assert registry.rollback(allow_missing_days=True) == "m1"
    assert (published_models(lake), newest_write(lake)) == ({"m1"}, 3)
    assert statuses(lake) == {"m1": "champion", "m2": "retired"}

    with pytest.raises(GateFailed, match="m2 was not judged against the champion, m1"):
        registry.promote("m2", "test")
    change_models(lake, registry.places, "killed", lambda now: with_champion(now, "m2", "test"))
    assert registry.rollback(allow_missing_days=True) == "m1"  # and not forward to m2
    assert (published_models(lake), statuses(lake)["m1"]) == ({"m1"}, "champion")

    embed(("m2", 26))
    registry.promote("m2", "the boss wants it", force=True, allow_missing_days=True)
    assert champion_model(load_models(lake)).status_reason == (
        "forced: the boss wants it (m2 was not judged against the champion, m1)"
    )


def newest_write(lake):
    """How often published_embeddings was written; its creation is version 0."""
    return lake.version(PUBLISHED_EMBEDDINGS)


def test_a_rollback_goes_to_the_champion_before_and_then_to_the_one_before_that():
    models = named(model("m1"), model("m2"), model("m3"))
    for model_id in models:
        models = with_champion(models, model_id, "test")
    assert [m.model_id for m in rollback_target(models)] == ["m3", "m2"]
    models = rolled_back(models, "m3", "m2")
    assert [m.model_id for m in rollback_target(models)] == ["m2", "m1"]
    with pytest.raises(BadInput, match="m1 replaced no model that could come back: `userbert"):
        rollback_target(rolled_back(models, "m2", "m1"))


def test_a_rollback_returns_to_a_retired_or_judged_model_and_passes_over_a_refused_one():
    models = named(model("m1"), model("m2"), model("m3"))
    for model_id in models:
        models = with_champion(models, model_id, "test")
    models = with_excluded(models, "m2", "retired", "old")
    assert models["m2"].status_reason == "replaced by m3; old"
    models = with_reason(
        with_excluded(models, "m2", "retired", "older"), "m2", "fit: masked (m3: 0.5)"
    )
    assert [m.model_id for m in rollback_target(models)] == ["m3", "m2"]
    assert reason_not_to_promote(models, "m2") == ""
    models = with_excluded(models, "m2", "refused", "learned from someone who is forgotten")
    assert [m.model_id for m in rollback_target(models)] == ["m3", "m1"]
    assert (
        reason_not_to_promote(models, "m2") == "was refused: learned from someone who is forgotten"
    )
    with pytest.raises(BadInput, match=r"\(m2 is refused, m1 is refused\)"):
        rollback_target(with_excluded(models, "m1", "refused", "too"))


def test_a_model_is_fit_only_against_the_champion_that_it_was_judged_against():
    models = with_champion(named(model("m1"), model("m2"), model("m3")), "m1", "test")
    assert reason_not_to_promote(models, "m1") == ""
    assert reason_not_to_promote(models, "m2") == "was not judged against the champion, m1"
    models = with_reason(models, "m2", "fit: masked accuracy 0.500 (m1: 0.500)")
    assert reason_not_to_promote(models, "m2") == ""
    assert "champion, m3" in reason_not_to_promote(with_champion(models, "m3", "test"), "m2")


def test_the_champion_cannot_be_retired():
    models = with_champion(named(model("m1"), model("m2")), "m1", "test")
    with pytest.raises(BadInput, match="m1 is the champion"):
        with_excluded(models, "m1", "retired", "old")
    assert with_excluded(models, "m2", "retired", "old")["m2"].status_reason == "old"


def test_an_unknown_model_is_named_with_those_that_are_known():
    with pytest.raises(MissingTable, match=r"m9 is not registered \(known: m1\)"):
        find_model(named(model("m1")), "m9")


def test_the_list_the_card_and_the_comparison_show_the_measures():
    from rich.console import Console

    one, other = model("m1"), model("m2", effective_rank=12.5)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(model_list({"m1": one, "m2": other}), _comparison_grid(one, other))
    shown = console.export_text()
    assert "0.5, 0.6, 12.5" in shown
    assert "| effective_rank | 12.5 |" in model_card(other)
    assert "views from before 2017-06-26".casefold() in model_card(one).casefold()


def test_the_list_and_the_card_name_the_blocks_and_the_calibration():
    from rich.console import Console

    settings = json.dumps({"model": {"form": "memory", "activity_width": 64, "width": 256}})
    one = replace(model("m1"), settings=settings)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(model_list({"m1": one, "m2": model("m2")}))
    assert console.export_text().count("activity[0:64],preference[64:256]") == 1
    card = model_card(one)
    assert "Blocks, as Python's slices: `activity[0:64],preference[64:256]`" in card
    assert "Calibration" not in card
    facts = calibration_measures(np.full((4, 5), 0.5), np.ones((4, 5)))
    card = model_card(model("m2", **facts))
    assert "## Calibration of the forecasts on held-out users" in card
    assert "| 0.5 and 0.6 | 4 | 0.500 | 1.000 |" in card
    assert "forecast_no_view" not in card  # the table of measures leaves them to their section
    compared = _comparison_grid(model("m1"), model("m2", **facts)).columns[0]._cells
    names = [str(cell) for cell in compared]
    assert "forecast_views_28_days_absolute_error" in names
    assert not any("_bin_" in name for name in names)
    assert "## Vector" not in card


def test_the_registry_is_read_without_spark(lake, places, known, monkeypatch, capsys):
    from userbert.cli import main

    assert read_models(places) == {}
    known(model("m1"), model("m2", effective_rank=12.5))
    change_models(lake, places, "test", lambda now: with_champion(now, "m1", "[bold]so:x:[/]"))
    assert read_models(places) == load_models(lake)
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    monkeypatch.setattr("spark_jobs.spark.session.session", None)  # nobody may start one
    for words in (["list"], ["show", "m1"], ["compare", "m1", "m2"]):
        assert main(["models", *words]) == 0
    shown = capsys.readouterr().out
    assert shown.count("[bold]so:x:[/]") == 2
    assert main(["models", "show", "m9"]) == MissingTable.exit_code
    newest = max((places.root / "lake" / "models" / "_delta_log").glob("*.json"))
    newest.write_text('{"commitInfo"')
    assert main(["models", "list"]) == BadInput.exit_code
    error = capsys.readouterr().err
    assert newest.name in error
    assert "takes the table back to the version before it" in error


def test_a_forced_promotion_needs_a_reason(capsys):
    from userbert.cli import main

    assert main(["models", "promote", "m1", "--force", "--reason", " "]) == BadInput.exit_code
    assert "--force needs --reason TEXT" in capsys.readouterr().err


def test_the_online_store_follows_or_a_line_says_that_it_did_not(lake, places, monkeypatch):
    assert refresh_online_store(lake, places).startswith("The feature store is empty: `userbert")
    places.feature_store.mkdir()
    yaml = Path(feature_store.__file__).with_name("feature_store.yaml")
    shutil.copyfile(yaml, places.feature_store / yaml.name)
    assert refresh_online_store(lake, places).endswith("no vectors are published.")
    publish(places, [embedding("ann", MONDAY, [1.0])])
    line = refresh_online_store(lake, places)
    assert line.startswith("The online store has followed: ")
    monkeypatch.setattr("spark_jobs.registry.online_store.USERBERT_COMMAND", "/bin/false")
    line = refresh_online_store(lake, places)
    assert line.startswith("The online store still serves the model before: `userbert features ")
    assert "\n" not in line


def test_the_commands_are_those_that_the_dags_call():
    options = parse_options(judge, ["m1", "--register"])
    assert options == {"model_id": "m1", "register": True, "promote": False}
