"""Random backfills: what `plan` says of each, next to what it then takes.

    python -m benchmarks.publishing.backfill_prices [--plans 50] [--days 30] [--users 300]
        [--seed 0] [--table FILE]

On a small lake of its own making, before each plan something happens to a random range of days: no
vectors were made yet, views land late, vectors are taken out, or the sequences too. Then the days
are planned under one of two models, and written. All in one process, whose record begins empty.
A line of JSON a plan; the last line says, for time, CPU time, bytes and memory, how many plans were
within 15 % once there was a record, and what the first ones were off by. --table FILE writes the
plans as a table in Markdown too. Exit code 1 if a number of rows was not exact.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from delta.tables import DeltaTable

from benchmarks.harness import benchmark_parser, print_line, print_result
from contracts.paths import Places
from contracts.tables import USER_EMBEDDINGS, USER_SEQUENCES
from spark_jobs.backfill.plan import BackfillPlan, make_plan
from spark_jobs.lake.lake import Lake
from spark_jobs.spark.process_cost import measure_processes
from spark_jobs.spark.session import session
from spark_jobs.tables.models import find_model, load_models
from userbert.commands.backfill import fill_with_progress

_TOLERANCE = 0.15
_FIRST_PLANS = 2  # whose record is empty, or holds the days that warmed the process up
_MAX_DAYS_A_PLAN = 4
_HAPPENINGS = ("nothing", "late views", "vectors taken out", "all taken out")
_MEASURES = ("seconds", "cpu_seconds", "bytes", "peak_bytes")


def make_lake(
    spark: Any, places: Places, num_days: int, users: int, rng: np.random.Generator
) -> tuple[list[str], list[date]]:
    """Two models and `num_days` days, of which each user comes before a random half."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
    import small_backfill  # type: ignore[import-not-found]
    from small_lake import write  # type: ignore[import-not-found]

    models = small_backfill.two_models(Lake(spark, places.lake), places)
    days = [small_backfill.FIRST + timedelta(days=n) for n in range(num_days)]
    rows = []
    for day in days:
        noon = datetime(day.year, day.month, day.day) - timedelta(hours=12)
        share = rng.uniform(0.1, 0.9)
        for user in np.flatnonzero(rng.random(users) < share):
            titles = [int(100 * rng.integers(4) + rng.integers(12)) for _ in range(4)]
            rows.append(small_backfill.session(int(user), noon, *titles))
    write(places, "sessions", rows)
    return list(models), days


def change_days(
    lake: Lake, places: Places, model_id: str, days: Sequence[date], rng: np.random.Generator
) -> str:
    """Something that gives a backfill of `days` work to do; its name."""
    import small_backfill
    from small_lake import write

    what = str(rng.choice(_HAPPENINGS, p=(0.1, 0.3, 0.3, 0.3)))
    in_days = f"as_of between '{days[0]}' and '{days[-1]}'"
    if what == "late views":
        late = datetime(2019, 12, 1) + timedelta(minutes=int(rng.integers(40_000)))
        users = rng.choice(300, 20, replace=False)
        write(places, "sessions", [small_backfill.session(int(u), late, 0, 101) for u in users])
    if what in ("vectors taken out", "all taken out") and lake.exists(USER_EMBEDDINGS):
        table = DeltaTable.forPath(lake.spark, lake.path(USER_EMBEDDINGS))
        table.delete(f"model_id = '{model_id}' and {in_days}")
    if what == "all taken out" and lake.exists(USER_SEQUENCES):
        DeltaTable.forPath(lake.spark, lake.path(USER_SEQUENCES)).delete(in_days)
    return what


def plan_and_run(lake: Lake, places: Places, model_id: str, days: Sequence[date]) -> dict[str, Any]:
    """What was planned and what was taken, measure by measure."""
    model = find_model(load_models(lake), model_id)
    made: BackfillPlan = make_plan(lake, places, model, days, in_new_process=False)
    with measure_processes() as cost:
        done = fill_with_progress(lake, places, model, days)
    commits = [commit for day in done for commit in day.commits]
    taken = {
        "seconds": round(cost.seconds, 1),
        "cpu_seconds": round(cost.cpu_seconds, 1),
        "bytes": sum(commit.bytes for commit in commits),
        "peak_bytes": cost.peak_bytes,
    }
    planned = {name: round(getattr(made.price, name) or 0.0, 1) for name in _MEASURES}
    reasons = sorted({name for why in made.reasons.values() for name in why})
    rows = [made.rows, sum(commit.rows for commit in commits)]
    pairs = {name: [planned[name], taken[name]] for name in _MEASURES}
    return {"days": len(done), "reasons": reasons, "rows": rows, **pairs}


def summary(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of the plans that had something to write."""
    later = [each for each in found if each["rows"][1]][_FIRST_PLANS:]
    figures: dict[str, Any] = {
        "plans": len(found),
        "with_rows": sum(bool(each["rows"][1]) for each in found),
        "rows_exact": sum(each["rows"][0] == each["rows"][1] for each in found),
    }
    for name in _MEASURES:
        errors = [abs(each[name][0] / each[name][1] - 1) for each in later]
        figures[name] = {
            "within_15_percent": sum(error <= _TOLERANCE for error in errors),
            "of": len(errors),
            "median_error": round(float(np.median(errors)), 3),
            "ninth_decile": round(float(np.quantile(errors, 0.9)), 3),
        }
    return figures


def markdown_table(found: Sequence[dict[str, Any]]) -> str:
    """A row a plan: of each measure what was planned, what was taken, and how far off it was."""
    units = {"seconds": (1, "s"), "cpu_seconds": (1, "CPU s")}
    units |= {"bytes": (1_000, "KB"), "peak_bytes": (1_000_000, "MB at most")}
    head = ["plan", "before it", "days", "rows"]
    head += [cell for _, unit in units.values() for cell in (unit, "off")]
    lines = [head, ["---"] * len(head)]
    for each in found:
        planned_rows, rows = each["rows"]
        shown = f"{rows:,}" if planned_rows == rows else f"{planned_rows:,}, {rows:,}"
        cells = [str(each["plan"] + 1), each["before"], str(each["days"]), shown]
        for name, (size, _) in units.items():
            planned, taken = each[name]
            is_priced = rows and planned
            cells.append(f"{planned / size:,.0f}, {taken / size:,.0f}" if is_priced else "")
            cells.append(f"{100 * (planned / taken - 1):+.0f} %" if is_priced else "")
        lines.append(cells)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def measure(plans: int, num_days: int, users: int, seed: int) -> list[dict[str, Any]]:
    rng, found = np.random.default_rng(seed), []
    with tempfile.TemporaryDirectory() as folder, session("prices", logged=False) as spark:
        places = Places(Path(folder))
        models, all_days = make_lake(spark, places, num_days, users, rng)
        for number in range(plans):
            first, length = rng.integers(num_days), rng.integers(1, _MAX_DAYS_A_PLAN + 1)
            days, model_id = all_days[first : first + length], models[rng.integers(2)]
            lake = Lake(spark, places.lake)
            what = change_days(lake, places, model_id, days, rng)
            taken = plan_and_run(lake, places, model_id, days)
            found.append({"plan": number, "before": what, **taken})
            print_line(found[-1])
    return found


def arg_parser() -> argparse.ArgumentParser:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--plans", type=int, default=50)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--users", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", type=Path, help="a file for the table in Markdown")
    return parser


def main(plans: int, days: int, users: int, seed: int, table: Path | None) -> int:
    found = measure(plans, days, users, seed)
    if table:
        table.write_text(markdown_table(found))
    figures = summary(found)
    agree = figures["rows_exact"] == figures["plans"]
    print_result({"name": f"prices of {plans} plans", "agree": agree, "figures": figures})
    return int(not agree)


if __name__ == "__main__":
    sys.exit(main(**vars(arg_parser().parse_args())))
