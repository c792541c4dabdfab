"""Answers as tables for people, and as JSON and CSV for programs."""

import csv as csv_writer
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.table import Table as Grid

from contracts.errors import BadInput
from contracts.terminal.csv_cells import plain_cell
from contracts.terminal.printing import grid, print_parts


@dataclass(frozen=True)
class Listing:
    """Rows that are a table for people, and CSV for programs. A name that begins with `#` is of
    numbers."""

    rows: Sequence[Sequence[object]]
    columns: tuple[str, ...]

    def print_csv(self) -> None:
        """Numbers have all their digits, the items of a list are joined, null is nothing."""
        names = [name.removeprefix("#").replace(" ", "_") for name in self.columns]
        print_csv([[_csv_cell(value) for value in row] for row in self.rows], names)


def print_answer(
    answer: Any, as_json: bool, *parts: str | Grid | Listing, csv: Listing | None = None
) -> None:
    """Print `answer`, a dataclass, as JSON; or the rows `csv`; or `parts`, which a person reads."""
    if as_json and csv is not None:
        raise BadInput("say --json or --csv, not both")
    if as_json:
        print_json(asdict(answer))
    elif csv is not None:
        csv.print_csv()
    else:
        print_parts(*(grid(p.rows, *p.columns) if isinstance(p, Listing) else p for p in parts))


def print_json(value: object) -> None:
    print(json.dumps(value, indent=2, default=_plain, ensure_ascii=False))  # noqa: T201


def print_csv(rows: Iterable[Sequence[object]], columns: Sequence[str]) -> None:
    """Print rows below a header; numbers with all their digits, null as nothing, and no text that
    a spreadsheet would run."""
    writer = csv_writer.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([plain_cell(value) for value in row] for row in rows)


def _csv_cell(value: object) -> object:
    return " · ".join(map(str, value)) if isinstance(value, list | tuple) else value


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else str(value)
