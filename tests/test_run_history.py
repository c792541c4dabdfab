"""Sequences and vectors of a day beside those of the four weeks before."""

from datetime import date, datetime, timedelta

import numpy as np
import pytest
from small_features import NO_FORECASTS
from test_published_embeddings import model

from contracts.errors import GateFailed
from contracts.tables import PUBLISHED_EMBEDDINGS, SESSIONS, USER_EMBEDDINGS, USER_SEQUENCES
from expectations.day_history import accept_day
from expectations.days.bounds import PUBLICATION_MEASURES, SEQUENCE_MEASURES
from expectations.gate import run_gate
from expectations.results import Finding, GateResult, save_result
from expectations.run_history import usual_expectations
from spark_jobs.registry.model_status import with_champion
from spark_jobs.tables.models import change_models
from spark_jobs.tables.published_embeddings import publish_day
from spark_jobs.tables.user_sequences import update_user_sequences
from spark_jobs.tables.vector_moves import comparable_day, move_measures

DAY = date(2017, 6, 27)
BEFORE = DAY - timedelta(days=1)
USUAL = {"usable_users": 5000.0, "vector_drift": 0.1, "neighbors_kept": 0.8}


def keep(places, table, day, rows=500, **numbers):
    """The result of a gate that passed."""
    findings = [
        Finding(f"day_{name}", "", True, value, None, None, False, [])
        for name, value in numbers.items()
    ]
    facts = {"seconds": 1.0, "checked_at": "", "code": "", "measures": {}}
    save_result(
        places.gates,
        GateResult(table.name, str(day), True, "", rows, expectations=findings, **facts),
    )


def weeks(places, table, rows=500, **numbers):
    for n in range(1, 29):
        keep(places, table, DAY - timedelta(days=n), rows, **numbers)


def broken(places, table, bounds, numbers):
    return {
        each.measure
        for each in usual_expectations(places, table, DAY, bounds, num_rows=400)
        for value in [each.from_job(numbers)]
        if not (each.least or value) <= value <= (each.most or value)
    }


def test_each_measure_has_a_day_that_it_stops(places):
    weeks(places, PUBLISHED_EMBEDDINGS, **USUAL)
    weeks(places, USER_SEQUENCES, views_a_sequence=40.0)
    wrong = {"usable_users": 2500.0, "vector_drift": 0.5, "neighbors_kept": 0.3}
    assert broken(places, PUBLISHED_EMBEDDINGS, PUBLICATION_MEASURES, USUAL) == set()
    for name, value in wrong.items():
        found = broken(places, PUBLISHED_EMBEDDINGS, PUBLICATION_MEASURES, USUAL | {name: value})
        assert found == {f"day_{name}"}
    for views, is_stopped in ((40.0, False), (15.0, True), (100.0, True)):
        found = broken(places, USER_SEQUENCES, SEQUENCE_MEASURES, {"views_a_sequence": views})
        assert bool(found) == is_stopped


def test_few_days_or_few_rows_stop_nothing(places):
    wrong = {"views_a_sequence": 1.0}
    weeks(places, USER_SEQUENCES, rows=20, views_a_sequence=40.0)
    assert broken(places, USER_SEQUENCES, SEQUENCE_MEASURES, wrong) == set()
    for n in (1, 2):
        keep(places, USER_SEQUENCES, DAY - timedelta(days=n), views_a_sequence=40.0)
    assert broken(places, USER_SEQUENCES, SEQUENCE_MEASURES, wrong) == set()


@pytest.fixture
def vectors(spark):
    def make(day, units):
        rows = [
            ("m1", day, f"u{n}", unit.tolist(), 1.0, 1, datetime(2017, 6, 25), n, *NO_FORECASTS)
            for n, unit in enumerate(units)
        ]
        return spark.createDataFrame(rows, USER_EMBEDDINGS.ddl)

    return make


def units(seed, num=60):
    drawn = np.random.default_rng(seed).normal(size=(num, 256))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def test_moves_are_none_where_nobody_moved_and_chance_where_all_are_others(vectors):
    yesterday = vectors(BEFORE, units(1))
    still = move_measures(yesterday, BEFORE, vectors(DAY, units(1)))
    assert still == {"moved_users": 60.0, "vector_drift": pytest.approx(0, abs=1e-6),
                     "neighbors_kept": 1.0}  # fmt: skip
    other = move_measures(yesterday, BEFORE, vectors(DAY, units(2)))
    assert other["vector_drift"] == pytest.approx(1, abs=0.05)
    assert other["neighbors_kept"] == pytest.approx(10 / 59, abs=0.06)
    assert move_measures(yesterday, BEFORE, vectors(DAY, units(1, num=20))) == {}
    assert move_measures(yesterday, None, vectors(DAY, units(1))) == {}


def test_moves_are_from_the_last_day_of_the_week_before():
    days = {DAY - timedelta(days=n) for n in (-1, 0, 3, 7, 9)}
    assert comparable_day(days, DAY) == DAY - timedelta(days=3)
    assert comparable_day({DAY - timedelta(days=7)}, DAY) == DAY - timedelta(days=7)
    assert comparable_day({DAY, DAY - timedelta(days=8)}, DAY) is None


def test_a_day_of_other_vectors_is_not_published_until_a_person_accepts_it(lake, places, vectors):
    before = DAY - timedelta(days=1)
    frame = vectors(before, units(1)).union(vectors(DAY, units(2)))
    lake.replace(run_gate(frame, USER_EMBEDDINGS, places=places, run="m1"), "true")
    change_models(lake, places, "test", lambda _: with_champion({"m1": model("m1")}, "m1", "test"))
    publish_day(lake, places, before)
    weeks(places, PUBLISHED_EMBEDDINGS, vector_drift=0.1, neighbors_kept=0.8)
    with pytest.raises(GateFailed, match=r"day_vector_drift is .*userbert gates accept 2017-06-27"):
        publish_day(lake, places, DAY)
    assert "vector_drift" in accept_day(places, DAY, "a new catalogue").measures
    publish_day(lake, places, DAY)
    assert lake.read(PUBLISHED_EMBEDDINGS).where(f"as_of = '{DAY}'").count() == 60


def test_a_day_of_short_histories_is_stopped(lake, places, spark):
    start = datetime(2017, 6, 26, 10)
    sessions = spark.createDataFrame(
        [(start.date(), "u", 1, start, start, 1, [5], [start])], SESSIONS.ddl
    )
    lake.replace(run_gate(sessions, SESSIONS, places=places, run="x"), "true")
    weeks(places, USER_SEQUENCES, views_a_sequence=40.0)
    with pytest.raises(GateFailed, match=r"day_views_a_sequence is 1, at least 20 is allowed"):
        update_user_sequences(lake, places, DAY)
