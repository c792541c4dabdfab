"""The gate before each table: a frame that has passed is the only thing that a lake takes."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pyspark.sql import DataFrame

from contracts.errors import BadInput, GateFailed
from contracts.paths import Places
from contracts.provenance import code_version
from contracts.tables import Table
from expectations import data_docs
from expectations.failure_message import failure_message
from expectations.gx_validation import failed_measures, import_early, validate_measures
from expectations.measures import breaking_rows, take_measures
from expectations.results import Finding, GateResult, save_result
from expectations.suites import (
    COLUMNS_THAT_DIFFER,
    DUPLICATE_KEYS,
    Expected,
    contract_expectations,
    suite_expectations,
)

_MAX_NAMED = 3  # broken expectations whose rows are looked up; each costs a query


class SchemaError(BadInput):
    """A frame's columns are not those that its table declares."""

    differing = 0  # how many


class UnusualDay(GateFailed):
    """Each row is right, and the day that they are of is not like the days before it."""


@dataclass(frozen=True)
class Passed:
    """A frame that its table's gate has let through, cached until it is written."""

    frame: DataFrame
    table: Table
    measures: Mapping[str, float]  # what the gate counted: rows, and the job's own measures

    def release(self) -> None:
        self.frame.unpersist()


def _conform(frame: DataFrame, table: Table) -> DataFrame:
    """Put `frame`'s columns in the declared order, or say which of them differ."""
    declared_types = dict(frame.sparkSession.createDataFrame([], table.ddl).dtypes)
    found = dict(frame.dtypes)
    differing = [
        name for name in declared_types | found if declared_types.get(name) != found.get(name)
    ]
    if differing:
        lines = [
            f"  {n}: declared {declared_types.get(n)}, found {found.get(n)}" for n in differing
        ]
        error = SchemaError(
            f"{table.name} is not as contracts/tables.py declares it:\n" + "\n".join(lines)
        )
        error.differing = len(differing)
        raise error
    return frame.select(table.names)


def run_gate(
    frame: DataFrame,
    table: Table,
    *,
    places: Places,
    run: str,
    measures: Mapping[str, float] | None = None,
    cached: bool = True,
    of_the_run: Sequence[Expected] = (),
) -> Passed:
    """Let `frame` through, or raise `GateFailed` with what is wrong, where, and what to do.

    `run` names the result, for example the day that the frame is of. `measures` are facts of the
    whole run that the table's hand-written expectations speak of, for example lines refused.
    A frame that costs little to compute again, say out of another that is cached, need not be
    `cached` too. `of_the_run` are expectations that the job made of what it measured.
    Either way places.gates gets the result as JSON and as a page of Data Docs.
    """
    import_early()
    gate = _Gate(table, places, run, measures or {}, time.monotonic(), of_the_run)
    judged = gate.conformed(frame)
    if cached:
        judged.persist()
    try:
        rows = gate.judged(judged)
    except BaseException:
        judged.unpersist()
        raise
    return Passed(judged, table, {"rows": rows, **gate.job_measures})


@dataclass(frozen=True)
class _Gate:
    """One frame before one table."""

    table: Table
    places: Places
    run: str
    job_measures: Mapping[str, float]
    started: float
    of_the_run: Sequence[Expected] = ()

    def conformed(self, frame: DataFrame) -> DataFrame:
        try:
            return _conform(frame, self.table)
        except SchemaError as error:
            of_columns = [
                e for e in contract_expectations(self.table) if e.measure == COLUMNS_THAT_DIFFER
            ]
            self._record(of_columns, {COLUMNS_THAT_DIFFER: error.differing}, {}, str(error))
            raise

    def judged(self, frame: DataFrame) -> int:
        """The number of rows, when all is well."""
        wanted = [*suite_expectations(self.table, self.job_measures), *self.of_the_run]
        taken = {COLUMNS_THAT_DIFFER: 0, **take_measures(frame, self.table, wanted)}
        taken |= {e.measure: e.from_job(self.job_measures) for e in wanted if e.from_job}
        broken = [e for e in _causes_first(wanted) if not _is_within(e, taken[e.measure])]
        rows = {e.measure: breaking_rows(frame, self.table, e) for e in broken[:_MAX_NAMED]}
        result = self._record(wanted, taken, rows)
        if not result.passed:
            of_the_day = {each.measure for each in self.of_the_run}
            is_day = all(found.expectation in of_the_day for found in result.failed)
            raise (UnusualDay if is_day else GateFailed)(result.line)
        return int(taken["rows"])

    def _record(
        self,
        wanted: list[Expected],
        taken: Mapping[str, float],
        rows: Mapping[str, list[dict[str, str]]],
        error: str = "",
    ) -> GateResult:
        """Judge, and leave the result and its page. Great Expectations has the last word."""
        verdict = validate_measures(self.table, self.run, wanted, taken)
        failed = failed_measures(verdict)
        page = data_docs.page_path(self.places.gates, self.table.name, self.run)
        found = [
            _found(e, taken[e.measure], e.measure in failed, rows) for e in _causes_first(wanted)
        ]
        result = GateResult(
            table=self.table.name,
            run=self.run,
            passed=not failed,
            line=error
            or failure_message(self.table.name, self.run, found, taken, self.job_measures, page),
            rows=int(taken.get("rows", 0)),
            seconds=round(time.monotonic() - self.started, 2),
            checked_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            code=code_version(),
            measures={name: _finite(value) for name, value in self.job_measures.items()},
            expectations=found,
        )
        save_result(self.places.gates, result)
        data_docs.write_pages(self.places.gates, self.table, wanted, result)
        return result


def _causes_first(wanted: list[Expected]) -> list[Expected]:
    """What the job measured comes first: refused lines are the cause, broken rows the effect."""
    return sorted(wanted, key=lambda e: e.from_job is None)


def _is_within(wanted: Expected, value: float) -> bool:
    """As Great Expectations will say; NaN is within nothing."""
    low = -math.inf if wanted.least is None else wanted.least
    high = math.inf if wanted.most is None else wanted.most
    return low <= value <= high


def _found(
    wanted: Expected, value: float, failed: bool, rows: Mapping[str, list[dict[str, str]]]
) -> Finding:
    return Finding(
        expectation=wanted.measure,
        says=wanted.says,
        passed=not failed,
        observed=_finite(value),
        least=wanted.least,
        most=wanted.most,
        of_rows=bool(wanted.breaks) or wanted.measure == DUPLICATE_KEYS,
        rows=rows.get(wanted.measure, []),
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
