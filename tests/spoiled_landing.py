"""Two ways in which a day's landing files (JSON lines) go wrong at their source, for tests."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def _rewritten(day_folder: Path, spoil: Callable[[int, dict], dict]) -> int:
    """Pass every object of a day's files, with its number from 0, through `spoil`; how many."""
    number = 0
    for path in sorted(day_folder.glob("[!._]*.jsonl")):
        lines = []
        for line in path.read_text(encoding="utf-8").splitlines():
            with suppress(json.JSONDecodeError):  # such a line is broken already
                line = json.dumps(spoil(number, json.loads(line)), ensure_ascii=False)
            lines.append(line + "\n")
            number += 1
        path.write_text("".join(lines), encoding="utf-8")
    return number


def rename_column(day_folder: Path, old: str, new: str) -> int:
    """The source calls a column by another name from this day on; returns the day's lines."""
    return _rewritten(
        day_folder, lambda _, row: {new if name == old else name: row[name] for name in row}
    )


def send_half_to_the_future(day_folder: Path, column: str) -> int:
    """Every second line's ISO time is ten years on; returns the day's lines."""

    def later(number: int, row: dict) -> dict:
        year = str(row.get(column))[:4]
        if number % 2 == 0 or not year.isdigit():
            return row
        return row | {column: f"{int(year) + 10}{row[column][4:]}"}

    return _rewritten(day_folder, later)
