"""Each expectation of a row or a table stops the rows that break it by little, and no good one."""

import math

import pytest
from faults.wrong_rows import GOOD, JOB_MEASURES, cases_of
from pyspark.sql import functions as F

from contracts.tables import TABLES
from expectations import suites
from expectations.measures import _without_ansi_errors

GOOD_CASE = "good"
_TAKEN = {}  # by table and SQL: what was measured of each case


def suite_of(table):
    """Looked up at each call: tests/faults/removed_gates.py takes expectations out."""
    return {e.measure: e for e in suites.suite_expectations(table, JOB_MEASURES)}


def is_within(wanted, value):
    low = -math.inf if wanted.least is None else wanted.least
    high = math.inf if wanted.most is None else wanted.most
    return low <= value <= high


def measured(spark, table, suite):
    """Each aggregate of each case, by one query; a case without rows has counted none."""
    queries = {name: wanted.aggregate for name, wanted in suite.items() if wanted.aggregate}
    key = (table.name, *queries.items())
    if key not in _TAKEN:
        _TAKEN[key] = _measured(spark, table, queries)
    return _TAKEN[key]


def _measured(spark, table, queries):
    cases = {GOOD_CASE: [GOOD[table.name]]} | {
        name: case for name, case in cases_of(table).items() if not isinstance(case, int | float)
    }
    rows = [
        (name, *(row[column] for column in table.names))
        for name, rows in cases.items()
        for row in rows
    ]
    ddl = f"case string, {table.ddl.replace(' NOT NULL', '')}"
    frame = spark.createDataFrame(rows, ddl)
    with _without_ansi_errors(spark):
        aggregates = [F.expr(sql).alias(name) for name, sql in queries.items()]
        found = {
            row["case"]: row.asDict() for row in frame.groupBy("case").agg(*aggregates).collect()
        }
    return {name: found.get(name, {"rows": 0}) for name in cases}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_each_expectation_stops_the_rows_that_break_it(spark, table):
    suite, cases = suite_of(table), cases_of(table)
    assert set(suite) == set(cases)
    taken = measured(spark, table, suite)
    for name, case in cases.items():
        value = case if isinstance(case, int | float) else taken[name][name]
        assert not is_within(suite[name], value), f"{name} lets {value} through"


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_good_row_breaks_nothing_but_what_takes_two(spark, table):
    suite = suite_of(table)
    taken = measured(spark, table, suite)[GOOD_CASE]
    broken = {
        name for name, value in taken.items() if name in suite and not is_within(suite[name], value)
    }
    assert broken <= {"users"}  # pairs of one user
    by_job = {n: e.from_job(JOB_MEASURES) for n, e in suite.items() if e.from_job}
    assert all(is_within(suite[name], value) for name, value in by_job.items())
