"""Answers as tables for people, and as JSON and CSV for programs."""

import csv
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.table import Table as Grid

from contracts.terminal.printing import print_parts


def print_answer(answer: Any, as_json: bool, *parts: str | Grid) -> None:
    """Print `answer`, a dataclass, as JSON; or else `parts`, which show it to a person."""
    if as_json:
        print(json.dumps(asdict(answer), indent=2, default=_plain, ensure_ascii=False))  # noqa: T201
    else:
        print_parts(*parts)


def print_csv(rows: Iterable[Sequence[object]], columns: Sequence[str]) -> None:
    """Print rows below a header; numbers with all their digits, null as nothing."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else str(value)
