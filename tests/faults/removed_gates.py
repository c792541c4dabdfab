"""Take each gate out in turn, or loosen it, and count those that no test misses.

    python -m tests.faults.removed_gates                # ends with 1 if one is not missed
    python -m tests.faults.removed_gates --only users   # those whose name holds this word

A gate is an expectation of a table's rows, a measure of a landing day, or a measure of a run beside
the runs before it. Loosened, it lets one row more through, or lies twice as far out. All run in
this process with one Spark application: tests are called anew for each, and must fail.
"""

import contextlib
import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness import benchmark_parser, print_line, print_result
from contracts.tables import TABLES, Table
from expectations import suites
from expectations.days.bounds import (
    DAY_MEASURES,
    PUBLICATION_MEASURES,
    SEQUENCE_MEASURES,
    Bound,
)
from expectations.suites import Expected

TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Mutant:
    """A gate that is gone or loosened within `planted`, and the tests that must miss it."""

    name: str
    how: str
    planted: Callable[[], Any]
    tests: tuple[str, ...]


@contextmanager
def changed_suite(
    table: Table, change: Callable[[list[Expected]], list[Expected]]
) -> Iterator[None]:
    usual = suites.suite_expectations

    def suite(of: Table, measures: Any) -> list[Expected]:
        found = usual(of, measures)
        return change(found) if of is table else found

    suites.suite_expectations = suite
    try:
        yield
    finally:
        suites.suite_expectations = usual


@contextmanager
def changed_bound(bound: Bound, **values: Any) -> Iterator[None]:
    """In place: every list and every default parameter holds this object."""
    before = {name: getattr(bound, name) for name in values}
    for name, value in values.items():
        object.__setattr__(bound, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            object.__setattr__(bound, name, value)


def loosened(wanted: Expected) -> Expected:
    """A count lets one row more through; another number lies twice as far, or half."""
    most = None if wanted.most is None else 2 * wanted.most or 1
    least = None if wanted.least is None else wanted.least / 2 if wanted.least != 1 else 0
    return replace(wanted, least=least, most=most)


def row_mutants() -> Iterator[Mutant]:
    from tests.faults.wrong_rows import JOB_MEASURES

    for table in TABLES:
        tests = (
            f"test_wrong_rows.py::test_each_expectation_stops_the_rows_that_break_it[{table.name}]",
        )
        for each in suites.suite_expectations(table, JOB_MEASURES):
            name = f"{table.name}.{each.measure}"
            yield Mutant(
                name,
                "removed",
                lambda t=table, m=each.measure: changed_suite(
                    t, lambda found: [e for e in found if e.measure != m]
                ),
                tests,
            )
            if each.least == 0 and each.most is None:
                continue  # a number of rows that may be none: there is nothing to loosen
            yield Mutant(
                name,
                "loosened",
                lambda t=table, m=each.measure: changed_suite(
                    t, lambda found: [loosened(e) if e.measure == m else e for e in found]
                ),
                tests,
            )


def looser_ends(bound: Bound) -> Iterator[dict[str, float]]:
    """Each end that there is, twice as far out."""
    if bound.low is not None:
        yield {"low": bound.low / 2, "floor": bound.floor / 2}
    if bound.high is not None:
        yield {"high": bound.high * 2, "ceiling": bound.ceiling * 2}


def bound_mutants() -> Iterator[Mutant]:
    run_history = "test_run_history.py::test_each_measure_has_a_day_that_it_stops"
    for bound in (*DAY_MEASURES, *SEQUENCE_MEASURES, *PUBLICATION_MEASURES):
        is_of_day = bound in DAY_MEASURES
        tests = ("test_day_bounds.py", "-k", bound.name) if is_of_day else (run_history,)
        gone = {"is_off": True} if is_of_day else {"low": None, "high": None}
        yield Mutant(bound.name, "removed", partial(changed_bound, bound, **gone), tests)
        for ends in looser_ends(bound):
            how = f"{next(iter(ends))} end loosened"
            yield Mutant(bound.name, how, partial(changed_bound, bound, **ends), tests)


def is_missed(mutant: Mutant) -> bool:
    """Whether a test fails while the gate is not as it should be."""
    with mutant.planted():
        return run_tests(mutant.tests) == pytest.ExitCode.TESTS_FAILED


def run_tests(tests: tuple[str, ...]) -> int:
    path, *options = tests
    with contextlib.redirect_stdout(io.StringIO()):
        return pytest.main(
            ["-x", "-q", "-p", "no:cacheprovider", "--no-header", f"{TESTS}/{path}", *options]
        )


def main(only: str) -> int:
    os.chdir(TESTS.parent)
    from pyspark.sql import SparkSession

    SparkSession.stop = lambda self: None  # each call of pytest ends its session
    mutants = [each for each in (*row_mutants(), *bound_mutants()) if only in each.name]
    for tests in dict.fromkeys(each.tests for each in mutants):
        if run_tests(tests):
            raise SystemExit(f"{tests} fail as the gates are")
    survivors = []
    started = time.monotonic()
    for mutant in mutants:
        if not is_missed(mutant):
            survivors.append(f"{mutant.name}, {mutant.how}")
            print_line({"survives": survivors[-1]})
    print_result(
        {
            "name": "removed gates",
            "agree": not survivors,
            "figures": {
                "tried": len(mutants),
                "survivors": survivors,
                "seconds": round(time.monotonic() - started),
            },
        }
    )
    return 1 if survivors else 0


if __name__ == "__main__":
    parser = benchmark_parser(__doc__)
    parser.add_argument("--only", default="", metavar="WORD")
    sys.exit(main(parser.parse_args().only))
