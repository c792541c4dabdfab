"""Answers as tables for people and as JSON for programs."""

import argparse
import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import date
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text


def add_flags(parser: argparse.ArgumentParser, *, as_of: bool = True) -> argparse.ArgumentParser:
    """What every question of the analyst's door may be asked with."""
    if as_of:
        parser.add_argument(
            "--as-of", type=date.fromisoformat, help="UTC day, YYYY-MM-DD (default: the newest)"
        )
    parser.add_argument("--model", help="a model_id (default: the champion)")
    parser.add_argument("--json", action="store_true", help="for programs")
    return parser


def grid(rows: Iterable[Any], *columns: str) -> Grid:
    """A table; a column whose name begins with `#` holds numbers."""
    table = Grid()
    for name in columns:
        table.add_column(name.lstrip("#"), justify="right" if name.startswith("#") else "left")
    for row in rows:
        table.add_row(*(Text(shown(value)) for value in row))
    return table


def shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return " · ".join(map(str, value))
    return "" if value is None else str(value)


def tell(answer: Any, as_json: bool, *parts: str | Grid) -> None:
    """Print `answer`, a dataclass: itself as JSON, or the lines and grids that tell it."""
    if as_json:
        print(json.dumps(asdict(answer), indent=2, default=_plain, ensure_ascii=False))  # noqa: T201
        return
    console = Console()
    for part in parts:
        told = Text(part) if isinstance(part, str) else part
        console.print(told, soft_wrap=isinstance(part, str))


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else str(value)
