"""Sixty nights with kills, retries, late files and a backfill: the tables of undisturbed ones?

    python -m tests.faults.sixty_nights [--nights 60] [--kills 12] [--seed 0]

Two lakes get the same files at the same times. In both, each seventh day comes in two parts, the
second two nights late; each ninth night is followed by maintenance; and in the middle a backfill
writes the last ten days again, which late files have changed. In one of them nothing else happens.
In the other the process is killed in some nights, JVM too, and goes on as Airflow's next try does;
and each eleventh day comes torn at first, is stopped by a gate, and is delivered again.

Then all rows of all tables must be equal. The last line is JSON: CPU seconds of a night and bytes
of each folder, at the beginning and at the end. It takes half an hour.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks.harness import benchmark_parser, print_line, print_result
from contracts.paths import Places
from spark_jobs.spark.process_cost import measure_processes
from spark_jobs.spark.session import session
from tests.faults.nightly_lake import (
    NUM_HISTORY_DAYS,
    TABLES,
    as_task,
    champion,
    day,
    done,
    make_lake,
    night_steps,
)
from tests.faults.processes import environment, kill_group, run_here, userbert_command
from tests.faults.trials import compared

LATE_EVERY, LATE_BY, MAINTAINED_EVERY, TORN_EVERY = 7, 2, 9, 11
NUM_BACKFILLED = 10  # days
KILL_WITHIN_S = 25.0  # from a night's beginning; many have ended by then on an idle machine


@dataclass(frozen=True)
class Plan:
    """Which nights are what, by the number of their landing day."""

    num_nights: int

    @property
    def nights(self) -> range:
        return range(NUM_HISTORY_DAYS, NUM_HISTORY_DAYS + self.num_nights)

    def is_late(self, night: int) -> bool:
        """Whether a fourth of the day's lines comes two nights later."""
        return night % LATE_EVERY == 0 and night + LATE_BY in self.nights

    def is_torn(self, night: int) -> bool:
        return night % TORN_EVERY == 0

    @property
    def backfilled_after(self) -> int:
        return self.nights[2 * self.num_nights // 3]


@dataclass(frozen=True)
class Deliveries:
    """The landing days as they will come, kept outside of the lake until then."""

    kept: Path
    root: Path

    def deliver(self, night: int, lines: list[str], name: str = "views.jsonl") -> None:
        folder = Places(self.root).landing / str(day(night))
        folder.mkdir(exist_ok=True)
        draft = folder.parent / f".{name}.draft"
        draft.write_text("".join(lines))
        draft.replace(folder / name)

    def lines(self, night: int) -> list[str]:
        files = sorted((self.kept / str(day(night))).iterdir())
        return [line for path in files for line in path.open(encoding="utf-8")]

    def early_lines(self, night: int) -> list[str]:
        """All but each fourth line: no gate takes the day for another one."""
        return [line for number, line in enumerate(self.lines(night)) if number % 4]

    def late_lines(self, night: int) -> list[str]:
        return self.lines(night)[::4]


def run_night(root: Path, kept: Path, plan: Plan, night: int, has_torn_days: bool) -> None:
    """What comes before, in and after a night; any of it may be done again from its beginning."""
    deliveries = Deliveries(kept, root)
    as_task(night)
    if has_torn_days and plan.is_torn(night):
        refuse_torn_day(root, deliveries, night)
    lines = deliveries.early_lines if plan.is_late(night) else deliveries.lines
    deliveries.deliver(night, lines(night))
    done(root, "steps", *night_steps(night))
    late = night - LATE_BY
    if late in plan.nights and plan.is_late(late):
        deliveries.deliver(late, deliveries.late_lines(late), "late.jsonl")
        done(root, "steps", *night_steps(late)[:3])
    if night == plan.backfilled_after:
        first = max(night - NUM_BACKFILLED, NUM_HISTORY_DAYS) + 1
        done(root, "backfill", "run", "--from", day(first), "--to", day(night + 1), "--model",
             champion(root))  # fmt: skip
    if night % MAINTAINED_EVERY == 0:
        done(root, "maintenance")


def refuse_torn_day(root: Path, deliveries: Deliveries, night: int) -> None:
    """The day holds an eighth of its lines at first, and a gate must stop it."""
    deliveries.deliver(night, deliveries.lines(night)[::8])
    ended = run_here(userbert_command("steps", *night_steps(night)), root)
    if ended.returncode not in (0, 3):
        raise RuntimeError(f"the torn day ended in {ended.returncode}: {ended.stderr[-300:]}")
    print_line({"torn": night, "exit": ended.returncode})


def work(root: Path, kept: Path, plan: Plan, first: int, has_torn_days: bool) -> int:
    """The nights from `first` on, in one application, with a line of JSON of each."""
    with session("sixty nights", logged=False):
        for night in range(first, plan.nights[-1] + 1):
            print_line({"begins": night})
            with measure_processes() as cost:
                run_night(root, kept, plan, night, has_torn_days)
            print_line({"ended": night, "cpu_s": cost.cpu_seconds, "s": cost.seconds}
                       | {"bytes": folder_sizes(root)})  # fmt: skip
    return 0


def folder_sizes(root: Path) -> dict[str, int]:
    folders = sorted(path for path in root.iterdir() if path.is_dir() and path.name != "landing")
    return {
        folder.name: sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        for folder in folders
    }


def start_worker(
    root: Path, kept: Path, plan: Plan, first: int, has_torn_days: bool
) -> "subprocess.Popen[str]":
    words = ["-m", "tests.faults.sixty_nights", "--worker", str(root), str(kept)]
    numbers = ["--nights", str(plan.num_nights), "--first", str(first)]
    return subprocess.Popen(
        [sys.executable, *words, *numbers, *(["--torn"] if has_torn_days else [])],
        env=environment(root), stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def all_nights(
    root: Path, kept: Path, plan: Plan, kills: dict[int, float], has_torn_days: bool
) -> tuple[list[dict[str, Any]], int]:
    """All nights, of which those in `kills` are ended so many seconds after their beginning once.

    Returns the lines of the nights that ended, and how many kills met one at work.
    """
    lines: list[dict[str, Any]] = []
    first, num_killed = plan.nights[0], 0
    while first in plan.nights:
        process = start_worker(root, kept, plan, first, has_torn_days)
        assert process.stdout is not None
        for text in process.stdout:
            line = json.loads(text) if text.startswith("{") else {}
            if "ended" in line:
                lines.append(line)
                first = line["ended"] + 1
            elif (wait := kills.pop(line.get("begins", 0), None)) is not None:
                time.sleep(wait)
                num_killed += kill_group(process)
                break
        else:
            if process.wait():
                raise RuntimeError(f"night {first} failed")
    return lines, num_killed


def make_both(scratch: Path, plan: Plan) -> tuple[Path, Path, Path]:
    """(the quiet lake, the disturbed one, the landing days of the nights)."""
    quiet, disturbed, kept = scratch / "quiet", scratch / "disturbed", scratch / "kept"
    with session("sixty nights", logged=False):
        make_lake(quiet, plan.num_nights)
    kept.mkdir()
    for night in plan.nights:
        shutil.move(Places(quiet).landing / str(day(night)), kept / str(day(night)))
    shutil.copytree(quiet, disturbed)
    return quiet, disturbed, kept


def figures_of(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Of the first and the last third: CPU seconds of a usual night, bytes that a night adds."""
    third = max(len(lines) // 3, 1)
    sizes = [sum(line["bytes"].values()) for line in lines]
    added = [after - before for before, after in pairwise(sizes)] or [0]
    return {
        "cpu_s_first": round(median(line["cpu_s"] for line in lines[:third]), 2),
        "cpu_s_last": round(median(line["cpu_s"] for line in lines[-third:]), 2),
        "bytes_a_night_first": round(mean(added[:third])),
        "bytes_a_night_last": round(mean(added[-third:])),
        "bytes_at_the_end": lines[-1]["bytes"],
    }


def main(nights: int, kills: int, seed: int) -> int:
    os.environ.setdefault("PYSPARK_SUBMIT_ARGS", "--master local[2] pyspark-shell")
    plan, draw = Plan(nights), random.Random(seed)
    moments = {n: draw.uniform(0, KILL_WITHIN_S) for n in draw.sample(plan.nights, kills)}
    with tempfile.TemporaryDirectory() as name:
        quiet, disturbed, kept = make_both(Path(name), plan)
        lines, num_killed = all_nights(disturbed, kept, plan, dict(moments), has_torn_days=True)
        undisturbed, _ = all_nights(quiet, kept, plan, {}, has_torn_days=False)
        ending = compared(disturbed, quiet, TABLES, num_killed, f"{num_killed} killed at work")
    figures = {"nights": nights, "kills": kills, "killed_at_work": num_killed,
               "rows_lost": ending.rows_lost, "rows_doubled": ending.rows_doubled,
               "differs": ending.detail, "quiet": figures_of(undisturbed),
               "disturbed": figures_of(lines)}  # fmt: skip
    is_same = ending.how == "clean"
    print_result({"name": "sixty nights", "agree": is_same, "figures": figures})
    return 0 if is_same else 1


if __name__ == "__main__":
    parser = benchmark_parser(__doc__)
    parser.add_argument("--nights", type=int, default=60, help="default: %(default)s")
    parser.add_argument("--kills", type=int, default=12, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--worker", nargs=2, type=Path, help="run nights of ROOT out of KEPT")
    parser.add_argument("--first", type=int, default=0, help="the worker's first night")
    parser.add_argument("--torn", action="store_true", help="some days of the worker come torn")
    asked = parser.parse_args()
    if asked.worker:
        sys.exit(work(*asked.worker, Plan(asked.nights), asked.first, asked.torn))
    sys.exit(main(asked.nights, asked.kills, asked.seed))
