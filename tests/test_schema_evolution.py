from dataclasses import replace
from datetime import date

import pytest
from delta.exceptions import DeltaConcurrentModificationException
from deltalake import DeltaTable
from small_lake import duckdb_rows

from contracts.errors import LayoutMismatch
from contracts.tables import LAYOUT_VERSION, Column, Table
from expectations.gate import Passed
from spark_jobs.lake import schema_evolution
from spark_jobs.lake.lake import Lake
from spark_jobs.lake.schema_evolution import checks_of, declared_columns, evolution_of
from spark_jobs.lake.table_properties import LAYOUT_PROPERTY, check_properties
from spark_jobs.spark.delta_log import Metadata

YESTERDAY = Table(
    name="days",
    doc="A number of a day.",
    key=("day", "n"),
    partition_by=("day",),
    columns=(Column("day", "date", "which"), Column("n", "int", "what")),
    checks=(("positive", "n > 0"),),
    change_feed=True,
)
DAY, N = YESTERDAY.columns
ONE, TWO = date(2017, 1, 1), date(2017, 1, 2)


@pytest.fixture
def yesterday(spark, lake):
    """A lake that yesterday's code wrote, opened by nobody yet."""
    rows = spark.createDataFrame([(ONE, 1), (TWO, 2)], YESTERDAY.ddl)
    lake.replace(Passed(rows, YESTERDAY, {"rows": 2}), "true")
    return Lake(spark, lake.root)


def rows(lake, table):
    return sorted(tuple(row) for row in lake.read(table).select(table.names).collect())


def test_a_gained_column_is_there_for_every_reader_after_one_commit(yesterday):
    note = Column("note", "string", "a remark", nullable=True)
    today = replace(YESTERDAY, columns=(DAY, note, N))
    before = yesterday.version(YESTERDAY)
    assert rows(yesterday, today) == [(ONE, None, 1), (TWO, None, 2)]
    assert yesterday.version(today) == before + 1
    assert duckdb_rows(yesterday.path(today), "day, note, n") == [(ONE, None, 1), (TWO, None, 2)]
    found = DeltaTable(yesterday.path(today))
    assert found.to_pyarrow_table().column_names == ["day", "note", "n"]
    assert yesterday.changes(today, before).count() == 0  # later jobs have nothing to do again
    again = Lake(yesterday.spark, yesterday.root)
    assert rows(again, today) == rows(yesterday, today)
    assert again.version(today) == before + 1


def test_a_default_fills_the_rows_that_are_there_and_its_check_holds_in_the_same_commit(yesterday):
    half = Column("half", "double", "of n", default="n / 2")
    today = replace(
        YESTERDAY,
        columns=(DAY, N, half),
        checks=(*YESTERDAY.checks, ("half_of_n", "half * 2 = n")),
    )
    before = yesterday.version(YESTERDAY)
    assert rows(yesterday, today) == [(ONE, 1, 0.5), (TWO, 2, 1.0)]
    assert yesterday.version(today) == before + 1
    assert not yesterday.read(today).schema["half"].nullable
    assert duckdb_rows(yesterday.path(today), "n, half") == [(1, 0.5), (2, 1.0)]
    assert yesterday.changes(today, before) is None  # a later job reads the whole table
    wrong = yesterday.spark.createDataFrame([(ONE, 1, 7.0)], today.ddl)
    with pytest.raises(Exception, match="half_of_n"):
        yesterday.replace(Passed(wrong, today, {"rows": 1}), f"day = '{ONE}'")


def test_a_check_that_rows_break_is_refused_with_their_number_and_changes_nothing(yesterday):
    today = replace(YESTERDAY, checks=(*YESTERDAY.checks, ("small", "n < 2")))
    before = yesterday.version(YESTERDAY)
    with pytest.raises(LayoutMismatch, match=r"CHECK small \(n < 2\): 1 rows break it"):
        yesterday.read(today)
    assert yesterday.version(YESTERDAY) == before


def test_a_check_that_replaces_a_former_one_takes_its_place(yesterday):
    today = replace(YESTERDAY, checks=(("positive", "n >= 0"),), former_checks=YESTERDAY.checks)
    rows = yesterday.spark.createDataFrame([(ONE, 0)], today.ddl)
    yesterday.replace(Passed(rows, today, {"rows": 1}), f"day = '{ONE}'")
    assert checks_of(yesterday.log(today).metadata()) == {"positive": "n >= 0"}


@pytest.mark.parametrize(
    ("today", "line"),
    [
        ({"columns": (DAY,)}, "column n int NOT NULL: no longer declared"),
        (
            {"columns": (DAY, Column("n", "bigint", "what"))},
            "column n: declared bigint NOT NULL, the lake has int NOT NULL",
        ),
        (
            {"columns": (DAY, Column("n", "int", "what", nullable=True))},
            "column n: declared int, the lake has int NOT NULL",
        ),
        ({"columns": (DAY, N, Column("m", "int", "more"))}, "column m: declared NOT NULL, without"),
        ({"checks": ()}, r"CHECK positive: no longer declared, the lake has \(n > 0\)"),
        ({"checks": (("positive", "n > 1"),)}, r"CHECK positive: declared \(n > 1\), the lake has"),
        ({"partition_by": ()}, r"partitions: declared \(\), the lake has \('day',\)"),
    ],
)
def test_what_the_contract_lost_or_changed_is_named_with_the_way_to_migrate(spark, today, line):
    held = Metadata(declared_columns(YESTERDAY), ("day",), check_properties(YESTERDAY))
    with pytest.raises(LayoutMismatch, match=line) as refused:
        evolution_of(held, replace(YESTERDAY, **today))
    assert "docs/lake-layout.md, days" in str(refused.value)
    assert refused.value.exit_code == 2


def test_a_lake_of_newer_code_is_refused(yesterday):
    yesterday.set_properties(YESTERDAY, {LAYOUT_PROPERTY: str(LAYOUT_VERSION + 1)})
    with pytest.raises(LayoutMismatch, match=f"layout {LAYOUT_VERSION + 1}: newer code wrote it"):
        yesterday.read(YESTERDAY)


def test_of_two_processes_that_open_the_lake_the_second_finds_it_done(yesterday, monkeypatch):
    today = replace(YESTERDAY, columns=(DAY, N, Column("m", "int", "more", default="3")))
    commit, attempts = schema_evolution._commit, []

    def overtaken(log, *rest):
        attempts.append(log.version())
        if len(attempts) == 1:
            commit(log, *rest)
            raise DeltaConcurrentModificationException("another process was first")
        commit(log, *rest)

    monkeypatch.setattr(schema_evolution, "_commit", overtaken)
    assert rows(yesterday, today) == [(ONE, 1, 3), (TWO, 2, 3)]
    assert len(attempts) == 1
