"""How many lines the landing files hold, counted from the files and by nothing of the ingest."""

import gzip
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import IO

import pyarrow.parquet as pq

from contracts.landing_settings import read_settings


def lines_by_day(landing: Path) -> dict[date, int]:
    """By the day that a folder is named for: lines of text without a CSV's header, or rows."""
    form = read_settings(landing / "settings.toml").format
    return {
        date.fromisoformat(folder.name): sum(_lines(path, form) for path in _files(folder))
        for folder in sorted(landing.iterdir())
        if _is_day(folder)
    }


def _is_day(folder: Path) -> bool:
    try:
        date.fromisoformat(folder.name)
    except ValueError:
        return False
    return folder.is_dir()


def _files(folder: Path) -> Iterator[Path]:
    """Hidden files and folders are somebody's copy in progress."""
    for path in folder.rglob("*"):
        hidden = any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden:
            yield path


def _lines(path: Path, form: str) -> int:
    if form == "parquet":
        return int(pq.read_metadata(path).num_rows)
    with _opened(path) as file:
        lines = sum(1 for _ in file)
    return max(0, lines - (form == "csv"))


def _opened(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]
