import shutil
import sys
import threading
import time
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from deltalake import DeltaTable
from pyspark.testing import assertDataFrameEqual
from small_backfill import DAYS, FIRST, active, session, two_models, write_sessions
from small_lake import write

from analyst.lake import open_lake
from analyst.side_by_side import compare
from contracts.errors import BadInput
from contracts.places import Places
from contracts.tables import PUBLISHED_EMBEDDINGS, SESSIONS, USER_EMBEDDINGS, USER_SEQUENCES
from spark_jobs import user_embeddings, user_sequences
from spark_jobs.backfill import days_between, published_days, run, sequences_of, survey
from spark_jobs.day_claims import Claims
from spark_jobs.lake import Lake
from spark_jobs.models import Registry
from spark_jobs.pace import Timing, pace_of
from spark_jobs.published_embeddings import publish
from spark_jobs.standing import find, standing
from userbert.backfill import arg_parser, fill, plan, plan_words, the_days

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.backfill_trials import backfill, halves, killed, rows

WRITTEN = (USER_SEQUENCES, USER_EMBEDDINGS)


@pytest.fixture(scope="module")
def template(spark, tmp_path_factory):
    """A lake with sessions, titles and two models, and not a vector yet."""
    places = Places(tmp_path_factory.mktemp("template"))
    models = two_models(Lake(spark, places.lake), places)
    write_sessions(places)
    return places, models


@pytest.fixture(scope="module")
def quiet(spark, template, tmp_path_factory):
    """The same, after one undisturbed backfill of the new model over all days."""
    _, (_, new) = template
    places = copied(template[0], tmp_path_factory.mktemp("quiet"))
    done = list(run(Lake(spark, places.lake), places, new, DAYS))
    assert [each.day.as_of for each in done] == DAYS
    return places


def copied(places, folder):
    shutil.copytree(places.root, folder, dirs_exist_ok=True)
    return Places(folder)


@pytest.fixture
def places(template, tmp_path):
    return copied(template[0], tmp_path)


@pytest.fixture
def new(template):
    return template[1][1]


@pytest.fixture
def old(template):
    return template[1][0]


def tables(places):
    return [rows(places, table) for table in WRITTEN]


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_plan_counts_each_row_that_a_run_then_writes_and_writes_nothing_itself(lake, places, new):
    before = files(places.root)
    made = plan(lake, places, find(standing(lake), new), DAYS)
    assert files(places.root) == before
    assert [day.users for day in made.days] == [len(active(day)) for day in DAYS]
    assert made.rows == 2 * sum(len(active(day)) for day in DAYS)
    assert made.seconds > 0
    done = fill(lake, places, find(standing(lake), new), DAYS)
    assert sum(commit.rows for each in done for commit in each.commits) == made.rows


def test_the_survey_computes_what_the_nightly_job_does(lake, places):
    late = datetime(FIRST.year, FIRST.month, FIRST.day) - timedelta(minutes=2)
    write(places, "sessions", [session(3, late, 0, 1, 2, 3, 4), session(9, late, *range(150))])
    sessions = lake.read(SESSIONS)
    names = ["as_of", "user_id", "title_ids", "event_times", "sequence_hash", "last_view_time"]
    ours = sequences_of(sessions, DAYS).select(names)
    theirs = [user_sequences.to_sequences(sessions, day).select(names) for day in DAYS]
    assertDataFrameEqual(ours, theirs[0].union(theirs[1]).union(theirs[2]))


def test_a_backfill_of_nothing_writes_nothing(spark, quiet, new, places):
    there = copied(quiet, places.root / "there")
    lake = Lake(spark, there.lake)
    before = files(there.root)
    assert list(run(lake, there, new, DAYS)) == []
    made = plan(lake, there, find(standing(lake), new), DAYS)
    assert (made.rows, made.bytes, made.seconds) == (0, 0, 0)
    assert all(day.finished for day in made.days)
    assert files(there.root) == before


def test_a_day_is_what_that_night_would_have_written(lake, places, new, quiet):
    for day in reversed(DAYS):
        user_sequences.update(lake, places, day)
        user_embeddings.update(lake, places, day, new)
    assert tables(places) == tables(quiet)


def test_a_view_from_the_day_itself_or_later_changes_no_vector(spark, new, quiet, tmp_path):
    there = copied(quiet, tmp_path / "there")
    lake = Lake(spark, there.lake)
    midnight = datetime(DAYS[-1].year, DAYS[-1].month, DAYS[-1].day)
    write(there, "sessions", [session(user, midnight, 0, 100) for user in range(6)])
    assert all(day.finished for day in survey(lake, new, DAYS))
    assert not survey(lake, new, [DAYS[-1] + timedelta(days=1)])[0].finished
    for table in WRITTEN:
        shutil.rmtree(lake.path(table))
    list(run(lake, there, new, DAYS))
    assert tables(there) == tables(quiet)


def test_a_view_that_came_late_makes_the_days_after_it_unfinished(spark, new, quiet, tmp_path):
    there = copied(quiet, tmp_path / "there")
    lake = Lake(spark, there.lake)
    late = datetime(FIRST.year, FIRST.month, FIRST.day) - timedelta(days=30)
    user = active(DAYS[0])[0]
    write(there, "sessions", [session(user, late, 0)])
    found = survey(lake, new, DAYS)
    assert [(d.sequences_differ, d.vectors_differ) for d in found] == [(1, 1), (0, 0), (1, 1)]
    assert [filled.day.as_of for filled in run(lake, there, new, DAYS)] == [DAYS[0], DAYS[2]]


def test_a_day_that_another_process_writes_is_left_to_it_and_looked_at_again(
    spark, quiet, new, tmp_path
):
    there = copied(quiet, tmp_path / "there")
    lake = Lake(spark, there.lake)
    shutil.rmtree(lake.path(USER_EMBEDDINGS))
    claims = Claims(there.root / "backfill")
    with claims.claim(DAYS[0], wait=False) as claim:
        assert claim
        assert claims.is_taken(DAYS[0])
        assert not claims.is_taken(DAYS[1])
        days = run(lake, there, new, DAYS[:2])
        assert next(days).day.as_of == DAYS[1]
        user_embeddings.update(lake, there, DAYS[0], new)
        claim.touch()
    (last,) = days
    assert (last.day.as_of, last.commits) == (DAYS[0], ())


@pytest.fixture
def served(spark, template, tmp_path):
    """All days published under the old model, none under the new one."""
    there = copied(template[0], tmp_path / "served")
    lake = Lake(spark, there.lake)
    list(run(lake, there, template[1][0], DAYS))
    for day in DAYS:
        publish(lake, there, day)
    return there


class Reader(threading.Thread):
    """Reads published_embeddings every 100 ms until told to stop."""

    def __init__(self, places):
        super().__init__()
        self.path = f"{places.lake}/{PUBLISHED_EMBEDDINGS.name}"
        self.seen, self.over = [], threading.Event()

    def run(self):
        while not self.over.is_set():
            read = DeltaTable(self.path).to_pyarrow_table(columns=["model_id", "as_of"])
            self.seen.append(
                (
                    frozenset(read["model_id"].to_pylist()),
                    frozenset(read["as_of"].to_pylist()),
                    len(read),
                )
            )
            time.sleep(0.1)


def test_readers_see_each_change_of_model_as_one_switch_and_no_day_is_ever_missing(
    spark, served, old, new
):
    lake = Lake(spark, served.lake)
    registry = Registry(lake, served)
    assert published_days(lake) == DAYS
    reader = Reader(served)
    reader.start()
    try:
        list(run(lake, served, new, published_days(lake)))
        registry.promote(new, "test")
        time.sleep(0.5)
        registry.rollback()
        time.sleep(0.5)
    finally:
        reader.over.set()
        reader.join()
    models = [models for models, _, _ in reader.seen]
    assert {(days, rows) for _, days, rows in reader.seen} == {(frozenset(DAYS), 9)}
    assert set(models) == {frozenset({old}), frozenset({new})}
    switches = sum(a != b for a, b in pairwise(models))
    assert switches == 2


def test_runs_side_by_side_that_are_killed_end_as_one_quiet_run(lake, places, new, quiet):
    commands = [backfill(new, part) for part in halves(DAYS)]
    killed(commands, places.root, seed=1)
    list(run(lake, places, new, DAYS))
    assert tables(places) == tables(quiet)


def test_two_models_are_compared_each_in_its_own_space(spark, served, old, new):
    list(run(Lake(spark, served.lake), served, new, DAYS[1:]))
    found = compare(open_lake(served), new, old, DAYS, k=1)
    assert [(d.new.users, d.old.users, d.in_both, d.only_old) for d in found.days] == [
        (0, 3, 0, 3),
        *[(3, 3, 3, 0)] * 2,
    ]
    assert found.days[0].neighbors_kept is None
    assert all(0 <= day.neighbors_kept <= 1 for day in found.days[1:])
    assert found.by_chance == 0.5
    with pytest.raises(BadInput, match="compared with itself"):
        compare(open_lake(served), new, new, DAYS)


def test_the_pace_is_a_days_cost_and_a_rows():
    pace = pace_of([Timing("m", "d", 100, 12.0), Timing("m", "d", 300, 16.0)], "m")
    assert pace.seconds([200, 200]) == pytest.approx(28)
    assert pace_of([Timing("other", "d", 50, 9.0)], "m").seconds([50]) == pytest.approx(9)
    assert pace_of([], "m") is None


def test_days_before_the_training_ended_are_told(lake, places, new):
    model = replace(find(standing(lake), new), trained_before=DAYS[2])
    made = plan(lake, places, model, DAYS[:1])
    assert made.before_training_ended == [DAYS[0]]
    assert "the training had seen views from after them" in list(plan_words(made))[1]


def test_the_days_are_a_range_or_all_that_are_published(lake):
    def days(*flags):
        return the_days(lake, arg_parser().parse_args(["plan", *flags]))

    assert days("--from", "2020-02-01", "--to", "2020-02-03") == DAYS
    assert days("--published") == []
    for wrong in ([], ["--from", "2020-02-01"], ["--published", "--to", "2020-02-01"]):
        with pytest.raises(BadInput, match="--from DAY --to DAY, or --published"):
            days(*wrong)
    with pytest.raises(BadInput, match="swap them"):
        days_between(DAYS[1], DAYS[0])


def test_a_forms_empty_model_is_the_champion():
    days = ["--from", "2020-02-01", "--to", "2020-02-03"]
    assert arg_parser().parse_args(["run", *days, "--model", ""]).model is None
