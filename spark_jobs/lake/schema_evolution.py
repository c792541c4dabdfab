"""A table that an earlier code wrote becomes what today's contract declares, in one commit.

A column that the contract has gained is added, filled with its declared default where it has one,
and a CHECK that it has gained is added when all rows hold to it. CHECKs that an earlier contract
had and that are listed in `former_checks` are dropped. Anything else that differs stops the job
before it reads or writes: docs/lake-layout.md says how to migrate.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from delta.exceptions import DeltaConcurrentModificationException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructField, StructType

from contracts.errors import LayoutMismatch
from contracts.tables import LAYOUT_VERSION, Column, Table
from spark_jobs.lake.table_properties import (
    LAYOUT_PROPERTY,
    UNRECORDED_LAYOUT,
    check_properties,
    layout_properties,
    retention_of,
    wanted_properties,
)
from spark_jobs.spark.delta_log import DeltaLog, Metadata

_MAX_ATTEMPTS = 5  # at a table that other processes bring to the same contract side by side
_CHECK_PREFIX = "delta.constraints."


@dataclass(frozen=True)
class Evolution:
    """What the contract of a table has gained, and the earlier CHECKs that it gave up."""

    columns: tuple[Column, ...]
    checks: dict[str, str]  # condition by name
    former_checks: tuple[str, ...]

    @property
    def fills_columns(self) -> bool:
        return any(column.default is not None for column in self.columns)


def evolve_table(log: DeltaLog, table: Table) -> None:
    """Bring the table at `log`, which exists, to its contract; nothing where it is that already."""
    for attempt in range(1, _MAX_ATTEMPTS + 1):
        held = log.metadata()
        if is_current(held, table):
            return
        evolution = evolution_of(held, table)
        _rows_must_hold(log, table, evolution)
        try:
            _commit(log, table, held, evolution)
        except DeltaConcurrentModificationException:  # another process came first: look again
            if attempt == _MAX_ATTEMPTS:
                raise
        else:
            return


def is_current(held: Metadata, table: Table) -> bool:
    """Whether this very contract made the table, or brought it to where it is."""
    return layout_properties(table).items() <= held.properties.items()


def evolution_of(held: Metadata, table: Table) -> Evolution:
    """What is to be added; `LayoutMismatch` names every difference that cannot be."""
    if wrong := list(_mismatches(held, table)):
        layout = held.properties.get(LAYOUT_PROPERTY, UNRECORDED_LAYOUT)
        raise LayoutMismatch(
            f"the lake's table {table.name} (layout {layout}) is not as contracts/tables.py "
            f"(layout {LAYOUT_VERSION}) declares it:\n"
            + "\n".join(f"  {line}" for line in wrong)
            + "\nNothing was read or written. If newer code wrote the lake, use that code. "
            f"Otherwise migrate the table: docs/lake-layout.md, {table.name}"
        )
    checks = dict(table.checks)
    held_checks = checks_of(held)
    return Evolution(
        columns=tuple(c for c in table.columns if c.name not in held.columns.fieldNames()),
        checks={n: text for n, text in checks.items() if held_checks.get(n) != text},
        former_checks=tuple(n for n, text in held_checks.items() if checks.get(n) != text),
    )


def checks_of(held: Metadata) -> dict[str, str]:
    """The condition of each CHECK, by its name."""
    return {
        key.removeprefix(_CHECK_PREFIX): condition
        for key, condition in held.properties.items()
        if key.startswith(_CHECK_PREFIX)
    }


def _mismatches(held: Metadata, table: Table) -> Iterator[str]:
    """What the contract lost or changed, a line each."""
    if int(held.properties.get(LAYOUT_PROPERTY, UNRECORDED_LAYOUT)) > LAYOUT_VERSION:
        yield f"layout {held.properties[LAYOUT_PROPERTY]}: newer code wrote it"
    if held.partition_by != table.partition_by:
        yield f"partitions: declared {table.partition_by}, the lake has {held.partition_by}"
    yield from _lost_or_changed_columns(held, table)
    yield from _gained_columns_without_values(held, table)
    yield from _lost_or_changed_checks(held, table)


def _lost_or_changed_columns(held: Metadata, table: Table) -> Iterator[str]:
    declared = {field.name: _type_of(field) for field in declared_columns(table).fields}
    for found in held.columns.fields:
        if found.name not in declared:
            yield f"column {found.name} {_type_of(found)}: no longer declared"
        elif declared[found.name] != _type_of(found):
            yield (
                f"column {found.name}: declared {declared[found.name]}, "
                f"the lake has {_type_of(found)}"
            )


def _gained_columns_without_values(held: Metadata, table: Table) -> Iterator[str]:
    for column in table.columns:
        is_gained = column.name not in held.columns.fieldNames()
        if is_gained and not column.nullable and column.default is None:
            yield (
                f"column {column.name}: declared NOT NULL, without a default for the rows that "
                "have none"
            )


def _lost_or_changed_checks(held: Metadata, table: Table) -> Iterator[str]:
    declared = dict(table.checks)
    for name, condition in checks_of(held).items():
        if declared.get(name) != condition and (name, condition) not in table.former_checks:
            wanted = f"declared ({declared[name]})" if name in declared else "no longer declared"
            yield f"CHECK {name}: {wanted}, the lake has ({condition})"


def _type_of(field: StructField) -> str:
    return f"{field.dataType.simpleString()}{'' if field.nullable else ' NOT NULL'}"


def declared_columns(table: Table) -> StructType:
    """The contract's columns, with what each means as its comment."""
    columns = StructType.fromDDL(table.ddl)
    assert isinstance(columns, StructType)
    for field, column in zip(columns.fields, table.columns, strict=True):
        field.metadata = {"comment": column.doc}
    return columns


def _rows_must_hold(log: DeltaLog, table: Table, evolution: Evolution) -> None:
    """A CHECK is added only where no row breaks it; as in Delta, null breaks it."""
    if not evolution.checks:
        return
    rows = _with_columns(log.spark.read.format("delta").load(log.path), evolution)
    breaks = [
        F.count_if(~F.coalesce(F.expr(condition), F.lit(False))).alias(name)
        for name, condition in evolution.checks.items()
    ]
    counts = rows.agg(*breaks).collect()[0].asDict()
    if broken := {name: count for name, count in counts.items() if count}:
        lines = [
            f"  CHECK {name} ({evolution.checks[name]}): {count:,} rows break it"
            for name, count in broken.items()
        ]
        raise LayoutMismatch(
            f"the lake's table {table.name} has rows that its contract no longer allows:\n"
            + "\n".join(lines)
            + "\nNothing was written. Write these rows anew first: "
            + f"docs/lake-layout.md, {table.name}"
        )


def _commit(log: DeltaLog, table: Table, held: Metadata, evolution: Evolution) -> None:
    kept = {
        key: value
        for key, value in held.properties.items()
        if key.removeprefix(_CHECK_PREFIX) not in evolution.former_checks
    }
    # The retention stays: maintenance prolongs it for the versions that models name.
    wanted = kept | wanted_properties(table) | retention_of(held.properties)
    wanted |= check_properties(table) | layout_properties(table)
    fill = (lambda rows: _filled(rows, table, evolution)) if evolution.fills_columns else None
    log.change_layout(declared_columns(table), wanted, fill)


def _filled(rows: DataFrame, table: Table, evolution: Evolution) -> DataFrame:
    """All rows with the columns that they lacked, each partition in few files."""
    whole = _with_columns(rows, evolution).select(table.names)
    return whole.hint("rebalance", *table.partition_by) if table.partition_by else whole


def _with_columns(rows: DataFrame, evolution: Evolution) -> DataFrame:
    for column in evolution.columns:
        value = F.expr(column.default or "null").cast(column.type)
        rows = rows.withColumn(column.name, value)
    return rows
