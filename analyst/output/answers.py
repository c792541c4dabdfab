"""Answers as tables for people and as JSON for programs."""

import json
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


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else str(value)
