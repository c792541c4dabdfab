"""Each gate of a run: what it observed, its bounds, and what it observed in the runs before."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from contracts.paths import Places
from contracts.tables import BROWSING_LOGS, REJECTED_LOGS, SESSIONS, TITLES, Table
from contracts.terminal.error_codes import code_for, error_codes
from expectations.data_docs import page_path
from expectations.day_history import DAY_PREFIX
from expectations.results import Finding, GateResult, newest_readable
from userbert.report.subject import Subject
from userbert.report.table_commits import TableCommit

_MAX_RUNS = 30  # results of a table that are read


@dataclass(frozen=True)
class _ObservedMeasure:
    """One expectation: what this run gave, and the runs before it."""

    expectation: str
    says: str
    passed: bool
    observed: float | None
    least: float | None
    most: float | None
    earlier_lowest: float | None
    earlier_median: float | None
    earlier_highest: float | None
    earlier_failures: int
    rows: list[dict[str, str]]  # some of those that break it


@dataclass(frozen=True)
class Gate:
    """The gate of one table."""

    table: str
    run: str
    is_of_this_run: bool
    passed: bool
    line: str  # what a person reads first
    rows: int
    seconds: float
    checked_at: str
    code: str
    error_code: str  # such as UB-401, and what mends it; both empty where the gate passed
    what_mends: str
    page: str  # the page of the Data Docs, from a report's folder; empty where it is gone
    earlier_runs: int  # that are known
    earlier_failures: int
    measures: list[_ObservedMeasure]


def gather_gates(places: Places, subject: Subject, commits: Sequence[TableCommit]) -> list[Gate]:
    """The gates of the run's tables that have a result."""
    gates = []
    for table in subject.tables:
        results, _ = newest_readable(places.gates, table.name, _MAX_RUNS)
        if results:
            gates.append(_gate(places, table, results, _result_name(subject, table, commits)))
    return gates


def _gate(places: Places, table: Table, results: Sequence[GateResult], wanted: str | None) -> Gate:
    own = [result for result in results if wanted is None or result.run.startswith(wanted)]
    result = own[0] if own else results[0]
    earlier = [other for other in results if other.checked_at < result.checked_at]
    page = page_path(places.gates, result.table, result.run)
    error_code = _error_code(result)
    return Gate(
        table.name,
        result.run,
        bool(own),
        result.passed,
        result.line,
        result.rows,
        result.seconds,
        result.checked_at,
        result.code,
        error_code,
        error_codes()[error_code].mend if error_code else "",
        f"../../gates/docs/{table.name}/{page.name}" if page.exists() else "",
        len(earlier),
        sum(not other.passed for other in earlier),
        [_measure(finding, earlier) for finding in result.expectations],
    )


def _error_code(result: GateResult) -> str:
    """The code of the line that the failed task ended with."""
    if result.passed:
        return ""
    is_day = all(each.expectation.startswith(DAY_PREFIX) for each in result.failed)
    return code_for(["UnusualDay" if is_day else "GateFailed"], "expectations.gate")


def _result_name(subject: Subject, table: Table, commits: Sequence[TableCommit]) -> str | None:
    """How the name of the run's result begins; None where no name can say so.

    The gates of titles and sessions name their results by the version of browsing_logs.
    """
    if table in (BROWSING_LOGS, REJECTED_LOGS):
        return str(subject.landing_days[0])
    if "as_of" in table.partition_by:
        return str(subject.as_of)
    own = next((commit for commit in commits if commit.table == table.name), None)
    if table in (TITLES, SESSIONS) and own and BROWSING_LOGS.name in own.inputs:
        return f"{BROWSING_LOGS.name}-{own.inputs[BROWSING_LOGS.name]}"
    return None


def _measure(finding: Finding, earlier: Sequence[GateResult]) -> _ObservedMeasure:
    before = list(_same_expectation(finding.expectation, earlier))
    values = [other.observed for other in before if other.observed is not None]
    return _ObservedMeasure(
        finding.expectation,
        finding.says,
        finding.passed,
        finding.observed,
        finding.least,
        finding.most,
        min(values, default=None),
        statistics.median(values) if values else None,
        max(values, default=None),
        sum(not other.passed for other in before),
        finding.rows,
    )


def _same_expectation(name: str, results: Iterable[GateResult]) -> Iterable[Finding]:
    for result in results:
        yield from (each for each in result.expectations if each.expectation == name)
