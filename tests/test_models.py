import io
import json
from datetime import UTC, date, datetime

import pytest

from contracts.command_line import parse_options
from contracts.errors import BadInput, GateFailed, MissingTable
from contracts.tables import PUBLISHED_EMBEDDINGS, USER_EMBEDDINGS
from expectations.gate import check
from spark_jobs.registry.commands import (
    Registry,
    comparison,
    from_folder,
    judge,
    listing,
    registered,
)
from spark_jobs.registry.model_status import (
    Model,
    before_champion,
    champion_of,
    change,
    crowned,
    find,
    rolled_back,
    set_aside,
    standing,
)
from spark_jobs.registry.promotion_criteria import faults
from spark_jobs.tables.published_embeddings import spaces

MONDAY = date(2017, 6, 26)
GOOD = {"masked_accuracy": 0.5, "masked_chance": 0.2, "masked_behaviors": 1000.0}
GOOD |= {"matching_accuracy": 0.6, "matching_chance": 0.2, "matched_pairs": 1000.0}
GOOD |= {"effective_rank": 30.0}


def model(model_id, **measures):
    now = datetime(2017, 6, 26, 12, tzinfo=UTC)
    facts = {"path": "/m", "trained_before": MONDAY, "settings": '{"seed": 1}', "inputs": "{}"}
    facts |= {"vocabulary_hash": "0" * 64, "code_version": "abc"}
    told = json.dumps(GOOD | measures)
    return Model(model_id, now, "candidate", now, "registered", measures=told, **facts)


@pytest.fixture
def registry(lake, places):
    return Registry(lake, places)


@pytest.fixture
def known(lake, places):
    def write_checkpoint(*models):
        change(lake, places, "test", lambda now: {**now, **{m.model_id: m for m in models}})

    return write_checkpoint


@pytest.fixture
def embed(spark, lake, places):
    def write_checkpoint(*models_and_days):
        """One user's vector each."""
        noon = datetime(2017, 6, 25, 12, tzinfo=UTC)
        rows = [
            (model_id, date(2017, 6, day), "ann", [1.0] + [0.0] * 255, 1.0, 1, noon, 7)
            for model_id, day in models_and_days
        ]
        for model_id in {row[0] for row in rows}:
            ours = [row for row in rows if row[0] == model_id]
            frame = spark.createDataFrame(ours, USER_EMBEDDINGS.ddl)
            passed = check(frame, USER_EMBEDDINGS, places=places, run="test")
            lake.replace(passed, f"model_id = '{model_id}'")

    return write_checkpoint


def statuses(lake):
    return {m.model_id: m.status for m in standing(lake).values()}


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
    found = faults(GOOD | new, None if champion is None else GOOD | champion)
    assert len(found) == len(fault)
    assert all(text.startswith(start) for text, start in zip(found, fault, strict=True))


def test_a_training_is_registered_once_with_what_its_manifest_tells(tmp_path):
    import torch

    from model.checkpoint import Manifest, write_checkpoint
    from model.checkpoint_files import WEIGHTS_FILE
    from model.config import PRESETS
    from model.data.vocabulary import Vocabulary

    vocabulary = Vocabulary(("news",))
    told = Manifest(
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
    write_checkpoint(tmp_path / "m1", told, vocabulary, {WEIGHTS_FILE: {"weight": torch.zeros(1)}})
    first = from_folder(tmp_path / "m1")
    assert (first.status, first.trained_before) == ("candidate", MONDAY)
    assert json.loads(first.inputs) == {"titles": 3}
    assert registered(named(first), from_folder(tmp_path / "m1")) == named(first)
    (tmp_path / "m1" / WEIGHTS_FILE).write_bytes(b"other weights")
    with pytest.raises(BadInput, match="sha256"):
        from_folder(tmp_path / "m1")


def test_a_refused_model_says_why_for_good(registry, lake, known):
    known(model("m1", effective_rank=1.0))
    for _ in range(2):
        with pytest.raises(GateFailed, match="m1 is refused: collapsed"):
            registry.judge("m1")
    with pytest.raises(BadInput, match="m1 was refused"):
        registry.promote("m1", "test")
    assert statuses(lake) == {"m1": "refused"}


def test_readers_change_model_in_one_commit_and_only_when_no_day_is_lost(
    registry, lake, known, embed
):
    known(model("m1"), model("m2"))
    registry.promote("m1", registry.judge("m1"))  # the first champion needs no vectors
    assert champion_of(standing(lake)).status_reason.startswith("fit: masked accuracy 0.500")
    embed(("m1", 26), ("m1", 27), ("m2", 27))
    registry.promote("m1", "again")
    assert (spaces(lake), lake.version(PUBLISHED_EMBEDDINGS)) == ({"m1"}, 1)

    with pytest.raises(MissingTable, match=r"m2 has no vectors of 1 days .*: 2017-06-26"):
        registry.promote("m2", "test")
    assert statuses(lake) == {"m1": "champion", "m2": "candidate"}

    embed(("m2", 26), ("m2", 27))
    registry.promote("m2", "better")
    assert (spaces(lake), lake.version(PUBLISHED_EMBEDDINGS)) == ({"m2"}, 2)
    assert statuses(lake) == {"m1": "retired", "m2": "champion"}

    change(lake, registry.places, "killed", lambda now: rolled_back(now, "m2", "m1"))
    assert spaces(lake) == {"m2"}  # whole, until the rollback is asked for again
    assert registry.rollback() == "m1"
    assert (spaces(lake), lake.version(PUBLISHED_EMBEDDINGS)) == ({"m1"}, 3)
    assert statuses(lake) == {"m1": "champion", "m2": "retired"}


def test_a_rollback_goes_to_the_champion_before_and_then_to_the_one_before_that():
    models = named(model("m1"), model("m2"), model("m3"))
    for model_id in models:
        models = crowned(models, model_id, "test")
    assert [m.model_id for m in before_champion(models)] == ["m3", "m2"]
    models = rolled_back(models, "m3", "m2")
    assert [m.model_id for m in before_champion(models)] == ["m2", "m1"]
    with pytest.raises(BadInput, match="m1 replaced no model"):
        before_champion(rolled_back(models, "m2", "m1"))


def test_the_champion_cannot_be_set_aside():
    models = crowned(named(model("m1"), model("m2")), "m1", "test")
    with pytest.raises(BadInput, match="m1 is the champion"):
        set_aside(models, "m1", "retired", "old")
    assert set_aside(models, "m2", "retired", "old")["m2"].status_reason == "old"


def test_an_unknown_model_is_named_with_those_that_are_known():
    with pytest.raises(MissingTable, match=r"m9 is not registered \(known: m1\)"):
        find(named(model("m1")), "m9")


def test_the_list_the_card_and_the_comparison_tell_the_measures():
    from rich.console import Console

    from spark_jobs.registry.model_card import card

    one, other = model("m1"), model("m2", effective_rank=12.5)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(listing({"m1": one, "m2": other}), comparison(one, other))
    told = console.export_text()
    assert "0.5, 0.6, 12.5" in told
    assert "| effective_rank | 12.5 |" in card(other)
    assert "views from before 2017-06-26".casefold() in card(one).casefold()


def test_the_commands_are_those_that_the_dags_call():
    options = parse_options(judge, ["m1", "--register"])
    assert options == {"model_id": "m1", "register": True, "promote": False}
