"""What the gates found: the newest result of each table, and the Data Docs to open.

userbert gates list        a row a table; exit code 3 when a newest result is a failure
userbert gates list --table user_sequences --limit 30
userbert gates docs        write the newest pages anew, and say where they are
userbert gates accept DAY --reason WHY     let a landing day pass that is right though unusual
"""

from datetime import date
from typing import Annotated

import typer
from rich.table import Table as Grid

from contracts.errors import GateFailed
from contracts.paths import Places
from contracts.tables import TABLES
from contracts.terminal.command_line import command_group
from contracts.terminal.options import choice_option, day_argument
from contracts.terminal.printing import grid, print_parts
from expectations.data_docs import rewrite_pages
from expectations.day_history import accept_day, accepted_days
from expectations.landing_gaps import gap_lines, missing_landing_days
from expectations.results import GateResult, load_result, newest_results

_MAX_ACCEPTED = 5  # days that a person accepted, which the list names
_COLUMNS = ("table", "run", "result", "#rows", "#seconds", "checked at (UTC)", "code")


def _results_grid(results: list[GateResult]) -> Grid:
    rows = []
    for r in results:
        verdict = "passed" if r.passed else f"FAILED: {', '.join(f.expectation for f in r.failed)}"
        rows.append(
            (r.table, r.run, verdict, r.rows, f"{r.seconds:.1f}", r.checked_at[:19], r.code)
        )
    return grid(rows, *_COLUMNS)


app = command_group(__doc__)


@app.command("list")
def list_results(
    table: Annotated[
        str | None,
        choice_option("--table", [table.name for table in TABLES], "Show this table alone."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", help="How many results of each table.")] = 1,
) -> None:
    """List the newest results; exit code 3 if a newest one failed."""
    places = Places.from_environment()
    gates = places.gates
    names = [table] if table else [t.name for t in TABLES]
    by_table = [list(newest_results(gates, name, limit)) for name in names]
    print_parts(
        _results_grid([result for results in by_table for result in results]),
        *gap_lines(missing_landing_days(places)),
        *(each.line for each in accepted_days(places)[-_MAX_ACCEPTED:]),
    )
    failed = [results[0].line for results in by_table if results and not results[0].passed]
    if failed:
        raise GateFailed("\n".join(line.splitlines()[0] for line in failed))


@app.command()
def accept(
    day: Annotated[date, day_argument(help="The landing day that a gate stopped, YYYY-MM-DD.")],
    reason: Annotated[str, typer.Option("--reason", help="Why the day is right as it is.")],
) -> None:
    """Let a landing day pass as a gate has seen it; who, when and why are kept."""
    print_parts(accept_day(Places.from_environment(), day, reason).line)
    print_parts("run the command that the gate stopped again")


@app.command()
def docs() -> None:
    """Write the index and the newest pages of the Data Docs anew, and say where they are."""
    gates = Places.from_environment().gates
    damaged = rewrite_pages(gates)
    print_parts(f"open {gates / 'docs' / 'index.html'}")
    for path in damaged:
        load_result(path)  # raises, with what mends it
