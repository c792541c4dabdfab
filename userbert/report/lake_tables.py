"""The lake's tables for one report: each is opened once, at one version."""

from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import DeltaTable

from contracts.paths import Places
from contracts.storage.delta_reading import arrow_dataset, open_delta_table
from contracts.tables import Table


@dataclass(frozen=True)
class LakeTables:
    places: Places
    _opened: dict[str, DeltaTable | None] = field(default_factory=dict)

    def open(self, table: Table) -> DeltaTable | None:
        """None where the table does not exist."""
        if table.name not in self._opened:
            self._opened[table.name] = open_delta_table(f"{self.places.lake}/{table.name}")
        return self._opened[table.name]

    def dataset(self, table: Table, column: str = "", *days: date) -> ds.Dataset | None:
        """The rows of a table, of those days of its partition column where there are any.

        None where the table does not exist.
        """
        if (opened := self.open(table)) is None:
            return None
        parts = [(column, "in", [str(day) for day in days])] if days else None
        return arrow_dataset(opened, f"{self.places.lake}/{table.name}", parts)

    def rows(self, table: Table, condition: pc.Expression | None = None) -> list[dict[str, Any]]:
        """The rows of a small table; none where it does not exist."""
        if (dataset := self.dataset(table)) is None:
            return []
        rows: list[dict[str, Any]] = dataset.to_table(filter=condition).to_pylist()
        return rows

    def days(self, table: Table) -> list[date]:
        """The as_of days of a table, the oldest first."""
        opened = self.open(table)
        parts = opened.partitions() if opened else []
        return sorted({date.fromisoformat(str(part["as_of"])) for part in parts})


def is_day(column: str, day: date) -> pc.Expression:
    """A filter on the rows of one day."""
    return pc.field(column) == pa.scalar(day)
