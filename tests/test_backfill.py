import shutil
import sys
import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from delta.tables import DeltaTable as SparkTable
from pyspark.testing import assertDataFrameEqual
from small_backfill import DAYS, FIRST, active, session, two_models, write_sessions
from small_lake import write

from analyst.lake_access.open_lake import open_lake
from analyst.questions.model_comparison import compare_models
from contracts.errors import BadInput
from contracts.paths import Places
from contracts.tables import PUBLISHED_EMBEDDINGS, SESSIONS, USER_EMBEDDINGS, USER_SEQUENCES
from contracts.terminal.command_line import parse_options
from spark_jobs.backfill.day_locks import DayLocks
from spark_jobs.backfill.days import days_between, fill_days, published_days, survey_days
from spark_jobs.backfill.plan import make_plan
from spark_jobs.backfill.time_estimate import Timing, estimate_from_timings
from spark_jobs.lake.lake import Lake
from spark_jobs.registry.promotion import Registry
from spark_jobs.tables import user_embeddings, user_sequences
from spark_jobs.tables.models import find_model, load_models
from userbert.commands.backfill import fill_with_progress, show_plan, the_days, the_model
from userbert.commands.backfill_grids import plan_words

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.promotion import count_wrong_reads, poll_published
from tests.faults.backfill_trials import backfill_command, overlapping_halves, run_and_kill
from tests.faults.trials import table_rows

WRITTEN = (USER_SEQUENCES, USER_EMBEDDINGS)


@pytest.fixture(scope="module")
def template(spark, tmp_path_factory):
    """A lake with sessions, titles and two models, and not a vector yet."""
    places = Places(tmp_path_factory.mktemp("template"))
    models = two_models(Lake(spark, places.lake), places)
    write_sessions(places)
    return places, models


@pytest.fixture(scope="module")
def planned(spark, template, tmp_path_factory):
    """A plan of all days under the champion, and the undisturbed run of it."""
    there, (old, _) = template
    places = copied(there, tmp_path_factory.mktemp("quiet"))
    lake = Lake(spark, places.lake)
    model, before = find_model(load_models(lake), old), files(places.root)
    made = make_plan(lake, places, model, DAYS)
    assert files(places.root) == before
    return places, made, fill_with_progress(lake, places, model, DAYS)


@pytest.fixture(scope="module")
def quiet(planned):
    """A lake after one undisturbed backfill of the champion over all days."""
    return planned[0]


def copied(places, folder):
    shutil.copytree(places.root, folder, dirs_exist_ok=True)
    return Places(folder)


@pytest.fixture
def places(template, tmp_path):
    return copied(template[0], tmp_path)


@pytest.fixture
def old(template):
    """The champion."""
    return template[1][0]


@pytest.fixture
def new(template):
    return template[1][1]


def tables(places):
    return [table_rows(places.root, table) for table in WRITTEN]


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_plan_counts_each_row_that_a_run_then_writes_and_writes_nothing_itself(planned):
    _, made, done = planned
    assert [day.users for day in made.days] == [len(active(day)) for day in DAYS]
    assert made.rows == 2 * sum(len(active(day)) for day in DAYS)
    assert made.seconds > 0
    assert [each.day.as_of for each in done] == DAYS
    assert sum(commit.rows for each in done for commit in each.commits) == made.rows


def test_the_survey_computes_what_the_nightly_job_does(lake, places):
    late = datetime(FIRST.year, FIRST.month, FIRST.day) - timedelta(minutes=2)
    write(places, "sessions", [session(3, late, 0, 1, 2, 3, 4), session(9, late, *range(150))])
    sessions = lake.read(SESSIONS)
    names = ["as_of", "user_id", "title_ids", "event_times", "sequence_hash", "last_view_time"]
    ours = user_sequences.sequences_of(sessions, DAYS).select(names)
    theirs = [user_sequences.to_sequences(sessions, day).select(names) for day in DAYS]
    assertDataFrameEqual(ours, theirs[0].union(theirs[1]).union(theirs[2]))


@pytest.fixture
def there(quiet, tmp_path):
    """A copy of the quiet lake, to be changed."""
    return copied(quiet, tmp_path / "there")


def test_a_backfill_of_nothing_writes_nothing(spark, there, old):
    lake = Lake(spark, there.lake)
    before = files(there.root)
    assert list(fill_days(lake, there, old, DAYS)) == []
    made = make_plan(lake, there, find_model(load_models(lake), old), DAYS)
    assert (made.rows, made.bytes, made.seconds) == (0, 0, 0)
    assert all(day.finished for day in made.days)
    assert files(there.root) == before


def test_a_day_is_what_that_night_would_have_written(lake, places, old, quiet):
    user_sequences.update_user_sequences(lake, places, DAYS[1], "active")
    user_embeddings.update_user_embeddings(lake, places, DAYS[1], old)
    of_the_day = [[row for row in table if row["as_of"] == DAYS[1]] for table in tables(quiet)]
    assert tables(places) == of_the_day


def test_a_view_from_the_day_itself_or_later_changes_no_vector(spark, old, quiet, there):
    lake = Lake(spark, there.lake)
    midnight = datetime(DAYS[-1].year, DAYS[-1].month, DAYS[-1].day)
    write(there, "sessions", [session(user, midnight, 0, 100) for user in range(6)])
    found = survey_days(lake, old, [*DAYS, DAYS[-1] + timedelta(days=1)])
    assert [day.finished for day in found] == [True, True, True, False]
    user_sequences.update_user_sequences(lake, there, DAYS[-1], "active")
    user_embeddings.update_user_embeddings(lake, there, DAYS[-1], old)
    assert tables(there) == tables(quiet)


def test_a_view_that_came_late_makes_the_days_after_it_unfinished(spark, old, there):
    late = datetime(FIRST.year, FIRST.month, FIRST.day) - timedelta(days=30)
    write(there, "sessions", [session(active(DAYS[0])[0], late, 0)])
    found = survey_days(Lake(spark, there.lake), old, DAYS)
    assert [(d.sequences_differ, d.vectors_differ) for d in found] == [(1, 1), (0, 0), (1, 1)]


def test_a_day_that_another_process_writes_is_left_to_it_and_looked_at_again(spark, new, there):
    lake = Lake(spark, there.lake)
    claims = DayLocks(there.root / "backfill")
    with claims.lock(DAYS[0], wait=False) as claim:
        assert claim
        assert claims.is_taken(DAYS[0])
        assert not claims.is_taken(DAYS[1])
        days = fill_days(lake, there, new, DAYS[:2])
        assert next(days).day.as_of == DAYS[1]
        user_embeddings.update_user_embeddings(lake, there, DAYS[0], new)
        claim.touch()
    (last,) = days
    assert (last.day.as_of, last.commits) == (DAYS[0], ())


@pytest.fixture(scope="module")
def switched(spark, template, quiet, tmp_path_factory):
    """What a reader saw while a second model was filled in, promoted and rolled back."""
    old, new = template[1]
    served = copied(quiet, tmp_path_factory.mktemp("served"))
    lake = Lake(spark, served.lake)
    registry = Registry(lake, served)
    registry.promote(old, "test", force=True)
    assert published_days(lake) == DAYS
    with poll_published(served) as seen:
        list(fill_days(lake, served, new, published_days(lake)))
        registry.promote(new, "test", force=True)
        time.sleep(0.5)
        registry.rollback()
        time.sleep(0.5)
    return served, seen


def test_readers_see_each_change_of_model_as_one_switch_and_no_day_is_ever_missing(
    switched, old, new
):
    _, seen = switched
    assert {(read.days, read.rows) for read in seen} == {
        (frozenset(DAYS), 12)
    }  # 3 a day, and all 6 on the last
    assert {read.models for read in seen} == {frozenset({old}), frozenset({new})}
    assert count_wrong_reads(seen, DAYS) == {
        "reads": len(seen),
        **dict.fromkeys(("empty", "mixed", "short_of_a_day", "other_rows"), 0),
        "switches": 2,
    }


def test_a_rollback_first_embeds_the_days_that_the_model_before_lacks(spark, switched, old, new):
    served, _ = switched
    lake = Lake(spark, served.lake)
    registry = Registry(lake, served)
    registry.promote(new, "test", force=True)
    gone = f"model_id = '{old}' and as_of = '{DAYS[1]}'"
    SparkTable.forPath(spark, lake.path(USER_EMBEDDINGS)).delete(gone)
    registry.exclude(old, "retired", "nobody needs it")
    assert registry.rollback() == old
    rows = lake.read(PUBLISHED_EMBEDDINGS).select("model_id", "as_of").collect()
    assert {row["model_id"] for row in rows} == {old}
    assert ({row["as_of"] for row in rows}, len(rows)) == (set(DAYS), 12)


def test_runs_side_by_side_that_are_killed_end_as_one_quiet_run(lake, places, old, quiet):
    all_files = len(files(quiet.root)) - len(files(places.root))
    run_and_kill(
        [backfill_command(old, part) for part in overlapping_halves(DAYS)],
        places.root,
        1,
        all_files,
    )
    list(fill_days(lake, places, old, DAYS))
    assert tables(places) == tables(quiet)


def test_two_models_are_compared_each_in_its_own_space(switched, old, new):
    lake = open_lake(switched[0])
    found = compare_models(lake, new, old, DAYS, k=1)
    assert [(d.new.users, d.old.users, d.in_both) for d in found.days] == [
        (3,) * 3,
        (3,) * 3,
        (6,) * 3,
    ]
    assert all(0 <= day.neighbors_kept <= 1 for day in found.days)
    assert 0 < found.by_chance <= 0.5
    alone = compare_models(lake, "none yet", old, DAYS, k=1)
    assert [(d.new.users, d.only_old, d.neighbors_kept) for d in alone.days] == [
        (0, n, None) for n in (3, 3, 6)
    ]
    with pytest.raises(BadInput, match="compared with itself"):
        compare_models(lake, new, new, DAYS)


def test_the_pace_is_a_jobs_cost_and_a_rows():
    pace = estimate_from_timings([Timing("m", "d", 100, 12.0), Timing("m", "d", 300, 16.0)], "m")
    assert pace.seconds([(2, 200), (2, 200)]) == pytest.approx(28)
    assert pace.seconds([(1, 200)]) == pytest.approx(5 + 4)  # sequences are there already
    assert estimate_from_timings([Timing("other", "d", 50, 9.0)], "m").seconds(
        [(2, 50)]
    ) == pytest.approx(9)
    assert estimate_from_timings([], "m") is None


def test_days_before_the_training_ended_are_named(planned):
    made = replace(planned[1], before_training_ended=[DAYS[0]])
    assert "the training had seen views from after them" in list(plan_words(made))[1]
    assert planned[1].before_training_ended == []
    assert len(list(plan_words(planned[1]))) == 1


def test_the_days_are_a_range_or_all_that_are_published(lake):
    def days(*flags):
        options = parse_options(show_plan, flags)
        return the_days(lake, options["first"], options["last"], options["published"])

    assert days("--from", "2020-02-01", "--to", "2020-02-03") == DAYS
    assert days("--published") == []
    for wrong in ([], ["--from", "2020-02-01"], ["--published", "--to", "2020-02-01"]):
        with pytest.raises(BadInput, match="--from DAY --to DAY, or --published"):
            days(*wrong)
    with pytest.raises(BadInput, match="swap them"):
        days_between(DAYS[1], DAYS[0])


def test_a_forms_empty_model_is_the_champion(lake, places):
    options = parse_options(show_plan, ["--published", "--model", ""])
    assert the_model(lake, places, options["model"]).status == "champion"
