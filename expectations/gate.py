"""The gate before each table: a frame that has passed is the only thing that a lake takes."""

from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.errors import BadInput, GateFailed
from contracts.places import Places
from contracts.tables import Table


class SchemaError(BadInput):
    """A frame's columns are not those that its table declares."""


@dataclass(frozen=True)
class Passed:
    """A frame that its table's gate has let through, cached until it is written."""

    frame: DataFrame
    table: Table
    measures: Mapping[str, float]  # what the gate counted: rows, and the job's own measures

    def release(self) -> None:
        self.frame.unpersist()


def conform(frame: DataFrame, table: Table) -> DataFrame:
    """Put `frame`'s columns in the declared order, or say which of them differ."""
    declared = dict(frame.sparkSession.createDataFrame([], table.ddl).dtypes)
    found = dict(frame.dtypes)
    differing = [name for name in declared | found if declared.get(name) != found.get(name)]
    if differing:
        lines = [f"  {n}: declared {declared.get(n)}, found {found.get(n)}" for n in differing]
        raise SchemaError(
            f"{table.name} is not as contracts/tables.py declares it:\n" + "\n".join(lines)
        )
    return frame.select(table.names)


def check(
    frame: DataFrame,
    table: Table,
    *,
    places: Places,
    run: str,
    measures: Mapping[str, float] | None = None,
) -> Passed:
    """Let `frame` through, or raise `GateFailed` with what is wrong, where, and what to do.

    `run` names the result, for example the day that the frame is of. `measures` are facts of the
    whole run that the table's hand-written expectations speak of, for example lines refused.
    """
    frame = conform(frame, table).persist()
    counts = frame.agg(
        F.count(F.lit(1)).alias("rows"),
        *(F.count_if(~F.expr(condition)).alias(name) for name, condition in table.checks),
    ).first()
    assert counts is not None
    broken = {name: counts[name] for name, _ in table.checks if counts[name]}
    if broken:
        raise GateFailed(f"{table.name} of {run}: {broken}")
    return Passed(frame, table, {"rows": counts["rows"], **(measures or {})})
