"""One loop for all trials of faults: it runs each, says how it ended, and sums up by kind.

A kind of fault is a function of seeds and a scratch folder that prepares what its trials share and
yields them. A trial breaks something in a folder of its own, does what a person would do next, and
looks at what is left.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from deltalake import DeltaTable

from benchmarks.harness import benchmark_parser, print_line, print_result
from contracts.paths import Places
from contracts.tables import WRITTEN_AT, Table

How = Literal["clean", "one line", "wrong"]
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Ending:
    """How a trial ended.

    clean     what is left, after the same command once more where it was stopped, is what an
              undisturbed run leaves
    one line  the command said in one line what is wrong, and changed nothing
    wrong     anything else: a traceback, other rows, a fault that nobody noticed
    """

    how: How
    faults: int = 1  # that were made in this trial
    rows_lost: int = 0
    rows_doubled: int = 0
    unchecked_reads: int = 0  # that ended well with another answer
    detail: str = ""


@dataclass(frozen=True)
class Trial:
    kind: str
    seed: int
    run: Callable[[Path], Ending]  # in an empty folder of its own


Kind = Callable[[range, Path], Iterable[Trial]]


def run_trials(name: str, trials: Iterable[Trial], minutes: float = float("inf")) -> int:
    """Run them one after the other, a line of JSON each; then the table and a line of JSON.

    No trial is begun after `minutes`. The exit code is 1 if one ended wrong.
    """
    began, endings = time.monotonic(), list[tuple[str, Ending]]()
    for trial in trials:
        started = time.monotonic()
        ending = run_one(trial)
        endings.append((trial.kind, ending))
        seconds = round(time.monotonic() - started, 1)
        print_line({"kind": trial.kind, "seed": trial.seed, "seconds": seconds} | asdict(ending))
        if time.monotonic() - began > 60 * minutes:
            break
    rows = summed_up(endings)
    sys.stdout.write(table_of(rows))
    is_right = not any(row["wrong"] for row in rows)
    total = round(time.monotonic() - began)
    print_result({"name": name, "agree": is_right, "seconds": total, "kinds": rows})
    return 0 if is_right else 1


def run_one(trial: Trial) -> Ending:
    with tempfile.TemporaryDirectory() as folder:
        try:
            return trial.run(Path(folder) / "trial")
        except Exception as error:
            return Ending("wrong", detail=f"{type(error).__name__}: {error}"[:300])


def summed_up(endings: Sequence[tuple[str, Ending]]) -> list[dict[str, Any]]:
    rows = []
    for kind in dict.fromkeys(kind for kind, _ in endings):
        some = [ending for each, ending in endings if each == kind]
        row: dict[str, Any] = {"kind": kind, "tried": sum(each.faults for each in some)}
        for how in ("clean", "one line", "wrong"):
            row[how] = sum(each.faults for each in some if each.how == how)
        for count in ("rows_lost", "rows_doubled", "unchecked_reads"):
            row[count] = sum(getattr(each, count) for each in some)
        rows.append(row)
    return rows


def table_of(rows: Sequence[dict[str, Any]]) -> str:
    """In Markdown, with a line of sums."""
    names = list(rows[0]) if rows else []
    sums = {name: sum(row[name] for row in rows) for name in names[1:]}
    lines = [names, ["---"] * len(names), *(row.values() for row in rows), ["all", *sums.values()]]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def table_rows(root: Path, table: Table) -> Rows:
    """All of a table, by its key, without when it was written."""
    names = [name for name in table.names if name != WRITTEN_AT]
    found = DeltaTable(f"{Places(root).lake}/{table.name}").to_pyarrow_table(columns=names)
    return list(found.sort_by([(name, "ascending") for name in _lasting_key(table)]).to_pylist())


def _lasting_key(table: Table) -> list[str]:
    """The key without the time of writing, which no two runs share."""
    return [name for name in table.key if name != WRITTEN_AT]


def compared(root: Path, quiet: Path, tables: Sequence[Table], faults: int, detail: str) -> Ending:
    """The rows of `root` against those of a lake where nothing was disturbed."""
    lost = doubled = 0
    differing = []
    for table in tables:
        ours, wanted = table_rows(root, table), table_rows(quiet, table)
        if ours != wanted:
            differing.append(table.name)
        keys, wanted_keys = (_keys(rows, table) for rows in (ours, wanted))
        lost += len(wanted_keys - keys)
        doubled += len(ours) - len(keys) + len(keys - wanted_keys)
    how: How = "wrong" if differing else "clean"
    words = f"{detail}; differing: {', '.join(differing)}" if differing else detail
    return Ending(how, faults, lost, doubled, detail=words)


def _keys(rows: Rows, table: Table) -> set[str]:
    return {json.dumps([row[name] for name in _lasting_key(table)], default=str) for row in rows}


def chained(kinds: Iterable[tuple[Kind, range]], scratch: Path) -> Iterator[Trial]:
    """The trials of each kind, prepared when the first of them is due."""
    for number, (kind, seeds) in enumerate(kinds):
        yield from kind(seeds, scratch / str(number))


def main_of_trials(name: str, doc: str | None, kind: Kind, trials: int) -> int:
    """The command of a module of one kind."""
    parser = benchmark_parser(doc)
    parser.add_argument("--first-seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--trials", type=int, default=trials, help="default: %(default)s")
    arguments: argparse.Namespace = parser.parse_args()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.trials)
    with tempfile.TemporaryDirectory() as scratch:
        return run_trials(name, kind(seeds, Path(scratch)))
