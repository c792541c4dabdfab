"""Data Docs: a page a gate, a page a suite, and an index of the newest of each table.

The pages are Great Expectations' own. The index is ours: theirs reads every page again (which
grows with each night), ours the results of the newest.
"""

import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.tables import TABLES, Table
from expectations.failure_message import row_text
from expectations.gx_validation import result_page, suite_page
from expectations.results import Found, Result, file_name, keep_newest, newest, write_whole
from expectations.suites import Expected

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult

PAGES = 60  # kept a table, 80 kB each
LISTED = 15  # results a table on the index


def page_path(gates: Path, table: str, run: str) -> Path:
    return gates / "docs" / table / f"{file_name(run)}.html"


def write_pages(
    gates: Path,
    table: Table,
    wanted: list[Expected],
    judged: "ExpectationSuiteValidationResult",
    result: Result,
) -> None:
    """The page of `result`, the suite's page unless it is there and told the same, the index."""
    page = local(result_page(judged), summary(result))
    write_whole(page_path(gates, table.name, result.run), page)
    asked = gates / "docs" / "expectations" / f"{table.name}.html"
    if not result.passed or not asked.exists():
        write_whole(asked, local(suite_page(table, wanted), ""))
    keep_newest(gates / "docs" / table.name, "*.html", PAGES)
    write_index(gates)


def local(html: str, top: str) -> str:
    """Great Expectations' page with `top` above it, and nothing in it from the network.

    As it comes it loads scripts and styles of six hosts and a picture that tells its maker when
    the page was opened; its links expect a folder four levels down.
    """
    alone = REMOTE.sub("", html).replace("../../../../", "../")
    return alone.replace("</head>", f"{STYLE}</head>", 1).replace("<body>", f"<body>{top}", 1)


REMOTE = re.compile(
    r'<(?:script|link|img)\b[^>]*(?:src|href)="https?://[^>]*>(?:\s*</script>)?|<footer\b.*?</footer>'
    r"|background: url\('https?://[^;]*;",
    re.DOTALL,
)


def summary(result: Result) -> str:
    """What was asked and observed, failures first, and the rows that break it."""
    ordered = sorted(result.expectations, key=lambda found: found.passed)
    rows = "".join(map(_summary_row, ordered))
    head = "<tr><th>measure<th>what holds<th>observed<th>bounds<th>some rows that break it</tr>"
    line = escape(result.line) or f"passed: {result.rows:,} rows in {result.seconds} s"
    title = f"<h1>{result.table} of {escape(result.run)}</h1>"
    return f"{title}<pre>{line}</pre><table>{head}{rows}</table>"


def _summary_row(found: Found) -> str:
    low, high = ("" if bound is None else f"{bound:g}" for bound in (found.least, found.most))
    broken = escape("\n".join(map(row_text, found.rows)))
    return (
        f"<tr class={'passed' if found.passed else 'failed'}><td>{found.expectation}"
        f"<td>{escape(found.says)}<td>{found.observed}<td>{low}..{high}<td><pre>{broken}</pre></tr>\n"
    )


def write_index(gates: Path) -> None:
    rows = "".join(
        _index_row(gates, result)
        for table in TABLES
        for result in newest(gates, table.name, LISTED)
    )
    head = "<tr><th>table<th>run<th>result<th>rows<th>seconds<th>checked at<th>code</tr>"
    page = f"<!doctype html><meta charset=utf-8><title>Gates</title>{STYLE}<h1>Gates</h1>"
    write_whole(gates / "docs" / "index.html", f"{page}<table>{head}{rows}</table>\n")


STYLE = (
    "<style>body{font-family:sans-serif;margin:2em}td,th{padding:.2em .8em;text-align:left;"
    "vertical-align:top}.failed{background:#fdd}pre{white-space:pre-wrap}</style>"
)


def _index_row(gates: Path, result: Result) -> str:
    verdict = "passed" if result.passed else "failed"
    return f"<tr class={verdict}>{''.join(_cells(gates, result))}</tr>\n"


def _cells(gates: Path, result: Result) -> Iterator[str]:
    yield f'<td><a href="expectations/{result.table}.html">{result.table}</a>'
    page = page_path(gates, result.table, result.run)
    run = escape(result.run)
    yield f'<td><a href="{result.table}/{page.name}">{run}</a>' if page.exists() else f"<td>{run}"
    yield f"<td>{'passed' if result.passed else f'<pre>{escape(result.line)}</pre>'}"
    yield f"<td>{result.rows:,}<td>{result.seconds:.1f}<td>{result.checked_at}<td>{result.code}"
