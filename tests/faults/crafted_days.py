"""Days of whole lines that are wrong as days: which gate stops each, and with which words?

    python tests/faults/crafted_days.py                    # by DuckDB, of three shapes of logs
    python tests/faults/crafted_days.py --seeds 5 6        # of other generated logs
    python tests/faults/crafted_days.py --landing FOLDER   # of another landing folder's lines too
    python tests/faults/crafted_days.py --ingest           # each through `userbert browsing-logs`
    python tests/faults/crafted_days.py --lake ROOT        # every day of a lake, which must pass

Forty usual days come first. Then each wrong day of wrong_days.py takes the place of the next one.
The calm days are 60 of generated logs that grow by a tenth a month, with weekends, holidays and a
marketing day of twice the lines. Exit code 1 if a wrong day passes or a usual one is stopped.
"""

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
from faults.wrong_days import CRAFTED, SIBLINGS, Around, Line, Lines

from contracts.landing_settings import read_settings
from expectations.days.comparison import Judged, judge_day
from expectations.days.measures import VIEW_COLUMNS, DayFacts, measure_days
from expectations.days.questions import DUCKDB_MACROS
from landing.synthetic.generate import Settings, generate_logs

FIRST_DAY = date(2017, 3, 1)
NUM_USUAL, NUM_CALM = 40, 60
SEEDS = (11, 12, 13)  # on which bounds were chosen; docs/day-gates.md reports others
MAX_FUTURE_SHARE, MAX_FEW_LINES = 0.05, 10  # of lines after their landing day: the ingest's rule
Days = Mapping[date, Lines]

SETTINGS = """format = "jsonl"
[columns]
user_id = "user"
event_time = "time"
title = "title"
host = "host"
"""


def as_is(line: Line) -> Line:
    return line


def with_umlauts(line: Line) -> Line:
    """Ids of 36 characters, titles of another language's letters, times of whole seconds."""
    return {
        "user": str(uuid.UUID(int=random.Random(line["user"]).getrandbits(128))),
        "time": f"{line['time'][:19]}Z",
        "title": line["title"].replace("o", "ö").replace("ss", "ß"),
        "host": line["host"],
    }


def with_log_id(line: Line) -> Line:
    return {**line, "id": f"{random.Random(json.dumps(line)).getrandbits(64):016x}"}


@dataclass(frozen=True)
class Shape:
    """What a site's logs are like."""

    users: int
    change: Callable[[Line], Line] = as_is
    weekend: float = 1.0  # share of the views that Saturdays and Sundays have


SHAPES: Mapping[str, Shape] = {
    "a small site": Shape(390),
    "quiet weekends, umlauts, UUIDs, whole seconds": Shape(1_500, with_umlauts, 0.45),
    "log ids, bots": Shape(4_000, with_log_id),
}


def read_lines(path: Path) -> Lines:
    """Those that are views."""
    return [line for text in path.read_text(encoding="utf-8").splitlines() if (line := view(text))]


def view(text: str) -> Line | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if is_whole(line) else None


def is_whole(line: Line) -> bool:
    try:
        datetime.fromisoformat(line["time"])
        return bool(line["user"].strip() and line["title"].strip() and line["host"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return False


def usual_days(
    root: Path, users: int, days: int, seed: int = 7, shape: Shape | None = None
) -> dict[date, Lines]:
    generate_logs(Settings(users=users, days=days, seed=seed, from_day=FIRST_DAY), root)
    folders = sorted(each for each in (root / "landing").iterdir() if each.is_dir())
    found = {
        date.fromisoformat(folder.name): [
            line for path in sorted(folder.glob("*.jsonl")) for line in read_lines(path)
        ]
        for folder in folders
    }
    return shaped(found, shape) if shape else found


def shaped(days: Days, shape: Shape) -> dict[date, Lines]:
    draw = random.Random(1)
    return {
        day: [
            shape.change(line)
            for line in lines
            if day.weekday() < 5 or draw.random() < shape.weekend
        ]
        for day, lines in days.items()
    }


def landed_days(landing: Path) -> dict[date, Lines]:
    """The lines of another landing folder of JSON, with this script's names of columns."""
    columns = read_settings(landing / "settings.toml", ("jsonl",)).columns
    names = {"user_id": "user", "event_time": "time", "title": "title", "host": "host",
             "log_id": "id"}  # fmt: skip
    ours = {theirs: names[name] for name, theirs in columns.items()}
    found = {}
    for folder in sorted(each for each in landing.iterdir() if each.is_dir()):
        texts = [text for path in sorted(folder.glob("*.jsonl")) for text in path.open()]
        lines = [
            {ours[name]: value for name, value in json.loads(text).items() if name in ours}
            for text in texts
        ]
        found[date.fromisoformat(folder.name)] = [in_utc(line) for line in lines if is_whole(line)]
    return found


def in_utc(line: Line) -> Line:
    return line if line["time"].endswith("Z") else {**line, "time": f"{line['time']}.000Z"}


Rows = list[tuple[object, ...]]


def view_rows(days: Days, seen: set[object] | None = None) -> Rows:
    """browsing_logs' columns of the lines, each view once, on the day that had it first."""
    rows: Rows = []
    seen = set() if seen is None else seen
    for day, lines in days.items():
        for line in lines:
            facts = line.get("id") or tuple(line.values())
            time = datetime.fromisoformat(line["time"])
            if facts in seen or time.date() > day:
                continue
            seen.add(facts)
            title = " ".join(line["title"].lower().split())
            host = line["host"] or None
            rows.append((day, line["user"].strip(), hash(title), line["title"], host, time))
    return rows


def arrow_table(rows: Rows) -> pa.Table:
    types = [pa.date32(), pa.string(), pa.int64(), pa.string(), pa.string()]
    schema = pa.schema(zip(VIEW_COLUMNS, [*types, pa.timestamp("us", "UTC")], strict=True))
    columns = zip(*rows, strict=True) if rows else [[] for _ in VIEW_COLUMNS]
    return pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)],
        schema=schema,
    )


def arrow_views(days: Days) -> pa.Table:
    return arrow_table(view_rows(days))


def facts_of(views: pa.Table, days: list[date]) -> dict[date, DayFacts]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for macro in DUCKDB_MACROS:
            connection.execute(macro)
        connection.register("day_views", views)
        return measure_days(lambda sql: connection.execute(sql).fetchall(), days)


def stopped_by(facts: DayFacts, earlier: Mapping[date, DayFacts]) -> list[Judged]:
    broken = [
        each for each in judge_day(facts, earlier) if not each.is_within and each.bound.is_hard
    ]
    return sorted(broken, key=lambda each: -each.excess)


def with_resent(facts: DayFacts, num_lines: int) -> DayFacts:
    """The lines that landed before, which the ingest counts; here those that were left out."""
    resent = max(num_lines - facts.numbers["views"], 0) / max(num_lines, 1)
    return DayFacts(facts.day, {**facts.numbers, "resent_share": resent}, facts.clock,
                    facts.alphabets, facts.scripts)  # fmt: skip


def is_of_future(day: date, lines: Lines) -> bool:
    """Whether so many lines are of a time after their day that the ingest stops it for them."""
    num = sum(datetime.fromisoformat(line["time"]).date() > day for line in lines)
    return num > max(MAX_FEW_LINES, MAX_FUTURE_SHARE * len(lines))


def wrong_days(days: Days) -> Iterator[tuple[str, Lines]]:
    """Each kind of wrong day, in the place of the last day but one of `days`."""
    *_, yesterday, last, tomorrow = days
    week = last - timedelta(days=7)
    around = Around(days[last], days[yesterday], days[week], days[tomorrow])
    crafted = {name: craft(around.lines, around.yesterday) for name, craft in CRAFTED.items()}
    for name, lines in (*crafted.items(), *((n, craft(around)) for n, craft in SIBLINGS.items())):
        if lines != around.lines:  # ids of 8 characters are not cut to 8
            yield name, lines


def judged_crafted(days: Days) -> Iterator[tuple[str, list[str]]]:
    """What stops each wrong day, which is the last but one of `days`."""
    *usual, last, _ = days
    seen: set[object] = set()
    rows = view_rows({day: days[day] for day in usual}, seen)
    table = arrow_table(rows)
    history = {day: with_resent(each, 0) for day, each in facts_of(table, usual).items()}
    for name, lines in wrong_days(days):
        crafted = arrow_table(view_rows({last: lines}, set(seen)))
        facts = facts_of(pa.concat_tables([table, crafted]), [last])[last]
        future = ["future_share"] if is_of_future(last, lines) else []
        judged = stopped_by(with_resent(facts, len(lines)), history)
        yield name, [*future, *map(str, judged)]


def calm_days(
    days: Days, grown: Days, rush: int = 45, holidays: Sequence[int] = (33, 50)
) -> dict[date, Lines]:
    """Days that grow by a tenth a month out of `grown`, a marketing day, and two quiet holidays."""
    found = {}
    for n, day in enumerate(days):
        draw = random.Random(n)
        growth = [draw.random() < 0.1 * n / 30 for _ in grown[day]]
        lines = list(days[day])
        for line, is_growth in zip(grown[day], growth, strict=True):
            if is_growth or n == rush:
                lines.append({**line, "user": f"{'g' if is_growth else 'm'}{line['user']}"})
        if n in holidays:
            lines = [line for line in lines if draw.random() < 0.5]
        found[day] = lines
    return found


def ingest(first: date, last: date) -> tuple[int, str]:
    """By the command, in this process: its Spark session stays."""
    from userbert.cli import main as command

    printed = io.StringIO()
    with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(io.StringIO()):
        code = command(["browsing-logs", "--from-day", str(first), "--to-day", str(last)])
    lines = [each for each in printed.getvalue().splitlines() if " failed: " in each]
    return code, lines[-1] if lines else printed.getvalue()[-300:]


def write_day(root: Path, day: date, lines: Lines, has_id: bool = False) -> None:
    folder = root / "landing" / str(day)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder.parent / "settings.toml").write_text(SETTINGS + ('log_id = "id"\n' if has_id else ""))
    (folder / "views.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def ingested_crafted(days: Days, root: Path) -> Iterator[tuple[str, int, str]]:
    """Each wrong day through the ingest of a lake that holds the days before it."""
    from spark_jobs.spark.session import session

    *usual, last, _ = days
    has_id = "id" in days[last][0]
    os.environ["USERBERT_DATA"] = str(root)
    for day in usual:
        write_day(root, day, days[day], has_id)
    with session("crafted days", logged=False):
        code, line = ingest(usual[0], usual[-1])
        if code:
            raise SystemExit(f"the usual days were not ingested: {line}")
        for name, lines in wrong_days(days):
            write_day(root, last, lines, has_id)
            yield name, *ingest(last, last)


def ingested_calm(name: str, days: Days, root: Path) -> int:
    """All usual days by one command, which stops if one of them is stopped."""
    from spark_jobs.spark.session import session

    os.environ["USERBERT_DATA"] = str(root)
    for day, lines in days.items():
        write_day(root, day, lines, has_id="id" in lines[0])
    with session("usual days", logged=False):
        code, line = ingest(min(days), max(days))
    say(f"exit {code} of the ingest of {len(days)} usual days of {name}: {line}")
    return int(code != 0)


def lake_views(root: Path) -> tuple[pa.Table, list[date]]:
    from deltalake import DeltaTable

    views = DeltaTable(f"{root}/lake/browsing_logs").to_pyarrow_table(columns=list(VIEW_COLUMNS))
    return views, sorted(set(views["landing_day"].to_pylist()))


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def alarms(name: str, views: pa.Table, days: list[date]) -> int:
    facts = facts_of(views, days)
    stopped = {day: broken for day in days if (broken := stopped_by(facts[day], facts))}
    say(f"{len(stopped)} false alarms on {len(days)} usual days of {name}")
    for day, broken in stopped.items():
        say(f"    {day}: {'; '.join(map(str, broken[:2]))}")
    return len(stopped)


def passed(name: str, days: Days, root: Path | None) -> int:
    """The number of wrong days that nothing stops, by the measures or through the ingest."""
    num = num_passed = 0
    if root:
        outcomes = ((kind, code == 3, line) for kind, code, line in ingested_crafted(days, root))
    else:
        outcomes = (
            (kind, bool(broken), "; ".join(broken[:2])) for kind, broken in judged_crafted(days)
        )
    for kind, is_stopped, line in outcomes:
        num, num_passed = num + 1, num_passed + (not is_stopped)
        say(f"  {'stopped' if is_stopped else 'PASSED '}  {kind}: {line}")
    day = list(days)[-2]
    say(f"{num - num_passed} of {num} wrong days were stopped, {name}, {day}")
    return num_passed


def window(days: Days, last: int) -> Days:
    """Forty usual days, the day that becomes a wrong one, and the day after it."""
    names = list(days)[last - NUM_USUAL : last + 2]
    return {day: days[day] for day in names}


def main(
    seeds: Sequence[int],
    shapes: Sequence[str],
    landing: Path | None,
    lake: Path | None,
    is_ingest: bool,
) -> int:
    num_wrong = 0
    for seed in seeds:
        for name, shape in ((name, SHAPES[name]) for name in shapes):
            with tempfile.TemporaryDirectory() as scratch:
                root = Path(scratch)
                days = usual_days(root / "usual", shape.users, NUM_CALM, seed, shape)
                grown = usual_days(root / "grown", shape.users + 17, NUM_CALM, seed + 1, shape)
                title = f"{name}, seed {seed}"
                place = root / "root" if is_ingest else None
                num_wrong += passed(title, window(days, NUM_USUAL + seed % 7), place)
                calm = calm_days(days, grown)
                num_wrong += alarms(title, arrow_views(calm), list(calm))
                if is_ingest:
                    num_wrong += ingested_calm(title, calm, root / "calm")
    if landing:
        days = landed_days(landing)
        num_wrong += alarms(str(landing), arrow_views(days), list(days))
        for last in range(NUM_USUAL + 11, len(days) - 1, 45):
            with tempfile.TemporaryDirectory() as scratch:
                place = Path(scratch) if is_ingest else None
                num_wrong += passed(str(landing), window(days, last), place)
    if lake:
        num_wrong += alarms(str(lake), *lake_views(lake))
    return 1 if num_wrong else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS, help="of the generated logs")
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--landing", type=Path, help="a landing folder whose days are usual")
    parser.add_argument("--lake", type=Path, help="a data root whose days are usual")
    parser.add_argument("--ingest", action="store_true", help="send each day through the ingest")
    asked = parser.parse_args()
    sys.exit(main(asked.seeds, asked.shapes, asked.landing, asked.lake, asked.ingest))
