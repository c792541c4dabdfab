"""Days that are wrong as days are stopped at the ingest, by a sentence; usual ones are not."""

import json

import pytest
from faults.crafted_days import (
    SHAPES,
    arrow_views,
    calm_days,
    facts_of,
    judged_crafted,
    lake_views,
    stopped_by,
    usual_days,
    write_day,
)

from expectations.days.measures import VIEW_COLUMNS, measure_days
from userbert.cli import main

NUM_DAYS = 24
SHAPE = SHAPES["a small site"]
# Days that a small site does not tell from usual ones; docs/day-gates.md says so of each.
TOO_FEW_VIEWS = {
    "the commonest host is gone",
    "the busiest hour is gone",
    "the six busiest hours are gone",
    "ids exchanged among the users",
    "two days in one, under one date",
    "half of the titles in another language",
}


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    return usual_days(tmp_path_factory.mktemp("usual"), SHAPE.users, NUM_DAYS)


def test_wrong_days_are_stopped(days):
    stopped = {name: bool(broken) for name, broken in judged_crafted(days)}
    assert len(stopped) > 60
    assert {name for name, is_stopped in stopped.items() if not is_stopped} <= TOO_FEW_VIEWS


def test_usual_days_with_holidays_growth_and_a_rush_are_not_stopped(days, tmp_path):
    calm = calm_days(
        days, usual_days(tmp_path, SHAPE.users + 17, NUM_DAYS), rush=16, holidays=(11, 18)
    )
    facts = facts_of(arrow_views(calm), list(calm))
    assert {day: broken for day in facts if (broken := stopped_by(facts[day], facts))} == {}


def test_one_day_is_measured_as_it_is_among_many(days):
    names, views = list(days), arrow_views(days)
    assert facts_of(views, names[-1:])[names[-1]] == facts_of(views, names)[names[-1]]


def test_spark_and_duckdb_measure_the_same(spark, days):
    views = arrow_views(dict(list(days.items())[:4]))
    spark.createDataFrame(views.to_pandas()).select(*VIEW_COLUMNS).createOrReplaceTempView(
        "day_views"
    )
    by_spark = measure_days(
        lambda sql: [tuple(row) for row in spark.sql(sql).collect()], list(days)[:4]
    )
    by_duckdb = facts_of(views, list(days)[:4])
    for day, facts in by_spark.items():
        assert dict(facts.numbers) == pytest.approx(dict(by_duckdb[day].numbers))
        assert facts.clock == by_duckdb[day].clock
        assert facts.alphabets == by_duckdb[day].alphabets
        assert facts.scripts == by_duckdb[day].scripts


@pytest.mark.timeout(900)  # five runs of the ingest; it took a quarter of it on a busy machine
def test_the_ingest_stops_a_wrong_day_until_a_person_accepts_it(
    spark, days, places, monkeypatch, capsys
):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    *usual, last = list(days)[:6]

    def ingest(first, to):
        code = main(["browsing-logs", "--from-day", str(first), "--to-day", str(to)])
        return code, capsys.readouterr().err.splitlines()

    def held():
        return set(lake_views(places.root)[1])

    for day in usual:
        write_day(places.root, day, days[day])
    assert ingest(usual[0], usual[-1])[0] == 0
    assert len(list((places.gates / "days").iterdir())) == len(usual)
    write_day(places.root, last, days[last][::10])
    code, printed = ingest(last, last)
    line = next(line for line in printed if "gate browsing_logs" in line)
    assert code == 3
    assert f"(landing day {last}: views of all users but the busiest" in line
    assert "day_views is 1" in line
    assert "at least" in line
    assert held() == set(usual)
    assert main(["gates", "accept", str(last), "--reason", " "]) == 2
    assert main(["gates", "accept", str(usual[0]), "--reason", "why"]) == 2
    assert "no gate has stopped" in capsys.readouterr().err
    assert main(["gates", "accept", str(last), "--reason", "half of the site was down"]) == 0
    (record,) = (places.gates / "accepted").iterdir()
    kept = json.loads(record.read_text())
    assert kept["reason"] == "half of the site was down"
    assert kept["by"]
    assert kept["at"]
    assert "views" in kept["measures"]
    write_day(places.root, last, [])  # not what the person saw
    assert ingest(last, last)[0] == 3
    write_day(places.root, last, days[last][::10])
    assert ingest(last, last)[0] == 0
    assert held() == {*usual, last}
