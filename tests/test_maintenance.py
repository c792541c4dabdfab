import json
import os
import shutil
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from delta.tables import DeltaTable
from pyspark.sql import functions as F

from contracts.errors import BadInput
from contracts.tables import BROWSING_LOGS, REJECTED_LOGS, TITLES, USER_EMBEDDINGS
from expectations.gate import Passed
from spark_jobs.lake.lake import Lake
from spark_jobs.lake.maintenance import maintain_table
from spark_jobs.lake.retention import Pin, age_days, keep_days, oldest_pins
from spark_jobs.lake.table_properties import (
    FILE_RETENTION,
    KEEP_DAYS,
    statistics_columns,
    wanted_properties,
)

NOW = datetime(2017, 6, 30, 12, tzinfo=UTC)
DAY = 86_400


def model(name, status="candidate", **inputs):
    return {"model_id": name, "status": status, "inputs": json.dumps(inputs)}


def write_titles(lake, *numbers):
    """One commit, in place of all titles."""
    lake.create(TITLES)
    rows = [(n, f"title {n}", ["title", str(n)]) for n in numbers]
    frame = lake.spark.createDataFrame(rows, TITLES.ddl).coalesce(1)
    frame.write.format("delta").mode("overwrite").save(lake.path(TITLES))


def refuse(lake, day, *numbers):
    """One commit, and one file, a line."""
    lake.create(REJECTED_LOGS)
    for line in numbers:
        row = [(day, "f", line, "{", ["broken"])]
        frame = lake.spark.createDataFrame(row, REJECTED_LOGS.ddl).coalesce(1)
        frame.write.format("delta").mode("append").save(lake.path(REJECTED_LOGS))


def lines(lake):
    rows = lake.read(REJECTED_LOGS).orderBy("landing_day", "line").collect()
    return [(row["landing_day"], row["line"]) for row in rows]


def aged(lake, table, days):
    """The same table in another lake, as if version n had been committed `days[n]` days ago."""
    old = Lake(lake.spark, f"{lake.root}-aged")
    shutil.copytree(lake.path(table), old.path(table))
    log = Path(old.path(table)) / "_delta_log"
    for crc in Path(old.path(table)).rglob("*.crc"):
        crc.unlink()
    for version, ago in enumerate(days):
        commit = log / f"{version:020}.json"
        at = time.time() - ago * DAY
        actions = [json.loads(line) for line in commit.read_text().splitlines()]
        for action in actions:
            if "remove" in action:
                action["remove"]["deletionTimestamp"] = int(at * 1000)
            if "add" in action:
                os.utime(Path(old.path(table)) / action["add"]["path"], (at, at))
            if "commitInfo" in action:
                action["commitInfo"]["timestamp"] = int(at * 1000)
        commit.write_text("".join(f"{json.dumps(action)}\n" for action in actions))
        os.utime(commit, (at, at))
    return old


def data_files_on_disk(lake):
    return list(Path(lake.path(TITLES)).glob("part-*.parquet"))


def ids(lake, version):
    return sorted(row["title_id"] for row in lake.read(TITLES, version).collect())


def test_the_oldest_version_that_a_standing_model_names_is_pinned():
    models = [
        model("m3", "champion", sessions=9, titles=4),
        model("m2", titles=7),
        model("m1", "retired", titles=1),
        model("m0", "refused", sessions=0),
    ]
    assert oldest_pins(models) == {"sessions": Pin(9, "m3"), "titles": Pin(4, "m3")}


def test_unreadable_inputs_of_a_model_stop_maintenance_before_anything_is_removed():
    with pytest.raises(BadInput, match=r"inputs of m1 .* nothing is vacuumed"):
        oldest_pins([{"model_id": "m1", "status": "candidate", "inputs": "sessions at 3"}])


def test_the_retention_reaches_back_to_the_pinned_commit_with_days_to_spare():
    committed = {3: NOW - timedelta(days=99, hours=1), 4: NOW - timedelta(days=2)}
    assert age_days(committed, Pin(3, "m"), NOW) == 100
    assert age_days(committed, Pin(1, "m"), NOW) == 100  # older than all that the log tells of
    assert age_days(committed, None, NOW) == 0
    assert keep_days(held=KEEP_DAYS, age=0) == KEEP_DAYS
    assert keep_days(held=KEEP_DAYS, age=20) == KEEP_DAYS  # ten are left
    assert keep_days(held=KEEP_DAYS, age=21) == 21 + KEEP_DAYS
    assert keep_days(held=21 + KEEP_DAYS, age=28) == 21 + KEEP_DAYS  # a week later: no new commit
    assert keep_days(held=130, age=0) == KEEP_DAYS  # the model was retired


def test_statistics_are_of_columns_that_queries_range_over():
    assert statistics_columns(USER_EMBEDDINGS) == [
        "user_id",
        "norm",
        "num_views",
        "last_view_time",
        "sequence_hash",
    ]
    assert "title" not in statistics_columns(BROWSING_LOGS)


def test_a_named_version_outlives_vacuum_and_goes_when_its_model_is_retired(spark, lake):
    for n in range(1, 5):
        write_titles(lake, n, 10 * n)
    old = aged(lake, TITLES, days=[201, 200, 150, 49.5, 40])  # version 0 is the creation

    assert maintain_table(old, TITLES, Pin(3, "m1")).keep_days == 50 + KEEP_DAYS
    assert ids(old, 3) == [3, 30]  # replaced 40 days ago, so 30 days would not have kept it
    assert len(data_files_on_disk(old)) == 3  # version 1's was replaced 150 days ago
    properties_now = DeltaTable.forPath(spark, old.path(TITLES)).detail().first()["properties"]
    assert properties_now[FILE_RETENTION] == "interval 80 days"

    assert maintain_table(old, TITLES, None).keep_days == KEEP_DAYS
    assert len(data_files_on_disk(old)) == 1
    assert ids(old, None) == [4, 40]


def test_small_files_of_quiet_days_are_compacted_once_and_the_newest_days_left(lake):
    old, new = date(2017, 6, 1), date(2017, 6, 3)
    refuse(lake, old, 1, 2, 3, 4, 5)
    refuse(lake, new, 1, 2, 3, 4)
    before = lines(lake)

    planned = maintain_table(lake, REJECTED_LOGS, None, dry_run=True)
    assert (planned.num_files, planned.num_crowded, planned.compacted) == (9, 1, None)
    assert maintain_table(lake, REJECTED_LOGS, None).compacted == (5, 1)
    assert lines(lake) == before
    again = maintain_table(lake, REJECTED_LOGS, None)
    assert (again.num_files, again.num_crowded, again.compacted) == (5, 0, None)


def test_a_job_that_maintenance_overtakes_does_its_work_again(lake):
    refuse(lake, date(2017, 6, 1), 1, 2, 3, 4)
    lake.create(TITLES)
    seen = []

    def attempt():
        rows = lake.read(REJECTED_LOGS).where("landing_day = '2017-06-01'")
        counted = rows.withColumn("line", F.col("line") + 100)
        passed = Passed(counted.localCheckpoint(), REJECTED_LOGS, {})
        if not seen:
            refuse(lake, date(2017, 6, 9), 9)  # a newer day, so that the old one is quiet
            assert maintain_table(lake, REJECTED_LOGS, None).compacted == (4, 1)
        seen.append(1)
        return lake.replace(passed, "landing_day = '2017-06-01'")

    lake.settle(REJECTED_LOGS, attempt)
    assert len(seen) == 2
    assert [line for _, line in lines(lake)] == [201, 202, 203, 204, 9]


def test_a_table_gets_its_properties_once(spark, lake):
    lake.create(TITLES)
    maintain_table(lake, TITLES, None)
    version = lake.version(TITLES)
    held = DeltaTable.forPath(spark, lake.path(TITLES)).detail().first()["properties"]
    assert wanted_properties(TITLES).items() <= held.items()
    maintain_table(lake, TITLES, None)
    assert lake.version(TITLES) == version
