import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest

from contracts.errors import MissingTable
from contracts.storage.damage import DamagedFile
from contracts.tables import Column, Table
from expectations.gate import Passed
from spark_jobs.lake.lake import Lake

DAYS = Table(
    name="days",
    doc="A number of a day.",
    key=("day", "n"),
    partition_by=("day",),
    columns=(
        Column("day", "date", "which"),
        Column("n", "int", "what"),
        Column("m", "int", "more"),
    ),
    checks=(("positive", "n > 0"),),
    change_feed=True,
)
ONE, TWO = date(2017, 1, 1), date(2017, 1, 2)


@pytest.fixture
def passed(spark):
    def make(*rows):
        """Rows of (day, n), or (day, n, m)."""
        rows = [(*row, 0)[:3] for row in rows]
        return Passed(spark.createDataFrame(rows, DAYS.ddl), DAYS, {"rows": len(rows)})

    return make


def held(lake):
    return sorted(tuple(row) for row in lake.read(DAYS).select("day", "n").collect())


def of(day):
    return f"day = '{day}'"


def test_a_table_is_made_as_its_contract_declares_it(spark, lake):
    lake.create(DAYS)
    lake.create(DAYS)  # once is enough
    detail = spark.sql(f"describe detail delta.`{lake.path(DAYS)}`").first()
    assert detail["partitionColumns"] == ["day"]
    assert detail["properties"]["delta.constraints.positive"] == "n > 0"
    assert detail["properties"]["delta.enableChangeDataFeed"] == "true"
    assert detail["properties"]["delta.enableDeletionVectors"] == "false"
    assert [field.nullable for field in lake.read(DAYS).schema] == [False] * 3


def test_delta_itself_refuses_a_row_that_breaks_a_check(lake, passed):
    lake.replace(passed((ONE, 1)), of(ONE))
    with pytest.raises(Exception, match="positive"):
        lake.replace(passed((ONE, -1)), of(ONE))
    assert held(lake) == [(ONE, 1)]


def test_a_table_that_is_not_there_names_the_command_that_makes_it(lake):
    with pytest.raises(MissingTable, match="`userbert days`"):
        lake.read(DAYS)
    assert lake.read_or_empty(DAYS).columns == ["day", "n", "m"]
    assert (lake.version(DAYS), lake.metadata(DAYS), lake.watermark(DAYS, DAYS)) == (-1, {}, -1)


def test_a_write_replaces_its_own_rows_and_no_others(lake, passed):
    lake.replace(passed((ONE, 1), (ONE, 2)), of(ONE))
    lake.replace(passed((TWO, 3)), of(TWO))
    commit = lake.replace(passed((ONE, 4)), of(ONE))
    assert held(lake) == [(ONE, 4), (TWO, 3)]
    assert (commit.rows, commit.version) == (1, lake.version(DAYS))
    with pytest.raises(Exception, match="DELTA_REPLACE_WHERE_MISMATCH"):
        lake.replace(passed((TWO, 5)), of(ONE))


def test_rows_are_added_once_though_another_writer_adds_them_meanwhile(lake, passed):
    looks = []

    def missing(watermark):
        held_now = {n for _, n in held(lake)}
        looks.append(held_now)
        rows = [(ONE, n, watermark) for n in (1, 2) if n not in held_now]
        return passed(*rows), {"watermark": {"days": watermark}}

    def overtaken():
        if not looks:
            made = missing(8)
            assert lake.append_alone(DAYS, lambda: missing(7)).rows == 2
            return made
        return missing(8)

    assert lake.append_alone(DAYS, overtaken).rows == 0  # the second look found nothing to add
    assert looks == [set(), set(), {1, 2}]
    assert {row["m"] for row in lake.read(DAYS).collect()} == {7}
    assert lake.watermark(DAYS, DAYS) == 8
    assert lake.append_alone(DAYS, lambda: None) is None


def test_a_commit_tells_what_was_read_and_counted(lake, passed):
    lake.replace(passed((ONE, 1)), of(ONE))
    lake.read(DAYS)
    lake.replace(passed((TWO, 1)), of(TWO), watermark={"days": 1})
    provenance = lake.metadata(DAYS)
    assert (provenance["inputs"], provenance["measures"]) == ({"days": 1}, {"rows": 1})
    lake.replace(passed((TWO, 1)), of(TWO))
    assert lake.watermark(DAYS, DAYS) == 1  # of the newest commit that has one


def test_changes_since_a_version_are_rows_that_came_and_went(lake, passed):
    first = lake.replace(passed((ONE, 1), (TWO, 2)), "true").version
    lake.replace(passed((ONE, 3)), of(ONE))
    changes = lake.changes(DAYS, first).select("day", "n", "added").collect()
    assert sorted(map(tuple, changes)) == [(ONE, 1, False), (ONE, 3, True)]
    assert lake.changes(DAYS, lake.version(DAYS)).count() == 0
    assert lake.changes(DAYS, -1) is None
    assert lake.changes(DAYS, 99) is None


def test_changes_that_vacuum_may_have_removed_are_not_trusted(spark, lake, passed):
    first = lake.replace(passed((ONE, 1)), of(ONE)).version
    lake.replace(passed((TWO, 2)), of(TWO))
    retention = "'delta.deletedFileRetentionDuration' = 'interval 0 hours'"
    spark.sql(f"alter table delta.`{lake.path(DAYS)}` set tblproperties ({retention})")
    assert lake.changes(DAYS, first) is None


def test_whoever_is_overtaken_does_the_work_again_and_sees_the_other(spark, lake, passed):
    lake.replace(passed((ONE, 1)), of(ONE))
    other = Lake(spark, lake.root)
    seen = []

    def attempt():
        seen.append(lake.read(DAYS).count())
        if len(seen) == 1:
            other.replace(passed((TWO, 1), (TWO, 2)), of(TWO))
        return lake.replace(passed((ONE, seen[-1])), of(ONE))

    lake.settle(DAYS, attempt)
    assert seen == [1, 3]
    assert held(lake) == [(ONE, 3), (TWO, 1), (TWO, 2)]


def test_days_that_are_written_side_by_side_all_arrive(spark, lake, passed):
    lake.create(DAYS)
    frames = {date(2017, 1, n): passed((date(2017, 1, n), n)) for n in range(1, 5)}

    def write(day):
        Lake(spark, lake.root).replace(frames[day], of(day))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, frames))
    assert held(lake) == [(day, day.day) for day in frames]


def test_a_table_is_made_over_what_a_kill_left_of_its_first_commit(lake, monkeypatch):
    monkeypatch.setattr("spark_jobs.lake.lake.CREATION_SECONDS", 0)
    folder = Path(lake.path(DAYS))
    (folder / "_delta_log").mkdir(parents=True)
    (folder / "_delta_log" / ".00000000000000000000.json.0.tmp").write_text("half")
    lake.create(DAYS)
    assert lake.version(DAYS) == 0
    assert [path.name for path in folder.iterdir()] == ["_delta_log"]


@pytest.mark.parametrize("left", [0, 40])
def test_a_newest_commit_that_is_empty_or_torn_is_named_with_what_mends_it(
    spark, lake, passed, left
):
    lake.replace(passed((ONE, 1)), of(ONE))
    commit = lake.replace(passed((TWO, 2)), of(TWO))
    # A copy, of which this JVM has read nothing yet.
    root = shutil.copytree(lake.root, f"{lake.root}-damaged")
    torn = Path(root, DAYS.name, "_delta_log", f"{commit.version:020}.json")
    torn.write_bytes(torn.read_bytes()[:left])
    for look in (Lake.read, Lake.read_or_empty, Lake.version, Lake.metadata, Lake.create):
        with pytest.raises(DamagedFile, match=f"{torn} is damaged: .* `userbert days`") as damage:
            look(Lake(spark, root), DAYS)
    subprocess.run(str(damage.value).split("`")[1], shell=True, check=True)  # what the line says
    again = Lake(spark, root)
    again.replace(passed((TWO, 3)), of(TWO))
    assert held(again) == [(ONE, 1), (TWO, 3)]
