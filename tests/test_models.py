import io
import json
from datetime import UTC, date, datetime

import pytest

from contracts.errors import BadInput, GateFailed, MissingTable
from contracts.tables import PUBLISHED_EMBEDDINGS, USER_EMBEDDINGS
from expectations.gate import check
from spark_jobs.judging import faults
from spark_jobs.models import Registry, arg_parser, comparison, listing
from spark_jobs.published_embeddings import spaces
from spark_jobs.standing import Model, champion_of, change, standing

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
    def write(*models):
        change(lake, places, "test", lambda now: {**now, **{m.model_id: m for m in models}})

    return write


@pytest.fixture
def embed(spark, lake, places):
    def write(model_id, *days):
        noon = datetime(2017, 6, 25, 12, tzinfo=UTC)
        for day in days:
            row = (model_id, date(2017, 6, day), "ann", [1.0] + [0.0] * 255, 1.0, 1, noon, 7)
            frame = spark.createDataFrame([row], USER_EMBEDDINGS.ddl)
            passed = check(frame, USER_EMBEDDINGS, places=places, run="test")
            lake.replace(passed, f"model_id = '{model_id}' and as_of = '2017-06-{day}'")

    return write


def statuses(lake):
    return {m.model_id: m.status for m in standing(lake).values()}


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
    ],
)
def test_a_model_is_judged_by_rank_by_chance_and_by_the_champion(new, champion, fault):
    found = faults(GOOD | new, None if champion is None else GOOD | champion)
    assert len(found) == len(fault)
    assert all(text.startswith(start) for text, start in zip(found, fault, strict=True))


def test_a_training_is_registered_once_with_what_its_manifest_tells(registry, tmp_path):
    import torch

    from model.checkpoint import WEIGHTS, Manifest, write
    from model.config import PRESETS
    from model.vocabulary import Vocabulary

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
    write(tmp_path / "m1", told, vocabulary, {WEIGHTS: {"weight": torch.zeros(1)}})
    first = registry.register(tmp_path / "m1")
    assert (first.status, first.trained_before) == ("candidate", MONDAY)
    assert json.loads(first.inputs) == {"titles": 3}
    assert registry.register(tmp_path / "m1") == first
    (tmp_path / "m1" / WEIGHTS).write_bytes(b"other weights")
    with pytest.raises(BadInput, match="sha256"):
        registry.register(tmp_path / "m1")


def test_a_refused_model_says_why_for_good(registry, lake, known):
    known(model("m1", effective_rank=1.0))
    for _ in range(2):
        with pytest.raises(GateFailed, match="m1 is refused: collapsed"):
            registry.judge("m1")
    with pytest.raises(BadInput, match="m1 was refused"):
        registry.promote("m1", "test")
    assert statuses(lake) == {"m1": "refused"}


def test_the_first_champion_needs_no_vectors(registry, lake, known):
    known(model("m1"))
    registry.promote("m1", registry.judge("m1"))
    assert statuses(lake) == {"m1": "champion"}
    assert champion_of(standing(lake)).status_reason.startswith("fit: masked accuracy 0.500")


def test_readers_are_switched_in_one_commit_and_back_in_another(registry, lake, known, embed):
    known(model("m1"), model("m2"))
    embed("m1", 26, 27)
    registry.promote("m1", "test")
    embed("m2", 26, 27)
    before = lake.version(PUBLISHED_EMBEDDINGS)
    registry.promote("m2", "better")
    assert spaces(lake) == {"m2"}
    assert lake.version(PUBLISHED_EMBEDDINGS) == before + 1
    assert statuses(lake) == {"m1": "retired", "m2": "champion"}
    assert registry.rollback() == "m1"
    assert spaces(lake) == {"m1"}
    assert lake.version(PUBLISHED_EMBEDDINGS) == before + 2
    with pytest.raises(BadInput, match="m1 replaced no model"):
        registry.rollback()


def test_a_model_that_lacks_published_days_is_not_promoted(registry, lake, known, embed):
    known(model("m1"), model("m2"))
    embed("m1", 26, 27)
    registry.promote("m1", "test")
    embed("m2", 27)
    with pytest.raises(MissingTable, match=r"m2 has no vectors of 1 days .*: 2017-06-26"):
        registry.promote("m2", "test")
    assert (statuses(lake)["m1"], spaces(lake)) == ("champion", {"m1"})
    registry.promote("m2", "test", allow_missing_days=True)
    assert (statuses(lake)["m2"], spaces(lake)) == ("champion", {"m2"})


def test_a_rollback_killed_half_way_is_finished_by_the_next(registry, lake, known, embed):
    from spark_jobs.standing import rolled_back

    known(model("m1"), model("m2"))
    for model_id in ("m1", "m2"):
        embed(model_id, 26)
        registry.promote(model_id, "test")
    change(lake, registry.places, "killed", lambda now: rolled_back(now, "m2", "m1"))
    assert spaces(lake) == {"m2"}
    assert registry.rollback() == "m1"
    assert (spaces(lake), statuses(lake)["m1"]) == ({"m1"}, "champion")


def test_the_champion_cannot_be_set_aside(registry, known):
    known(model("m1"), model("m2"))
    registry.promote("m1", "test")
    with pytest.raises(BadInput, match="m1 is the champion"):
        registry.set_aside("m1", "retired", "old")
    registry.set_aside("m2", "retired", "old")
    assert standing(registry.lake)["m2"].status_reason == "old"


def test_an_unknown_model_is_named_with_those_that_are_known(registry, known):
    known(model("m1"))
    with pytest.raises(MissingTable, match=r"m9 is not registered \(known: m1\)"):
        registry.judge("m9")


def test_the_list_the_card_and_the_comparison_tell_the_measures():
    from rich.console import Console

    from spark_jobs.model_card import card

    one, other = model("m1"), model("m2", effective_rank=12.5)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(listing({"m1": one, "m2": other}), comparison(one, other))
    told = console.export_text()
    assert "0.5, 0.6, 12.5" in told
    assert "| effective_rank | 12.5 |" in card(other)
    assert "views from before 2017-06-26".casefold() in card(one).casefold()


def test_the_commands_are_those_that_the_dags_call():
    flags = vars(arg_parser().parse_args(["judge", "m1", "--promote"]))
    assert flags == {"action": "judge", "model_id": "m1", "promote": True}
