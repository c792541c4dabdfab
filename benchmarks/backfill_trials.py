"""Backfills side by side, killed at moments that a seed draws: do they end as one quiet run does?

python benchmarks/backfill_trials.py --trials 20

Each trial copies a small lake of its own making, starts `userbert backfill run` several times over
overlapping days and, beside them, the jobs of one night, ends each by kill -9 (its JVM too) at a
drawn moment, runs it once more to the end, and compares every row. Prints JSON; the exit code is 1
if a trial's tables differ.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from contracts.places import Places
from contracts.tables import USER_EMBEDDINGS, USER_SEQUENCES, Table

LONGEST = 25.0  # seconds from the first claim of a day; a trial's writing is over by then
START_LIMIT = 300.0


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "userbert.cli", *words]


def backfill(model_id: str, days: Sequence[date]) -> list[str]:
    first, last = str(days[0]), str(days[-1])
    return command("backfill", "run", "--from", first, "--to", last, "--model", model_id)


def start(words: list[str], root: Path) -> "subprocess.Popen[bytes]":
    """In a process group of its own, so that the JVM is killed with it."""
    return subprocess.Popen(
        words,
        env=os.environ | {"USERBERT_DATA": str(root), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill(process: "subprocess.Popen[bytes]") -> bool:
    """Whether there was anything to kill."""
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return alive


def killed(commands: Sequence[list[str]], root: Path, seed: int, longest: float = LONGEST) -> int:
    """Run `commands` side by side, each until a drawn moment; how many were still at it.

    The clock starts at the first claim of a day: what comes before touches no table.
    """
    draw = random.Random(seed)
    moments = [draw.uniform(0, longest) for _ in commands]
    processes = [start(words, root) for words in commands]
    claims, limit = root / "backfill", time.monotonic() + START_LIMIT
    while not claims.exists() and time.monotonic() < limit:
        if all(process.poll() is not None for process in processes):
            break
        time.sleep(0.02)
    began, alive = time.monotonic(), 0
    for moment, process in sorted(zip(moments, processes, strict=True), key=lambda each: each[0]):
        time.sleep(max(0.0, began + moment - time.monotonic()))
        alive += kill(process)
    return alive


def rows(places: Places, table: Table) -> list[dict[str, Any]]:
    """All of a table, by its key."""
    found = DeltaTable(f"{places.lake}/{table.name}").to_pyarrow_table().select(table.names)
    return list(found.sort_by([(name, "ascending") for name in table.key]).to_pylist())


def same(one: Places, other: Places) -> bool:
    return all(
        rows(one, table) == rows(other, table) for table in (USER_SEQUENCES, USER_EMBEDDINGS)
    )


def halves(days: Sequence[date]) -> list[list[date]]:
    """Two runs of days that have the middle in common."""
    third = max(1, len(days) // 3)
    return [list(days[:-third]), list(days[third:])]


def trial(
    template: Path, quiet: Places, model_id: str, days: Sequence[date], seed: int
) -> dict[str, Any]:
    """One copy of `template`, killed and mended; `quiet` holds what must come out."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        shutil.copytree(template, root)
        night = command("user-embeddings", "--as-of", str(days[-1]), "--model", model_id)
        commands = [backfill(model_id, part) for part in halves(days)]
        night_first = command("user-sequences", "--as-of", str(days[-1]))
        began = time.monotonic()
        alive = killed([*commands, night_first], root, seed)
        for words in (backfill(model_id, days), night):
            subprocess.run(
                words,
                env=os.environ | {"USERBERT_DATA": str(root)},
                check=True,
                capture_output=True,
            )
        seconds = round(time.monotonic() - began, 1)
        return {
            "seed": seed,
            "killed": alive,
            "same": same(Places(root), quiet),
            "seconds": seconds,
        }


def small_lake(root: Path) -> tuple[str, list[date]]:
    """A lake of few users, as the tests make it; the model to fill it under, and the days."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    import small_backfill  # type: ignore[import-not-found]

    from spark_jobs.lake import Lake
    from spark_jobs.session import session

    places = Places(root)
    with session("backfill trials") as spark:
        _, new = small_backfill.two_models(Lake(spark, places.lake), places)
        small_backfill.write_sessions(places)
    return new, small_backfill.DAYS


def arg_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument(
        "--trials", type=int, default=20, help="seeds 0, 1, ... (default %(default)s)"
    )
    return parser


def main(trials: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        template, quiet = Path(folder) / "template", Path(folder) / "quiet"
        model_id, days = small_lake(template)
        shutil.copytree(template, quiet)
        subprocess.run(
            backfill(model_id, days),
            env=os.environ | {"USERBERT_DATA": str(quiet)},
            check=True,
            capture_output=True,
        )
        found = []
        for seed in range(trials):
            found.append(trial(template, Places(quiet), model_id, days, seed))
            sys.stdout.write(json.dumps(found[-1]) + "\n")
            sys.stdout.flush()
    good = sum(each["same"] for each in found)
    sys.stdout.write(
        json.dumps({"trials": trials, "same": good, "killed": sum(e["killed"] for e in found)})
        + "\n"
    )
    return 0 if good == trials else 1


if __name__ == "__main__":
    sys.exit(main(**vars(arg_parser().parse_args())))
