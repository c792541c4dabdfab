"""What each day that a backfill wrote here took: a line of backfill/timings.jsonl a day."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from contracts.paths import Places
from contracts.tables import USER_EMBEDDINGS, USER_SEQUENCES
from spark_jobs.backfill.day import FilledDay


@dataclass(frozen=True)
class TableCost:
    """What one table of a day took; None where older code did not record it."""

    rows: int
    seconds: float
    bytes: int | None = None
    cpu_seconds: float | None = None


@dataclass(frozen=True)
class DayCost:
    """One day that was written."""

    model_id: str
    as_of: str
    rows: int  # vectors
    seconds: float
    jobs: int = 2  # tables that were written: sequences and vectors, or vectors alone
    tables: dict[str, TableCost] | None = None  # None: older code recorded the sum alone
    peak_bytes: int | None = None
    is_first: bool = False  # that its process wrote
    survey_seconds: float | None = None  # of the look at all days, by which its run began
    survey_cpu_seconds: float | None = None

    @classmethod
    def of(cls, model_id: str, filled: FilledDay) -> "DayCost":
        tables = {
            cost.commit.table: TableCost(
                cost.commit.rows, cost.taken.seconds, cost.commit.bytes, cost.taken.cpu_seconds
            )
            for cost in filled.costs
        }
        return cls(
            model_id=model_id,
            as_of=str(filled.day.as_of),
            rows=filled.day.vectors_to_write,
            seconds=round(filled.seconds, 2),
            jobs=len(tables),
            tables=tables,
            peak_bytes=filled.peak_bytes,
            is_first=filled.is_first,
            survey_seconds=filled.survey.seconds,
            survey_cpu_seconds=filled.survey.cpu_seconds,
        )

    @property
    def cpu_seconds(self) -> float | None:
        """Of its tables together; None where older code did not record it."""
        costs = [cost.cpu_seconds for cost in (self.tables or {}).values()]
        known = [seconds for seconds in costs if seconds is not None]
        return sum(known) if known and len(known) == len(costs) else None

    def of_table(self, name: str) -> TableCost | None:
        """Of the sum alone each table had the same part."""
        if self.tables is not None:
            return self.tables.get(name)
        names = (USER_EMBEDDINGS.name, USER_SEQUENCES.name)[: self.jobs]
        return TableCost(self.rows, self.seconds / self.jobs) if name in names else None


def _record_path(places: Places) -> Path:
    return places.root / "backfill" / "timings.jsonl"


def add_cost(places: Places, cost: DayCost) -> None:
    """Add a line in one write, so that several processes may add theirs."""
    _record_path(places).parent.mkdir(parents=True, exist_ok=True)
    with _record_path(places).open("a") as file:
        file.write(json.dumps(asdict(cost)) + "\n")


def read_costs(places: Places) -> list[DayCost]:
    """All of them, oldest first; a line that a kill has torn is left out."""
    path = _record_path(places)
    lines = path.read_text().splitlines() if path.exists() else []
    whole = (line for line in lines if line.startswith("{") and line.endswith("}"))
    return [_cost(json.loads(line)) for line in whole]


def _cost(line: dict[str, object]) -> DayCost:
    known = {each.name for each in fields(DayCost)}
    values = {name: value for name, value in line.items() if name in known}
    if isinstance(tables := values.get("tables"), dict):
        values["tables"] = {name: TableCost(**cost) for name, cost in tables.items()}
    return DayCost(**values)  # type: ignore[arg-type]
