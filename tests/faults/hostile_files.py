"""More than 100 hostile landing files, by kind: is each line accepted or refused, and none lost?

    python -m tests.faults.hostile_files              # the files' own readers: seconds, no Spark
    python -m tests.faults.hostile_files --ingest     # `userbert browsing-logs` of them, too
    python -m tests.faults.hostile_files --write OUT  # the files alone, a landing folder a format

A file ends right when its lines are as many as the audit counts, each either a view or a refused
line, or when the file is named as damaged in one line. The last line of output is JSON.
"""

import argparse
import json
import sys
import tempfile
import traceback
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.harness import benchmark_parser, print_line, print_result
from contracts.landing_settings import LandingSettings
from spark_jobs.ingest.formats import landing_format
from spark_jobs.ingest.parsing.packed_files import DamagedFile
from tests.faults.hostile_contents import (
    HEADER,
    TIME,
    HostileFile,
    hostile_files,
    parquet_bytes,
)

FIRST_DAY = date(2026, 1, 1)
COLUMNS = {"user_id": "user", "event_time": "time", "title": "title"}


def settings_of(file: HostileFile) -> LandingSettings:
    more: dict[str, Any] = {"csv": dict(file.csv)} if file.csv else {}
    return LandingSettings(format=file.format, columns=COLUMNS, damaged_files="refuse", **more)


def look_at(file: HostileFile, folder: Path) -> tuple[str, int, int]:
    """(how the file ended, its lines by the audit's count, lines that the reader gave)."""
    path = folder / "landing.file"
    path.write_bytes(file.content)
    form = landing_format(settings_of(file))
    try:
        counted, given = form.count(path), lines_given(form, path)
    except DamagedFile as error:
        return f"damaged file: {error.cause}", 1, 1
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"TRACEBACK of {type(error).__name__} in {last.name}: {str(error)[:80]}", 0, 0
    return "read", counted, given


def lines_given(form: Any, path: Path) -> int:
    numbers: list[int] = []
    raw: set[int] = set()
    for part in form.split(FIRST_DAY, path, path.name):
        for batch in form.parse(part):
            for column in batch.columns.values():
                column.validate(full=True)
                assert len(column) == len(batch.line_numbers)
            numbers += batch.line_numbers.tolist()
        raw |= {number for number, _ in form.raw_lines(part)}
    assert len(numbers) == len(set(numbers)), "a line came twice"
    assert set(numbers) == raw, "lines and their raw texts are not the same"
    return len(numbers)


def write_landing(root: Path, form: str) -> int:
    """The files of a format as one landing day, whose other lines are so many that it is not
    refused for the hostile ones; returns the lines that the audit counts."""
    settings = next(settings_of(file) for file in hostile_files() if file.format == form)
    reader, folder = landing_format(settings), root / "landing" / str(FIRST_DAY)
    counted = 0
    for number, file in enumerate(hostile_files()):
        if file.format != form or file.csv:  # settings.toml is one for all files of a lake
            continue
        path = folder / f"{number:03}" / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        counted += _count(reader, path)
    counted += _write_usual(folder / "usual", form, 6 * counted)
    columns = "".join(f'{ours} = "{theirs}"\n' for ours, theirs in COLUMNS.items())
    text = f'format = "{form}"\ndamaged_files = "refuse"\n[columns]\n{columns}'
    (root / "landing" / "settings.toml").write_text(text)
    return counted


def _count(reader: Any, path: Path) -> int:
    try:
        return int(reader.count(path))
    except DamagedFile:
        return 1  # the file is one refused line, for the audit too


def _write_usual(path: Path, form: str, count: int) -> int:
    titles = [f"Page {n}" for n in range(count)]
    if form == "parquet":
        columns = {"user": ["u2"] * count, "time": [TIME] * count, "title": titles}
        path.write_bytes(parquet_bytes(columns))
    elif form == "csv":
        path.write_text(HEADER + "".join(f"u2,{TIME},{title}\n" for title in titles))
    else:
        lines = (json.dumps({"user": "u2", "time": TIME, "title": each}) for each in titles)
        path.write_text("\n".join(lines) + "\n")
    return count


def ingest(form: str) -> dict[str, Any]:
    """What `userbert browsing-logs` made of the files of a format."""
    import os

    from deltalake import DeltaTable

    from userbert.cli import main as command_line

    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        counted = write_landing(root, form)
        os.environ["USERBERT_DATA"] = name
        day = ["--from-day", str(FIRST_DAY), "--to-day", str(FIRST_DAY)]
        code = command_line(["browsing-logs", *day])
        if code:
            return {"format": form, "exit": code, "lines": counted, "accepted": 0, "refused": 0}
        rows = [
            DeltaTable(str(root / "lake" / table)).to_pyarrow_dataset().count_rows()
            for table in ("browsing_logs", "rejected_logs")
        ]
    return {"format": form, "exit": 0, "lines": counted, "accepted": rows[0], "refused": rows[1]}


def is_right(ended: str, counted: int, given: int) -> bool:
    """Nothing is lost, and nothing ends in pages."""
    return not ended.startswith("TRACEBACK") and counted == given and "\n" not in ended


def main(with_ingest: bool, out: Path | None) -> int:
    files, wrong = hostile_files(), 0
    if out:
        for form in ("jsonl", "csv", "parquet"):
            write_landing(out / form, form)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        for file in files:
            ended, counted, given = look_at(file, Path(folder))
            wrong += not is_right(ended, counted, given)
            facts = {"format": file.format, "kind": file.kind, "ended": ended, "lines": given}
            print_line(facts | {"right": is_right(ended, counted, given)})
    ingested = [ingest(form) for form in ("jsonl", "csv", "parquet")] if with_ingest else []
    lost = sum(one["lines"] - one["accepted"] - one["refused"] for one in ingested)
    is_fine = not wrong and not lost and not any(one["exit"] for one in ingested)
    figures = {"files": len(files), "wrong": wrong, "ingested": ingested, "lines_lost": lost}
    print_result({"name": "hostile files", "agree": is_fine, "figures": figures})
    return 0 if is_fine else 1


def arg_parser() -> argparse.ArgumentParser:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--ingest", action="store_true", dest="with_ingest", help="by Spark, too")
    parser.add_argument("--write", type=Path, metavar="OUT", dest="out", help="write the files")
    return parser


if __name__ == "__main__":
    sys.exit(main(**vars(arg_parser().parse_args())))
