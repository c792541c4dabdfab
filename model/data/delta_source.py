"""Reading a Delta table at one version, in batches, without Spark."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import reduce
from operator import and_

import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable

from contracts.storage.delta_reading import arrow_dataset, open_delta_table
from contracts.errors import MissingTable
from contracts.tables import Table

_BATCH_ROWS = 8192  # pairs of 200 views and 16 bytes each: 26 MB


@dataclass(frozen=True)
class Source:
    """A Delta table at one version, whose batches come in an order that never changes."""

    table: Table
    delta: DeltaTable
    path: str
    where: ds.Expression | None = None

    @classmethod
    def open(
        cls, lake: str, table: Table, version: int | None, **equal_to: date
    ) -> "Source":
        """`table` at `version`, the newest where that is None; rows that equal every filter."""
        path = f"{lake}/{table.name}"
        if (opened := open_delta_table(path, version)) is None:
            raise MissingTable(
                f"the lake has no {table.name} ({path}): run the job that writes it, "
                f"`userbert {table.name.replace('_', '-')}`"
            )
        filters = [ds.field(name) == pa.scalar(value) for name, value in equal_to.items()]
        where = reduce(and_, filters) if filters else None
        return cls(table, opened, path, where)

    def batches(self, *columns: str) -> Iterator[pa.RecordBatch]:
        dataset = arrow_dataset(self.delta, self.path)
        fragments = sorted(dataset.get_fragments(self.where), key=lambda f: f.path)
        for fragment in fragments:
            # Half the default read-ahead: memory is bounded by the batches that wait.
            yield from fragment.to_batches(
                schema=dataset.schema,
                columns=list(columns),
                filter=self.where,  # a fragment is left out whole by its partition alone
                batch_size=_BATCH_ROWS,
                batch_readahead=2,
            )
