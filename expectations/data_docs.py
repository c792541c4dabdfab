"""Data Docs: a page a gate, a page a suite, and an index of the newest results of each table.

The pages are Great Expectations' own, with a summary above them. The index is ours: theirs reads
every page again, which grows with each night, and ours reads the newest results.
"""

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from contracts.storage.atomic_write import write_text
from contracts.tables import TABLES, Table
from expectations.failure_message import row_text
from expectations.gx_validation import result_page, suite_page
from expectations.results import (
    GateResult,
    file_name,
    keep_newest,
    newest_readable,
)
from expectations.suites import Expected

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult

_MAX_PAGES = 60  # of a table that are kept, 80 kB each
_MAX_LISTED = 15  # results of a table on the index

# What Great Expectations' pages load from six hosts, and a picture that tells its maker when the
# page was opened.
_REMOTE = re.compile(
    r'<(?:script|link|img)\b[^>]*(?:src|href)="https?://[^>]*>(?:\s*</script>)?|<footer\b.*?</footer>'
    r"|background: url\('https?://[^;]*;",
    re.DOTALL,
)


def page_path(gates: Path, table: str, run: str) -> Path:
    return gates / "docs" / table / f"{file_name(run)}.html"


def write_pages(
    gates: Path,
    table: Table,
    wanted: list[Expected],
    judged: "ExpectationSuiteValidationResult",
    result: GateResult,
) -> None:
    """Write the page of `result`, the suite's page if it is missing or failed, and the index."""
    summary = _render("gate_summary.html.j2", result=result)
    write_text(
        page_path(gates, table.name, result.run), _without_network(result_page(judged), summary)
    )
    suite = gates / "docs" / "expectations" / f"{table.name}.html"
    if not result.passed or not suite.exists():
        write_text(suite, _without_network(suite_page(table, wanted), ""))
    keep_newest(gates / "docs" / table.name, "*.html", _MAX_PAGES)
    write_index(gates)


def _without_network(html: str, summary: str) -> str:
    """Great Expectations' page with `summary` above it, and nothing in it from the network.

    Its links expect a folder four levels down.
    """
    page = _REMOTE.sub("", html).replace("../../../../", "../")
    style = _render("style.html.j2")
    return page.replace("</head>", f"{style}</head>", 1).replace("<body>", f"<body>{summary}", 1)


def write_index(gates: Path) -> list[Path]:
    """Write the index; the results that are damaged, which it names and leaves out."""
    results, damaged = [], []
    for table in TABLES:
        readable, unreadable = newest_readable(gates, table.name, _MAX_LISTED)
        damaged += unreadable
        for result in readable:
            page = page_path(gates, result.table, result.run)
            results.append((result, page.name if page.exists() else ""))
    page_text = _render("index.html.j2", results=results, damaged=damaged)
    write_text(gates / "docs" / "index.html", page_text)
    return damaged


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
    )
    environment.filters["row_text"] = row_text
    environment.globals["bound"] = lambda value: "" if value is None else f"{value:g}"
    return environment
