"""What the lake, the gates and the models hold now, and how to look at the embeddings.

userbert summary [--as-of 2017-06-30] [--json]
"""

import json as jsonlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from deltalake import DeltaTable
from rich.console import Console
from rich.table import Table as Grid

from contracts.options import AsJson, day_option
from contracts.paths import Places
from contracts.tables import (
    BROWSING_LOGS,
    MODELS,
    PUBLISHED_EMBEDDINGS,
    REJECTED_LOGS,
    TABLES,
    USER_EMBEDDINGS,
    Table,
)


@dataclass(frozen=True)
class TableFacts:
    """What a table's Delta log says of it; no data file is opened."""

    rows: int
    bytes: int
    files: int
    version: int


def open_table(places: Places, table: Table) -> DeltaTable | None:
    path = f"{places.lake}/{table.name}"
    return DeltaTable(path) if DeltaTable.is_deltatable(path) else None


def table_facts(places: Places) -> dict[str, TableFacts]:
    """Facts of the tables that exist, by name."""
    facts = {}
    for table in TABLES:
        if (opened := open_table(places, table)) is not None:
            files = opened.get_add_actions(flatten=True).to_pylist()
            rows, size = (
                sum(file[name] for file in files) for name in ("num_records", "size_bytes")
            )
            facts[table.name] = TableFacts(rows, size, len(files), opened.version())
    return facts


def refusals(places: Places) -> dict[str, int]:
    """Refused lines by reason, most frequent first; a line with two reasons counts under both."""
    opened = open_table(places, REJECTED_LOGS)
    if opened is None:
        return {}
    lines: list[list[str]] = opened.to_pyarrow_table(columns=["reasons"]).to_pydict()["reasons"]
    counts = Counter(reason for reasons in lines for reason in reasons)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def newest_gates(places: Places) -> dict[str, dict[str, Any]]:
    """The newest result of each table's gate (expectations/results.py writes them)."""
    newest = {}
    for table in TABLES:
        results = sorted(
            (places.gates / "results" / table.name).glob("*.json"), key=lambda p: p.stat().st_mtime
        )
        if results:
            newest[table.name] = jsonlib.loads(results[-1].read_text())
    return newest


def models(places: Places) -> list[dict[str, Any]]:
    """The registered models, newest first."""
    opened = open_table(places, MODELS)
    rows = [] if opened is None else opened.to_pyarrow_table().to_pylist()
    return sorted(rows, key=lambda row: (row["created_at"], row["model_id"]), reverse=True)


def embedded(places: Places) -> dict[str, int]:
    """Published vectors by as_of day."""
    opened = open_table(places, PUBLISHED_EMBEDDINGS)
    if opened is None:
        return {}
    rows: Counter[str] = Counter()
    for file in opened.get_add_actions(flatten=True).to_pylist():
        rows[str(file["partition.as_of"])] += file["num_records"]
    return dict(sorted(rows.items()))


def gather(places: Places) -> dict[str, Any]:
    """Everything that the summary says, as plain values."""
    facts = table_facts(places)
    return {
        "lake": places.lake,
        "tables": {name: vars(fact) for name, fact in facts.items()},
        "lines_in": sum(
            facts[table.name].rows for table in (BROWSING_LOGS, REJECTED_LOGS)
            if table.name in facts
        ),
        "refused": refusals(places),
        "gates": newest_gates(places),
        "models": models(places),
        "published": embedded(places),
    }  # fmt: skip


def tables_grid(facts: dict[str, dict[str, int]]) -> Grid:
    grid = Grid("table", "rows", "MB", "files", "Delta version", title="the lake")
    for name, fact in facts.items():
        size = f"{fact['bytes'] / 1e6:,.1f}"
        grid.add_row(name, f"{fact['rows']:,}", size, str(fact["files"]), str(fact["version"]))
    return grid


def gates_grid(gates: dict[str, dict[str, Any]]) -> Grid:
    grid = Grid(title="newest gate of each table")
    for name in ("gate", "of", "passed", "expectations", "rows"):
        grid.add_column(name, overflow="fold")
    for name, result in gates.items():
        passed = "[green]yes[/]" if result["passed"] else "[red]NO[/]"
        rows, expectations = f"{result['rows']:,}", str(len(result["expectations"]))
        grid.add_row(name, str(result["run"]), passed, expectations, rows)
    return grid


def models_grid(found: list[dict[str, Any]]) -> Grid:
    grid = Grid(title="models")
    grid.add_column("model_id", overflow="fold")
    for name in ("status", "views before", "on held-out users"):
        grid.add_column(name)
    for row in found:
        told = "\n".join(told_measures(jsonlib.loads(row["measures"])))
        grid.add_row(row["model_id"], row["status"], str(row["trained_before"]), told)
    return grid


def told_measures(measures: dict[str, float]) -> Iterator[str]:
    """The few that say whether a model is any good; `userbert models show` has all."""
    for task in ("masked", "matching"):
        if (found := measures.get(f"{task}_accuracy")) is not None:
            yield f"{task} {found:.3f} (chance {measures.get(f'{task}_chance', 0):.3f})"
    if "effective_rank" in measures:
        yield f"effective rank {measures['effective_rank']:.0f}"
    if "steps" in measures:
        yield f"after {measures['steps']:.0f} steps"


def closing_lines(found: dict[str, Any], as_of: date | None) -> Iterator[str]:
    lake = found["lake"]
    refused = ", ".join(f"{reason}: {count:,}" for reason, count in found["refused"].items())
    accepted = found["tables"].get(BROWSING_LOGS.name, {}).get("rows", 0)
    yield f"lines in {found['lines_in']:,} = accepted {accepted:,} + refused " + (
        f"{found['lines_in'] - accepted:,}" + (f" ({refused})" if refused else "")
    )
    for day, rows in found["published"].items():
        if as_of is None or day == str(as_of):
            yield f"published as of {day}: {rows:,} users"
    if found["published"]:
        yield f"the embeddings: {lake}/{USER_EMBEDDINGS.name} (all models), " + (
            f"{lake}/{PUBLISHED_EMBEDDINGS.name} (the champion's alone)"
        )
        yield (
            'try: userbert sql "SELECT user_id, as_of, model_id, num_views, embedding '
            f'FROM {PUBLISHED_EMBEDDINGS.name} ORDER BY as_of DESC, user_id LIMIT 5"'
        )


def main(
    as_of: Annotated[
        date | None, day_option("--as-of", help="Show the publication of this UTC day alone.")
    ] = None,
    json: AsJson = False,
) -> None:
    places = Places.from_environment()
    found = gather(places)
    if json:
        print(jsonlib.dumps(found, indent=2, default=str))  # noqa: T201
        return
    console = Console()
    console.print(tables_grid(found["tables"]))
    if found["gates"]:
        console.print(gates_grid(found["gates"]))
    if found["models"]:
        console.print(models_grid(found["models"]))
    for line in closing_lines(found, as_of):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    if (Path(places.gates) / "docs").exists():
        console.print(f"Data Docs of the gates: {places.gates}/docs/index.html", soft_wrap=True)
