import json
import shutil
import sys
import time
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
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
from contracts.terminal.options import days_between
from contracts.vectors import own_space, service_name
from model.storage.checkpoint import write_aligned_copy
from spark_jobs.backfill.consequences import PromotionSwitch
from spark_jobs.backfill.cost_record import DayCost, TableCost, add_cost, read_costs
from spark_jobs.backfill.day import Day
from spark_jobs.backfill.day_locks import DayLocks
from spark_jobs.backfill.days import fill_days, published_days, survey_days
from spark_jobs.backfill.plan import make_plan
from spark_jobs.backfill.price import price_by_record
from spark_jobs.lake.lake import Lake
from spark_jobs.registry.promotion import Registry
from spark_jobs.spark.process_cost import ProcessCost
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
    assert made.price.seconds > 0
    assert made.price.peak_bytes > 1 << 20
    assert made.reasons == {str(day): {"missing": len(active(day))} for day in DAYS}
    assert made.switch is None
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
    assert (made.rows, made.price.bytes, made.price.seconds) == (0, 0, 0)
    assert (made.reasons, made.dependents) == ({}, [])
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


def test_an_aligned_model_is_embedded_promoted_and_served_in_the_space_of_the_champion(
    spark, switched, old, new, tmp_path
):
    places = copied(switched[0], tmp_path / "aligned")
    lake, rotation = (
        Lake(spark, places.lake),
        np.linalg.qr(np.random.default_rng(0).normal(size=(256, 256)))[0],
    )
    facts = {"from": new, "to": old}
    aligned = write_aligned_copy(
        places.models / new,
        places.models,
        torch.from_numpy(rotation),
        facts,
        space_id=own_space(old),
    ).name
    registry = Registry(lake, places)
    registry.register(aligned)
    list(fill_days(lake, places, aligned, DAYS[:1]))
    registry.promote(aligned, "test", force=True, allow_missing_days=True)
    published = lake.read(PUBLISHED_EMBEDDINGS).collect()
    assert {(row["model_id"], row["space_id"]) for row in published} == {(aligned, own_space(old))}
    before = lake.read(USER_EMBEDDINGS).where(f"model_id = '{new}'").collect()
    turned = {(row["as_of"], row["user_id"]): row["embedding"] @ rotation for row in before}
    assert len(published) == len(active(DAYS[0]))
    for row in published:
        expected = turned[row["as_of"], row["user_id"]]
        assert row["embedding"] == pytest.approx(expected, rel=1e-4, abs=1e-6)


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


QUIET = ProcessCost()  # a look at the days that took no time
A_ROW = {USER_SEQUENCES.name: 10.0, USER_EMBEDDINGS.name: 1_000.0}


def missing_day(users, sequences=0):
    """A day that has `sequences`, right ones, and no vectors."""
    return Day(DAYS[0], users, sequences, users - sequences, 0, users)


def test_a_price_is_of_each_table_a_part_for_the_day_and_one_for_each_row():
    record = [DayCost("m", "d", 100, 12.0), DayCost("m", "d", 300, 16.0)]  # of older code
    prices = price_by_record(record, "m", A_ROW, QUIET)
    assert prices.of([missing_day(200)] * 2).seconds == pytest.approx(28)
    assert prices.of([missing_day(200, sequences=200)]).seconds == pytest.approx(5 + 2)
    assert prices.of([missing_day(200)]).bytes == 200 * 1_010
    others = price_by_record([DayCost("other", "d", 50, 9.0)], "m", A_ROW, QUIET)
    assert others.of([missing_day(50)]).seconds == pytest.approx(9)
    assert price_by_record([], "m", A_ROW, QUIET) is None


def test_a_recorded_day_prices_its_tables_its_memory_and_a_new_process(tmp_path):
    places = Places(tmp_path)
    for seconds, is_first in ((20.0, True), (8.0, False), (8.0, False)):
        tables = {
            USER_SEQUENCES.name: TableCost(100, 2.0, 5_000),
            USER_EMBEDDINGS.name: TableCost(100, 6.0, 90_000),
        }
        add_cost(places, DayCost("m", "d", 100, seconds, 2, tables, 3 << 30, is_first))
    prices = price_by_record(read_costs(places), "m", A_ROW, QUIET)
    price = prices.of([missing_day(100)] * 3)
    assert (price.seconds, price.bytes) == (pytest.approx(3 * 8 + 12), 3 * 95_000)
    assert price.peak_bytes == 3 << 30
    assert prices.of([missing_day(100)], in_new_process=False).seconds == pytest.approx(8)
    assert prices.of([missing_day(100, sequences=100)], in_new_process=False).seconds == (
        pytest.approx(6)
    )


def test_a_price_in_time_is_of_cpu_seconds_and_of_how_busy_the_machine_is():
    """Earlier days took four seconds for a CPU second, as did their surveys."""
    tables = {USER_EMBEDDINGS.name: TableCost(100, 24.0, 90_000, 6.0)}
    record = [DayCost("m", "d", 100, 24.0, 1, tables, 1, False, 8.0, 2.0)] * 5
    days = [missing_day(100, sequences=100)] * 2
    for survey_seconds, pace in ((16.0, 4), (4.0, 2)):  # as busy as then, and idle
        prices = price_by_record(record, "m", A_ROW, ProcessCost(survey_seconds, 4.0))
        price = prices.of(days)
        assert price.cpu_seconds == pytest.approx(4 + 2 * 6)
        assert price.seconds == pytest.approx(survey_seconds + 2 * 6 * pace)
        warm = prices.of(days, in_new_process=False)
        assert warm.seconds == pytest.approx(survey_seconds / 2 + 2 * 6 * pace)


def test_a_day_says_why_it_would_be_written():
    def why(*counts, others=False):
        return Day(DAYS[0], *counts).reasons(others)

    assert why(4, 4, 0, 4, 0) == {}
    assert why(4, 0, 4, 0, 4, 4, 0, 4, 0) == {"missing": 4}
    assert why(4, 4, 0, 0, 4, 0, 0, 4, 0, others=True) == {"other_model": 4}
    assert why(4, 4, 0, 0, 4, 0, 0, 4, 0) == {"vectors_missing": 4}
    assert why(4, 4, 1, 4, 1) == {"views_changed": 1}
    assert why(4, 3, 2, 3, 2, 1, 0, 1, 0) == {"views_changed": 1, "users_came": 1}
    assert why(4, 5, 1, 5, 1, 0, 1, 0, 1) == {"users_left": 1}
    assert why(4, 4, 0, 4, 2) == {"vectors_behind": 2}


def test_a_plan_names_what_a_promotion_would_switch_and_what_was_made_of_the_days(
    spark, switched, old, new, tmp_path
):
    places = copied(switched[0], tmp_path / "planned")
    lake = Lake(spark, places.lake)
    models = load_models(lake)
    assert make_plan(lake, places, models[new], DAYS).switch == PromotionSwitch(
        champion=old,
        days_now=3,
        rows_now=12,
        days_then=3,
        rows_then=12,
        missing_days=[],
        more_users=0,
        space_now=own_space(old),
        space_then=own_space(new),
    )
    late = datetime(FIRST.year, FIRST.month, FIRST.day) - timedelta(days=30)
    write(places, "sessions", [session(active(DAYS[0])[0], late, 0)])
    for made in (
        places.feature_store / "feature_store.yaml",
        places.neighbors / "published_embeddings,3,champion,newest" / "snapshot.json",
        places.neighbors / f"user_embeddings,3,{new},newest" / "snapshot.json",
        places.reports / "night" / f"{DAYS[0]}.html",
        places.reports / "night" / f"{DAYS[1]}.html",
    ):
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_text("")
    made = make_plan(lake, places, models[old], DAYS[:1])
    assert made.reasons == {str(DAYS[0]): {"views_changed": 1}}
    assert {each.kind: each.names for each in made.dependents} == {
        "published_embeddings": [str(DAYS[0])],
        "Feast services": [
            "user_embeddings",
            service_name(old),
            service_name(own_space(old)),
        ],
        "copies for neighbors": ["published_embeddings,3,champion,newest"],
        "reports": [f"night/{DAYS[0]}.html"],
    }
    assert any(line.startswith("Feast services (user_embeddings, ") for line in plan_words(made))
    assert '"views_changed": 1' in json.dumps(asdict(made), default=str)


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
