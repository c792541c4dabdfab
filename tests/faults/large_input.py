"""Large landing days: how long does an ingest take, and how much memory do all its processes hold?

    python -m tests.faults.large_input --what titles|machine|files|days [--size N]

titles    N views with a title of 1 MB each (default: 100)
machine   one user with N views on one day, among others (default: 2,000,000), and its sessions
files     one day of N files (default: 5,000)
days      N landing days of 20 views each in one run (default: 3,650)

The last line is JSON: lines in, accepted, refused, seconds, CPU seconds and the peak of the memory.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

from deltalake import DeltaTable

from benchmarks.harness import benchmark_parser, print_result
from contracts.paths import Places
from spark_jobs.spark.process_cost import measure_processes
from tests.faults.bring_back_trials import SETTINGS

FIRST_DAY = date(2016, 1, 1)
MIB = 1 << 20
Day = tuple[date, Iterator[tuple[str, Iterator[str]]]]  # its files, by name, with their lines


def line(user: str, day: date, number: int, title: str) -> str:
    at = datetime(day.year, day.month, day.day) + timedelta(microseconds=number * 43_000)
    return json.dumps({"user": user, "time": f"{at.isoformat()}Z", "title": title})


def titles(size: int) -> Iterator[Day]:
    lines = (line(f"u{n}", FIRST_DAY, n, f"{n} " + "word " * (MIB // 5)) for n in range(size))
    yield FIRST_DAY, iter([("a.jsonl", lines)])


def machine(size: int) -> Iterator[Day]:
    of_machine = (line("machine", FIRST_DAY, n, f"Page {n % 1000}") for n in range(size))
    others = (line(f"u{n % 500}", FIRST_DAY, n, f"Page {n % 1000}") for n in range(5_000))
    yield FIRST_DAY, iter([("a.jsonl", of_machine), ("b.jsonl", others)])


def files(size: int) -> Iterator[Day]:
    yield (
        FIRST_DAY,
        ((f"{n:05}.jsonl", iter([line(f"u{n}", FIRST_DAY, n, "Page")])) for n in range(size)),
    )


def days(size: int) -> Iterator[Day]:
    for number in range(size):
        day = FIRST_DAY + timedelta(days=number)
        lines = (line(f"u{n}", day, 1000 * n, f"Page {n}") for n in range(20))
        yield day, iter([("a.jsonl", lines)])


KINDS: dict[str, tuple[Callable[[int], Iterator[Day]], int]] = {
    "titles": (titles, 100),
    "machine": (machine, 2_000_000),
    "files": (files, 5_000),
    "days": (days, 3_650),
}


def write_landing(root: Path, made: Iterator[Day]) -> tuple[int, date]:
    """The files; (their lines, the last day)."""
    landing, count, last = Places(root).landing, 0, FIRST_DAY
    landing.mkdir(parents=True)
    (landing / "settings.toml").write_text(SETTINGS)
    for last, contents in made:
        (landing / str(last)).mkdir()
        for name, lines in contents:
            with (landing / str(last) / name).open("w") as out:
                for each in lines:
                    out.write(each + "\n")
                    count += 1
    return count, last


def main() -> int:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--what", choices=KINDS, required=True)
    parser.add_argument("--size", type=int, default=0)
    arguments = parser.parse_args()
    make, default = KINDS[arguments.what]
    from userbert.cli import main as command_line

    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        lines, last = write_landing(root, make(arguments.size or default))
        os.environ["USERBERT_DATA"] = name
        span = ["--from-day", str(FIRST_DAY), "--to-day", str(last)]
        with measure_processes() as cost:
            code = command_line(["browsing-logs", *span])
            if arguments.what == "machine" and not code:
                code = command_line(["sessions"])
        rows = [
            DeltaTable(f"{Places(root).lake}/{table}").to_pyarrow_dataset().count_rows()
            for table in ("browsing_logs", "rejected_logs")
        ]
    figures = {"lines": lines, "accepted": rows[0], "refused": rows[1], "exit": code} | vars(cost)
    is_whole = not code and sum(rows) == lines
    print_result({"name": f"large input: {arguments.what}", "agree": is_whole, "figures": figures})
    return 0 if is_whole else 1


if __name__ == "__main__":
    sys.exit(main())
