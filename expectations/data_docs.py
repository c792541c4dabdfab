"""Data Docs: a page a gate, a page a suite, and an index of the newest results of each table.

The pages are our own: one file each without scripts and without a network, from templates. Great
Expectations judges; its own pages load styles and scripts from six hosts, and say less of history.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from contracts.storage.atomic_write import write_text
from contracts.tables import TABLES, Table
from expectations.failure_message import advice_name, gate_advice, row_text
from expectations.results import (
    Finding,
    GateResult,
    file_name,
    keep_newest,
    newest_readable,
)
from expectations.suites import Expected

_MAX_PAGES = 60  # of a table that are kept, 40 kB each
_MAX_LISTED = 15  # results of a table on the index
_HISTORY = timedelta(days=28)
_MAX_HISTORY = 60  # results: a backfill makes many in one day


def page_path(gates: Path, table: str, run: str) -> Path:
    return gates / "docs" / table / f"{file_name(run)}.html"


def write_pages(gates: Path, table: Table, wanted: list[Expected], result: GateResult) -> None:
    """Write the page of `result`, the suite's page if it is missing or failed, and the index."""
    write_text(page_path(gates, table.name, result.run), _gate_page(gates, result))
    suite = gates / "docs" / "expectations" / f"{table.name}.html"
    if not result.passed or not suite.exists():
        write_text(suite, _render("suite.html.j2", table=table, wanted=wanted))
    keep_newest(gates / "docs" / table.name, "*.html", _MAX_PAGES)
    write_index(gates)


def rewrite_pages(gates: Path) -> list[Path]:
    """Write the pages of the newest results and the index anew; the results that are damaged."""
    for table in TABLES:
        for result in reversed(newest_readable(gates, table.name, _MAX_LISTED)[0]):
            write_text(page_path(gates, table.name, result.run), _gate_page(gates, result))
    return write_index(gates)


@dataclass(frozen=True)
class _Bar:
    """One earlier run in a chart: how high it stands, of 1."""

    run: str
    observed: float
    height: float
    passed: bool


def _gate_page(gates: Path, result: GateResult) -> str:
    earlier = _four_weeks(gates, result)
    histories = {each.expectation: _bars(each, earlier) for each in result.expectations}
    return _render("gate.html.j2", result=result, histories=histories, num_runs=len(earlier))


def _four_weeks(gates: Path, result: GateResult) -> list[GateResult]:
    """The results of the same table up to this one, oldest first."""
    first = datetime.fromisoformat(result.checked_at) - _HISTORY
    readable, _ = newest_readable(gates, result.table, _MAX_HISTORY)
    return [
        each
        for each in reversed(readable)
        if first.isoformat() <= each.checked_at <= result.checked_at
    ]


def _bars(finding: Finding, results: Sequence[GateResult]) -> list[_Bar]:
    """The observed values of one expectation, as parts of the highest of them and of the bound."""
    seen = [
        (result.run, each)
        for result in results
        for each in result.expectations
        if each.expectation == finding.expectation and each.observed is not None
    ]
    highest = max((abs(each.observed or 0) for _, each in seen), default=0)
    top = max(highest, finding.most or 0, finding.least or 0) or 1
    return [
        _Bar(run, each.observed or 0, abs(each.observed or 0) / top, each.passed)
        for run, each in seen
    ]


def write_index(gates: Path) -> list[Path]:
    """Write the index; the results that are damaged, which it names and leaves out."""
    results, damaged = [], []
    for table in TABLES:
        readable, unreadable = newest_readable(gates, table.name, _MAX_LISTED)
        damaged += unreadable
        for result in readable:
            page = page_path(gates, result.table, result.run)
            results.append((result, page.name if page.exists() else ""))
    suites = {path.stem for path in (gates / "docs" / "expectations").glob("*.html")}
    page_text = _render("index.html.j2", results=results, damaged=damaged, suites=suites)
    write_text(gates / "docs" / "index.html", page_text)
    return damaged


def bound_text(expectation: Finding | Expected) -> str:
    """The bounds of an expectation in words."""
    least, most = expectation.least, expectation.most
    if least is None and most is None:
        return "any value"
    if least is None:
        return "none" if most == 0 else f"at most {most:,.6g}"
    return f"at least {least:,.6g}" if most is None else f"{least:,.6g} to {most:,.6g}"


def _observed_text(finding: Finding) -> str:
    if finding.observed is None:
        return "not measured"
    number = f"{finding.observed:,.6g}"
    return f"{number} rows break it" if finding.of_rows and finding.observed else number


def _with_code(text: str) -> Markup:
    """`text` with what stands between backticks as code; everything in it is escaped."""
    parts = re.split(r"`([^`]+)`", text)  # by turns outside of backticks, and between two
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part)
        for number, part in enumerate(parts)
    )


def _failures_first(result: GateResult) -> Iterator[Finding]:
    yield from result.failed
    yield from (each for each in result.expectations if each.passed)


def _render(template: str, **values: object) -> str:
    return _templates().get_template(template).render(**values)


@cache
def _templates() -> Environment:
    """Every value is escaped: titles and user_ids are somebody else's text."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "row_text": row_text,
        "bound": bound_text,
        "observed": _observed_text,
        "with_code": _with_code,
        "failures_first": _failures_first,
        "advice": lambda measure: gate_advice()[advice_name(measure)],
    }
    return environment
