"""Days of whole lines that are wrong as days: which gate stops each, and with which words?

    python tests/faults/crafted_days.py                 # the measures alone, by DuckDB: seconds
    python tests/faults/crafted_days.py --ingest        # each day through `userbert browsing-logs`
    python tests/faults/crafted_days.py --lake ROOT     # and every day of a lake, which must pass

Forty usual days of generated logs come first. Then each crafted day takes the place of the next
one. The calm days are 60 of generated logs that grow by a tenth a month, with weekends, holidays
and a marketing day of twice the lines. Exit code 1 if a crafted day passes or a usual one is
stopped.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

from expectations.day_bounds import Judged, judge_day
from expectations.day_measures import DUCKDB_MACROS, VIEW_COLUMNS, DayFacts, measure_days
from landing.synthetic.generate import Settings, generate_logs

FIRST_DAY = date(2017, 3, 1)
NUM_USUAL = 40
Line = dict[str, str]
Lines = list[Line]

SETTINGS = """format = "jsonl"
[columns]
user_id = "user"
event_time = "time"
title = "title"
host = "host"
"""
CYRILLIC = str.maketrans("abcdefghiklmnoprstuvyz", "абцдефгхиклмнопрстувыз")


def each(change: Callable[[Line], Line]) -> Callable[[Lines, Lines], Lines]:
    return lambda lines, yesterday: [{**line, **change(line)} for line in lines]


def half(change: Callable[[Line], Line]) -> Callable[[Lines, Lines], Lines]:
    """Every second line is changed."""
    return lambda lines, yesterday: [
        {**line, **(change(line) if n % 2 else {})} for n, line in enumerate(lines)
    ]


def moved(line: Line, **by: float) -> Line:
    time = datetime.fromisoformat(line["time"]) + timedelta(**by)
    return {"time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z")}


def on_day_of(line: Line, lines: Lines) -> Line:
    """With the newest date of `lines`, some of which came late."""
    return {**line, "time": max(one["time"][:10] for one in lines) + line["time"][10:]}


def crawler(num_views: int, num_crawlers: int = 1) -> Callable[[Lines, Lines], Lines]:
    def add(lines: Lines, yesterday: Lines) -> Lines:
        start, titles = lines[0]["time"][:10], sorted({line["title"] for line in lines})
        more = []
        for n in range(num_views):
            seconds = n * 86_000 // num_views
            time = f"{start}T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.000Z"
            of = {"user": f"u900000{n % num_crawlers}", "time": time}
            more.append({**lines[0], **of, "title": titles[n % len(titles)]})
        return lines + more

    return add


def repeated(lines: Lines, yesterday: Lines) -> Lines:
    return [{**x, **moved(x, milliseconds=7 * n)} for x in lines for n in range(10)]


# The days that the issue lists, and others of their kinds. Each: the day's lines, and yesterday's.
CRAFTED: Mapping[str, Callable[[Lines, Lines], Lines]] = {
    "a tenth of the lines": lambda x, y: x[::10],
    "a fifth of the lines": lambda x, y: x[::5],
    "an empty file": lambda x, y: [],
    "every title the same": each(lambda x: {"title": "Home"}),
    "nine in ten titles the same": lambda x, y: [
        {**line, **({"title": "Home"} if n % 10 else {})} for n, line in enumerate(x)
    ],
    "a crawler of 4,990 views": crawler(4_990),
    "three crawlers of 1,000 views": crawler(3_000, 3),
    "times eight hours early": each(lambda x: moved(x, hours=-8)),
    "times five hours early": each(lambda x: moved(x, hours=-5)),
    "times eight hours late": each(lambda x: moved(x, hours=8)),
    "ids with a new prefix": each(lambda x: {"user": f"web-{x['user']}"}),
    "half of the ids with a new prefix": half(lambda x: {"user": f"web-{x['user']}"}),
    "ids with a prefix of letters": each(lambda x: {"user": f"new{x['user']}"}),
    "ids in capitals": each(lambda x: {"user": x["user"].upper()}),
    "ids hashed": each(lambda x: {"user": f"{random.Random(x['user']).getrandbits(128):032x}"}),
    "an id of its own for each visit": each(lambda x: {"user": f"v{x['time'][11:16]}"}),
    "titles in another alphabet": each(lambda x: {"title": x["title"].lower().translate(CYRILLIC)}),
    "titles read in a wrong encoding": each(
        lambda x: {"title": x["title"].lower().translate(CYRILLIC).encode().decode("latin-1")}
    ),
    "half of yesterday's lines under today's date": lambda x, y: (
        x[::2] + [on_day_of(line, x) for line in y[::2]]
    ),
    "yesterday's lines under today's date": lambda x, y: [on_day_of(line, x) for line in y],
    "yesterday's file again": lambda x, y: y,
    "title and host exchanged": each(lambda x: {"title": x["host"], "host": x["title"]}),
    "user and title exchanged": each(lambda x: {"title": x["user"], "user": x["title"]}),
    "half of user and title exchanged": half(lambda x: {"title": x["user"], "user": x["title"]}),
    "half of the ids null, undefined, NaN, -": lambda x, y: [
        {**line, **({"user": ("null", "undefined", "NaN", "-")[n // 2 % 4]} if n % 2 else {})}
        for n, line in enumerate(x)
    ],
    "titles 404 Not Found and Just a moment...": lambda x, y: [
        {**line, "title": ("404 Not Found", "Just a moment...")[n % 2]} for n, line in enumerate(x)
    ],
    "a third of the titles 503 Service Unavailable": lambda x, y: [
        {**line, **({} if n % 3 else {"title": "503 Service Unavailable"})}
        for n, line in enumerate(x)
    ],
    "half of the lines a year old": half(lambda x: moved(x, days=-365)),
    "every time at midnight": each(lambda x: {"time": f"{x['time'][:10]}T00:00:00.000Z"}),
    "every time at noon": each(lambda x: {"time": f"{x['time'][:10]}T12:00:00.000Z"}),
    "markup in titles": each(lambda x: {"title": f"<h1 class='t'>{x['title']}</h1>"}),
    "entities in titles": each(lambda x: {"title": f"{x['title']} &nbsp;&raquo; Shop &amp; Co"}),
    "passwords and e-mail addresses in hosts": lambda x, y: [
        {**line, "host": (f"{line['user']}@example.org", "hunter2!")[n % 2]}
        for n, line in enumerate(x)
    ],
    "e-mail addresses in titles": half(lambda x: {"title": f"Inbox - {x['user']}@example.org"}),
    "every view ten times, milliseconds apart": repeated,
    "hosts are gone": each(lambda x: {"host": ""}),
}  # fmt: skip


def read_lines(path: Path) -> Lines:
    """Those that are views."""
    return [line for text in path.read_text(encoding="utf-8").splitlines() if (line := view(text))]


def view(text: str) -> Line | None:
    try:
        line = json.loads(text)
        datetime.fromisoformat(line["time"])
        is_whole = line["user"].strip() and line["title"].strip() and line["host"]
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return line if is_whole else None


def usual_days(root: Path, users: int, days: int) -> dict[date, Lines]:
    generate_logs(Settings(users=users, days=days, seed=7, from_day=FIRST_DAY), root)
    folders = sorted(each for each in (root / "landing").iterdir() if each.is_dir())
    return {
        date.fromisoformat(folder.name): [
            line for path in sorted(folder.glob("*.jsonl")) for line in read_lines(path)
        ]
        for folder in folders
    }


def arrow_views(days: Mapping[date, Lines]) -> pa.Table:
    """browsing_logs' columns of the lines, each view once, on the day that had it first."""
    rows, seen = [], set()
    for day, lines in days.items():
        for line in lines:
            facts = tuple(line.values())
            time = datetime.fromisoformat(line["time"])
            if facts in seen or time.date() > day:
                continue
            seen.add(facts)
            title = " ".join(line["title"].lower().split())
            host = line["host"] or None
            rows.append((day, line["user"].strip(), hash(title), line["title"], host, time))
    types = [pa.date32(), pa.string(), pa.int64(), pa.string(), pa.string()]
    schema = pa.schema(zip(VIEW_COLUMNS, [*types, pa.timestamp("us", "UTC")], strict=True))
    columns = zip(*rows, strict=True) if rows else [[] for _ in VIEW_COLUMNS]
    return pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)],
        schema=schema,
    )


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
    return DayFacts(facts.day, {**facts.numbers, "resent_share": resent}, facts.hours,
                    facts.alphabets, facts.scripts)  # fmt: skip


def judged_crafted(days: Mapping[date, Lines]) -> Iterator[tuple[str, list[Judged]]]:
    """Each crafted day as the last one of `days`."""
    *usual, last = days
    facts_of_all = facts_of(arrow_views(days), list(days))
    history = {day: with_resent(facts, 0) for day, facts in facts_of_all.items()}
    for name, craft in CRAFTED.items():
        lines = craft(days[last], days[usual[-1]])
        crafted = {**{day: days[day] for day in usual}, last: lines}
        facts = facts_of(arrow_views(crafted), [last])[last]
        yield name, stopped_by(with_resent(facts, len(lines)), history)


def calm_days(
    days: Mapping[date, Lines],
    grown: Mapping[date, Lines],
    rush: int = 45,
    holidays: Sequence[int] = (33, 50),
) -> dict[date, Lines]:
    """Days that grow by a tenth a month out of `grown`, a marketing day, and two quiet holidays."""
    found = {}
    for n, day in enumerate(days):
        draw = random.Random(n)
        more = [line for line in grown[day] if draw.random() < 0.1 * n / 30]
        lines = days[day] + [{**line, "user": f"g{line['user']}"} for line in more]
        if n == rush:
            lines += [{**line, "user": f"m{line['user']}"} for line in grown[day]]
        if n in holidays:
            lines = [line for line in lines if draw.random() < 0.5]
        found[day] = lines
    return found


def ingest(root: Path, first: date, last: date) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "userbert.cli", "browsing-logs", "--from-day", str(first),
         "--to-day", str(last)],
        env=os.environ | {"USERBERT_DATA": str(root)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = [line for line in done.stderr.splitlines() if line.startswith(("userbert", "warning"))]
    return done.returncode, lines[-1] if lines else done.stderr[-300:]


def write_day(root: Path, day: date, lines: Lines) -> None:
    folder = root / "landing" / str(day)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder.parent / "settings.toml").write_text(SETTINGS)
    (folder / "views.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def ingested_crafted(days: Mapping[date, Lines], root: Path) -> Iterator[tuple[str, int, str]]:
    """Each crafted day through the ingest of a lake that holds the days before it."""
    *usual, last = days
    for day in usual:
        write_day(root, day, days[day])
    code, line = ingest(root, usual[0], usual[-1])
    if code:
        raise SystemExit(f"the usual days were not ingested: {line}")
    for name, craft in CRAFTED.items():
        write_day(root, last, craft(days[last], days[usual[-1]]))
        yield name, *ingest(root, last, last)


def lake_views(root: Path) -> tuple[pa.Table, list[date]]:
    from deltalake import DeltaTable

    views = DeltaTable(f"{root}/lake/browsing_logs").to_pyarrow_table(columns=list(VIEW_COLUMNS))
    return views, sorted(set(views["landing_day"].to_pylist()))


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def show(name: str, broken: list[Judged]) -> bool:
    say(f"{'stopped' if broken else 'PASSED '}  {name}: {'; '.join(map(str, broken[:2]))}")
    return bool(broken)


def main(users: int, lake: Path | None, is_ingest: bool) -> int:
    num_wrong = 0
    with tempfile.TemporaryDirectory() as scratch:
        days = usual_days(Path(scratch) / "usual", users, 60)
        grown = usual_days(Path(scratch) / "grown", users + 17, 60)
        crafted = dict(list(days.items())[: NUM_USUAL + 1])
        if is_ingest:
            for name, code, line in ingested_crafted(crafted, Path(scratch) / "root"):
                say(f"exit {code}  {name}: {line}")
                num_wrong += code != 3
        for name, broken in judged_crafted(crafted):
            num_wrong += not show(name, broken)
        calm = {"generated": calm_days(days, grown)}
        of_calm = [(name, facts_of(arrow_views(each), list(each))) for name, each in calm.items()]
        if lake:
            of_calm.append((str(lake), facts_of(*lake_views(lake))))
        for name, facts in of_calm:
            alarms = [(day, broken) for day in facts if (broken := stopped_by(facts[day], facts))]
            say(f"{len(alarms)} false alarms on {len(facts)} usual days of {name}")
            for _, broken in alarms:
                show("a usual day", broken)
            num_wrong += len(alarms)
    return 1 if num_wrong else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--users", type=int, default=390, help="of the generated logs")
    parser.add_argument("--lake", type=Path, help="a data root whose days are usual")
    parser.add_argument("--ingest", action="store_true", help="send each day through the ingest")
    asked = parser.parse_args()
    sys.exit(main(asked.users, asked.lake, asked.ingest))
