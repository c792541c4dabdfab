"""What the gates found: the newest result of each table, and the Data Docs to open.

userbert gates list        a row a table; exit code 3 when a newest result is a failure
userbert gates list --table user_sequences --limit 30
userbert gates docs        write the index anew, and say where it is
"""

import argparse

from rich.console import Console
from rich.table import Column
from rich.table import Table as Grid

from contracts.errors import GateFailed
from contracts.paths import Places
from contracts.tables import TABLES
from expectations.data_docs import write_index
from expectations.results import Result, newest

NAMES = ("table", "run", "result", "rows", "seconds", "checked at (UTC)", "code")


def grid(results: list[Result]) -> Grid:
    shown = Grid(*(Column(name, no_wrap=True) for name in NAMES))
    for r in results:
        verdict = "passed" if r.passed else f"FAILED: {', '.join(f.expectation for f in r.failed)}"
        shown.add_row(
            r.table, r.run, verdict, f"{r.rows:,}", f"{r.seconds:.1f}", r.checked_at[:19], r.code
        )
    return shown


def arg_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(dest="action", required=True)
    listing = actions.add_parser("list", help="the newest results; exit code 3 when one failed")
    listing.add_argument("--table", choices=[t.name for t in TABLES], help="one table alone")
    listing.add_argument("--limit", default=1, type=int, help="results a table; default 1")
    actions.add_parser("docs", help="write the index of the Data Docs anew")
    return parser


def main(action: str, table: str | None = None, limit: int = 1) -> None:
    gates = Places.from_environment().gates
    if action == "docs":
        write_index(gates)
        Console().print(f"open {gates / 'docs' / 'index.html'}", soft_wrap=True)
        return
    names = [table] if table else [t.name for t in TABLES]
    by_table = [list(newest(gates, name, limit)) for name in names]
    lines = grid([result for results in by_table for result in results])
    Console(width=200).print(lines)  # a log has no width; a line that wraps is hard to find
    failed = [results[0].line for results in by_table if results and not results[0].passed]
    if failed:
        raise GateFailed("\n".join(line.splitlines()[0] for line in failed))
