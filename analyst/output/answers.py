"""Answers as tables for people and as JSON for programs."""

import argparse
import json
from dataclasses import asdict
from datetime import date
from typing import Any

import numpy as np
from rich.table import Table as Grid

from contracts.printing import grid, print_parts


def add_flags(parser: argparse.ArgumentParser, *, as_of: bool = True) -> argparse.ArgumentParser:
    """Add the flags that every question takes."""
    if as_of:
        parser.add_argument(
            "--as-of", type=date.fromisoformat, help="UTC day, YYYY-MM-DD (default: the newest)"
        )
    parser.add_argument("--model", help="a model_id (default: the champion)")
    parser.add_argument("--json", action="store_true", help="for programs")
    return parser


def tell(answer: Any, as_json: bool, *parts: str | Grid) -> None:
    """Print `answer`, a dataclass, as JSON; or else `parts`, which show it to a person."""
    if as_json:
        print(json.dumps(asdict(answer), indent=2, default=_plain, ensure_ascii=False))  # noqa: T201
    else:
        print_parts(*parts)


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else str(value)


__all__ = ["add_flags", "grid", "tell"]
