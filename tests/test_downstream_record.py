"""The table of evaluations: written by its gate, shown on the card, asked before a promotion."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest
from small_lake import BY_NAME

from contracts.errors import BadInput, GateFailed
from contracts.evaluation_settings import EvaluationSettings
from contracts.tables import EVALUATIONS
from downstream.judging.cells import Result
from downstream.judging.evaluation import Evaluation
from downstream.judging.summary import borda_points, compare_results
from downstream.output.record import write_evaluation
from spark_jobs.registry.downstream_results import downstream_faults, downstream_results
from spark_jobs.registry.model_card import model_card
from spark_jobs.registry.model_status import with_champion
from spark_jobs.registry.promotion import Registry
from spark_jobs.tables.models import Model, change_models, find_model, load_models

DAY = date(2026, 1, 6)
TASKS = ("churn", "activity")
GOOD = {"masked_accuracy": 0.5, "masked_chance": 0.2, "masked_behaviors": 1000.0}
GOOD |= {"matching_accuracy": 0.6, "matching_chance": 0.2, "matched_pairs": 1000.0}
GOOD |= {"effective_rank": 30.0}


def result(task, rival, mean, **more):
    random = np.random.default_rng([len(task), *rival.encode()])
    scores = tuple((mean + 0.004 * random.standard_normal(20)).tolist())
    fields = {
        "task": task, "rival": rival, "head": "logistic", "label_share": 1.0, "population": "all",
        "stale_days": 0, "metric": "roc_auc", "num_users": 500, "settings": ((0.01,),),
        "scores": scores,
    }  # fmt: skip
    return Result(**{**fields, **more})


def evaluation(results, judged="new", **more):
    fields = {
        "evaluation_id": "2026-01-06-abc", "as_of": DAY, "model_id": judged, "twins": (),
        "settings": EvaluationSettings(), "tasks": (),
        "rows": tuple(compare_results(results, judged)),
        "borda": borda_points(results), "leaking": (), "shuffled": {}, "notes": (),
        "folder": None, "shared_folder": None,
    }  # fmt: skip
    return Evaluation(**{**fields, **more})


def model(model_id):
    now = datetime(2026, 1, 6, 12, tzinfo=UTC)
    facts = {"path": "/m", "trained_before": DAY, "settings": "{}", "inputs": "{}"}
    facts |= {"vocabulary_hash": "0" * 64, "code_version": "abc"}
    return Model(model_id, now, "candidate", now, "registered", measures=json.dumps(GOOD), **facts)


def test_an_evaluation_is_recorded_once_shown_on_the_card_and_asked_before_a_promotion(
    lake, places
):
    assert BY_NAME["evaluations"] is EVALUATIONS
    assert downstream_results(places, "new") == []  # before the first evaluation
    assert downstream_faults(lake, "new", "old", TASKS) == []
    results = [
        result("churn", "new", 0.70), result("churn", "old", 0.80),
        result("churn", "new", 0.60, label_share=0.1), result("churn", "old", 0.9, label_share=0.1),
        result("activity", "new", 0.801), result("activity", "old", 0.80),
        result("churn", "new", 0.50, population="cold", scores=(0.5, float("nan"))),
    ]  # fmt: skip
    found = evaluation(results)
    for _ in range(2):  # a second write replaces the first
        write_evaluation(lake, places, found, {"sessions": 3})
    rows = lake.read(EVALUATIONS).collect()
    assert len(rows) == len(results)
    assert lake.metadata(EVALUATIONS)["evaluated"] == {"sessions": 3}
    (cold,) = [row for row in rows if row["population"] == "cold"]
    assert cold["split_scores"] == [0.5]  # a split without a score has none

    shown = downstream_results(places, "new")
    assert [(row["task"], row["label_share"]) for row in shown] == [
        ("activity", 1.0), ("churn", 0.1), ("churn", 1.0),
    ]  # fmt: skip
    text = model_card(model("new"), shown)
    assert f"| churn | logistic | 100% | roc_auc | {results[0].mean:.3f} |" in text
    assert "## Downstream tasks" not in model_card(model("new"))

    (fault,) = downstream_faults(lake, "new", "old", TASKS)
    assert fault.startswith("churn by logistic: roc_auc 0.")
    assert downstream_faults(lake, "old", "new", TASKS) == []  # seen from the other side
    assert downstream_faults(lake, "new", "old", ["activity"]) == []

    registry = Registry(lake, places)
    change_models(lake, places, "old", lambda models: {"old": model("old"), "new": model("new")})
    change_models(lake, places, "old", lambda models: with_champion(models, "old", "first"))
    with pytest.raises(GateFailed, match="new is refused: churn by logistic: roc_auc"):
        registry.judge("new")
    assert find_model(load_models(lake), "new").status == "refused"

    leaking = replace(found, evaluation_id="2026-01-06-later", leaking=("churn",))
    write_evaluation(lake, places, leaking, {})
    assert downstream_faults(lake, "new", "old", TASKS) == []  # of the newest evaluation

    with pytest.raises(GateFailed, match="scores_beyond_the_metric"):
        write_evaluation(
            lake, places, evaluation([result("churn", "new", 0.9, scores=(0.9, 2.0, -0.2))]), {}
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("split = 3\n", "there is no setting split"),
        ('splits = "many"\n', "splits is 'many'; it must be a whole number"),
        ("tasks = [1]\n", "it must be a list, each text"),
        ("splits = 0\n", "splits must be 1 or more"),
        ("label_shares = [0.0]\n", "label_shares has 0.0; each must be above 0"),
        ('propensity_of = "category"\n', "propensity_of must be word or host"),
        ("splits =\n", "cannot be read"),
    ],
)
def test_settings_that_do_not_fit_are_one_clear_line(tmp_path, text, message):
    path = tmp_path / "downstream.toml"
    path.write_text(text)
    with pytest.raises(BadInput) as refused:
        EvaluationSettings.read(path)
    assert message in str(refused.value)


def test_the_settings_file_that_is_handed_out_says_the_defaults(monkeypatch):
    monkeypatch.delenv("USERBERT_DOWNSTREAM", raising=False)
    assert EvaluationSettings.from_environment() == EvaluationSettings()
