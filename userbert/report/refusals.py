"""Refused lines of a run's landing days: how many for which reason, with examples."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from contracts.tables import REJECTED_LOGS
from userbert.report.lake_tables import LakeTables

_MAX_EXAMPLES = 3  # lines of each reason
_MAX_REASONS = 12
_MAX_CHARACTERS = 200  # of a line that is shown


@dataclass(frozen=True)
class _RefusedLine:
    file: str
    line: int
    raw: str
    reasons: list[str]


@dataclass(frozen=True)
class Refusal:
    """One kind of reason. A reason's details stand in brackets behind its kind."""

    reason: str
    lines: int
    examples: list[_RefusedLine] = field(default_factory=list)


def gather_refusals(tables: LakeTables, first: date, last: date) -> list[Refusal]:
    """The kinds of reasons, the most frequent first; a line with two kinds counts under both."""
    days = [first + timedelta(days=ago) for ago in range((last - first).days + 1)]
    if (dataset := tables.dataset(REJECTED_LOGS, "landing_day", *days)) is None:
        return []
    day = pc.field("landing_day")
    of_run = (day >= pa.scalar(first)) & (day <= pa.scalar(last))
    columns = ["file", "line", "raw", "reasons"]
    counts: Counter[str] = Counter()
    examples: dict[str, list[_RefusedLine]] = {}
    for batch in dataset.to_batches(columns=columns, filter=of_run):
        reasons_of_lines: Any = batch.column("reasons").to_pylist()
        for place, reasons in enumerate(reasons_of_lines):
            kinds = {reason.split(" (")[0] for reason in reasons}
            counts.update(kinds)
            for kind in kinds:
                if len(examples.setdefault(kind, [])) < _MAX_EXAMPLES:
                    examples[kind].append(_line_at(batch, place, reasons))
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_MAX_REASONS]
    return [Refusal(kind, lines, examples[kind]) for kind, lines in ordered]


def _line_at(batch: pa.RecordBatch, place: int, reasons: list[str]) -> _RefusedLine:
    file, line, raw = (batch.column(name)[place].as_py() for name in ("file", "line", "raw"))
    cut = raw if len(raw) <= _MAX_CHARACTERS else f"{raw[:_MAX_CHARACTERS]}..."
    return _RefusedLine(file, line, cut, reasons)
