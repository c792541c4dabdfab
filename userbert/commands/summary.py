"""What the lake, the gates and the models hold now, and how to look at the embeddings.

userbert summary [--as-of 2017-06-30] [--json]
"""

import json as jsonlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from rich.table import Table as Grid

from contracts.errors import MissingTable
from contracts.forecasts import FORECAST_DAYS, FORECAST_NAMES
from contracts.paths import Places
from contracts.storage.damage import check_parquet_files
from contracts.storage.delta_reading import arrow_dataset, open_delta_table
from contracts.tables import (
    BROWSING_LOGS,
    MODELS,
    PUBLISHED_EMBEDDINGS,
    REJECTED_LOGS,
    TABLES,
    USER_EMBEDDINGS,
    Table,
)
from contracts.terminal.options import AsJson, day_option
from contracts.terminal.printing import grid, print_parts
from expectations.landing_gaps import gap_lines, missing_landing_days
from expectations.results import newest_results


@dataclass(frozen=True)
class _TableFacts:
    """What a table's Delta log says of it; no row is read."""

    rows: int
    bytes: int
    files: int
    version: int


def open_table(places: Places, table: Table) -> DeltaTable | None:
    """None where it does not exist; `DamagedFile` where one of its files is not whole."""
    opened = open_delta_table(f"{places.lake}/{table.name}")
    if opened is not None and "://" not in places.lake:
        check_parquet_files(opened.file_uris())
    return opened


def _rows_of(places: Places, table: Table, columns: list[str]) -> list[dict[str, Any]]:
    """The rows of a small table; none where it does not exist.

    A column that a table of older code does not have yet is null, as it will be.
    """
    opened = open_table(places, table)
    if opened is None:
        return []
    dataset = arrow_dataset(opened, f"{places.lake}/{table.name}")
    stored = [name for name in columns if name in dataset.schema.names]
    rows = dataset.to_table(columns=stored).to_pylist()
    return [{**dict.fromkeys(columns), **row} for row in rows]


def _table_facts(places: Places) -> dict[str, _TableFacts]:
    """Facts of the tables that exist, by name."""
    facts = {}
    for table in TABLES:
        if (opened := open_table(places, table)) is not None:
            files = opened.get_add_actions(flatten=True).to_pylist()
            rows, size = (
                sum(file[name] for file in files) for name in ("num_records", "size_bytes")
            )
            facts[table.name] = _TableFacts(rows, size, len(files), opened.version())
    return facts


def _refused_lines(places: Places) -> dict[str, int]:
    """Refused lines by the kind of reason, most frequent first; a line with two kinds counts under
    both. A reason's details, which differ from line to line, stand in brackets behind its kind."""
    lines = _rows_of(places, REJECTED_LOGS, ["reasons"])
    counts = Counter(
        kind for line in lines for kind in {reason.split(" (")[0] for reason in line["reasons"]}
    )
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _newest_gates(places: Places) -> dict[str, dict[str, Any]]:
    """The newest result of each table's gate."""
    return {
        table.name: asdict(result)
        for table in TABLES
        for result in newest_results(places.gates, table.name)
    }


def _models(places: Places) -> list[dict[str, Any]]:
    """The registered models, newest first."""
    rows = _rows_of(places, MODELS, MODELS.names)
    return sorted(rows, key=lambda row: (row["created_at"], row["model_id"]), reverse=True)


def _embedded_users(places: Places) -> dict[str, int]:
    """Published vectors by as_of day."""
    opened = open_table(places, PUBLISHED_EMBEDDINGS)
    if opened is None:
        return {}
    rows: Counter[str] = Counter()
    for file in opened.get_add_actions(flatten=True).to_pylist():
        rows[str(file["partition.as_of"])] += file["num_records"]
    return dict(sorted(rows.items()))


def _newest_forecasts(places: Places) -> dict[str, Any] | None:
    """The forecasts of the newest published day, over its users; None where there are none."""
    opened, days = open_table(places, PUBLISHED_EMBEDDINGS), _embedded_users(places)
    if opened is None or not days:
        return None
    dataset = arrow_dataset(opened, f"{places.lake}/{PUBLISHED_EMBEDDINGS.name}")
    if not set(FORECAST_NAMES) <= set(dataset.schema.names):  # of older code
        return None
    newest = max(days)
    is_newest = pc.field("as_of") == pa.scalar(date.fromisoformat(newest))
    rows = dataset.to_table(columns=[*FORECAST_NAMES], filter=is_newest).drop_null()
    means = {name: pc.mean(rows[name]).as_py() for name in FORECAST_NAMES}
    return {"as_of": newest, "users": len(rows), **means} if len(rows) else None


def gather_facts(places: Places) -> dict[str, Any]:
    """Everything that the summary says, as plain values."""
    facts = _table_facts(places)
    if not facts:
        raise MissingTable(
            f"there is no table below {places.lake}: name the right root by USERBERT_DATA, or make "
            "one by `userbert run`"
        )
    return {
        "lake": places.lake,
        "tables": {name: vars(fact) for name, fact in facts.items()},
        "lines_in": sum(
            facts[table.name].rows for table in (BROWSING_LOGS, REJECTED_LOGS)
            if table.name in facts
        ),
        "refused": _refused_lines(places),
        "missing_landing_days": [str(day) for day in missing_landing_days(places)],
        "gates": _newest_gates(places),
        "models": _models(places),
        "published": _embedded_users(places),
        "forecasts": _newest_forecasts(places),
        "report": _newest_report(places),
    }  # fmt: skip


def _newest_report(places: Places) -> str | None:
    """The page of the run that was reported last; None where there is none."""
    pages = list(places.reports.glob("*/*.html"))
    newest = max(pages, key=lambda page: page.stat().st_mtime_ns, default=None)
    return None if newest is None else str(newest)


def _tables_grid(facts: dict[str, dict[str, int]]) -> Grid:
    rows = [
        (name, fact["rows"], f"{fact['bytes'] / 1e6:,.1f}", fact["files"], str(fact["version"]))
        for name, fact in facts.items()
    ]
    return grid(rows, "table", "#rows", "#MB", "#files", "#Delta version", title="the lake")


def _gates_grid(gates: dict[str, dict[str, Any]]) -> Grid:
    rows = [
        (
            name,
            result["run"],
            "yes" if result["passed"] else "NO",
            len(result["expectations"]),
            result["rows"],
        )
        for name, result in gates.items()
    ]
    columns = ("gate", "of", "passed", "#expectations", "#rows")
    return grid(rows, *columns, title="newest gate of each table")


def _models_grid(found: list[dict[str, Any]]) -> Grid:
    rows = [
        (
            row["model_id"],
            row["status"],
            row["trained_before"],
            "\n".join(_headline_measures(jsonlib.loads(row["measures"]))),
        )
        for row in found
    ]
    return grid(rows, "model_id", "status", "views before", "on held-out users", title="models")


def _headline_measures(measures: dict[str, float]) -> Iterator[str]:
    """The few that say whether a model is any good; `userbert models show` has all."""
    for task in ("masked", "matching"):
        if (found := measures.get(f"{task}_accuracy")) is not None:
            yield f"{task} {found:.3f} (chance {measures.get(f'{task}_chance', 0):.3f})"
    if "effective_rank" in measures:
        yield f"effective rank {measures['effective_rank']:.0f}"
    if "steps" in measures:
        yield f"after {measures['steps']:.0f} steps"


def _coverage_line(gate: dict[str, Any]) -> Iterator[str]:
    """How many usable users had a vector after the newest publication that counted them."""
    measures = gate.get("measures", {})
    if usable := measures.get("usable_users"):
        covered = usable - measures["users_without_vector"]
        yield (
            f"users with a view in the window and a vector: {covered:,.0f} of {usable:,.0f} "
            f"({covered / usable:.1%}){_stale(measures)}: userbert coverage"
        )


def _stale(measures: dict[str, float]) -> str:
    """Those whose newest view lies before the window, where the publication counted them."""
    number = measures.get("stale_users", 0)
    return f", and {number:,.0f} stale ones" if number else ""


def _closing_lines(found: dict[str, Any], as_of: date | None) -> Iterator[str]:
    lake = found["lake"]
    refused = ", ".join(f"{reason}: {count:,}" for reason, count in found["refused"].items())
    accepted = found["tables"].get(BROWSING_LOGS.name, {}).get("rows", 0)
    yield f"lines in {found['lines_in']:,} = accepted {accepted:,} + refused " + (
        f"{found['lines_in'] - accepted:,}" + (f" ({refused})" if refused else "")
    )
    yield from gap_lines(map(date.fromisoformat, found["missing_landing_days"]))
    for day, rows in found["published"].items():
        if as_of is None or day == str(as_of):
            yield f"published as of {day}: {rows:,} users"
    yield from _coverage_line(found["gates"].get(PUBLISHED_EMBEDDINGS.name, {}))
    if forecasts := found["forecasts"]:
        yield (
            f"forecast as of {forecasts['as_of']} of {forecasts['users']:,} users: on average "
            f"{forecasts[f'views_{FORECAST_DAYS}_days']:,.1f} views in {FORECAST_DAYS} days, and a "
            f"chance of {forecasts[f'no_view_{FORECAST_DAYS}_days']:.1%} of none: userbert forecast"
        )
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
    found = gather_facts(places)
    if json:
        print(jsonlib.dumps(found, indent=2, default=str))  # noqa: T201
        return
    parts: list[str | Grid] = [_tables_grid(found["tables"])]
    if found["gates"]:
        parts.append(_gates_grid(found["gates"]))
    if found["models"]:
        parts.append(_models_grid(found["models"]))
    parts += _closing_lines(found, as_of)
    if found["report"]:
        parts.append(f"report of the newest run: {found['report']}")
    if (places.gates / "docs").exists():
        parts.append(f"Data Docs of the gates: {places.gates}/docs/index.html")
    print_parts(*parts)
