"""Landing days of whole lines that are wrong as days, made out of usual ones."""

import codecs
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

Line = dict[str, str]
Lines = list[Line]
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
    """With the commonest date of `lines`: some came late, and a broken one may be of the future."""
    (day, _), *_ = Counter(one["time"][:10] for one in lines).most_common(1)
    return {**line, "time": day + line["time"][10:]}


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


@dataclass(frozen=True)
class Around:
    """A usual day's lines, and those of the days around it."""

    lines: Lines
    yesterday: Lines
    last_week: Lines
    tomorrow: Lines


def changed(change: Callable[[Line], Line], every: int = 1) -> Callable[[Around], Lines]:
    """Every line, or every second or third one, is changed."""
    return lambda a: [
        {**line, **({} if n % every else change(line))} for n, line in enumerate(a.lines)
    ]


def number_of(text: str, below: int) -> int:
    return random.Random(text).randrange(below)


def hour_of(line: Line) -> int:
    return int(line["time"][11:13])


def commonest(lines: Lines, column: str) -> str:
    names = Counter(line[column] for line in lines)
    return max(sorted(names), key=lambda name: names[name])


def without_host(a: Around) -> Lines:
    gone = commonest(a.yesterday, "host")
    return [line for line in a.lines if line["host"] != gone]


def without_busiest_hours(a: Around, num_hours: int) -> Lines:
    hours = Counter(map(hour_of, a.yesterday))
    first = max(range(25 - num_hours), key=lambda h: sum(hours[h + n] for n in range(num_hours)))
    return [line for line in a.lines if not first <= hour_of(line) < first + num_hours]


def copied_user(a: Around) -> Lines:
    """The busiest user's views under the ids of as many others as double the day."""
    busiest = commonest(a.lines, "user")
    theirs = [line for line in a.lines if line["user"] == busiest]
    others = sorted({line["user"] for line in a.lines} - {busiest})
    num = max(1, len(a.lines) // len(theirs))
    return a.lines + [{**line, "user": user} for user in others[:num] for line in theirs]


def even_bots(a: Around) -> Lines:
    """Six bots with views half a minute apart: as many as two thirds of the day."""
    more = []
    for bot in range(6):
        start = datetime.fromisoformat(a.lines[-1]["time"][:10] + "T00:00:00+00:00")
        start += timedelta(hours=7 + bot, seconds=13.579)
        for n in range(len(a.lines) // 9):
            line = a.lines[number_of(f"{bot} {n}", len(a.lines))]
            time = (start + timedelta(seconds=30 * n)).isoformat(timespec="milliseconds")
            more.append({**line, "user": f"{a.lines[0]['user'][:-3]}9{bot:02}", "time": time})
    return a.lines + more


def exchanged_ids(a: Around) -> Lines:
    users = sorted({line["user"] for line in a.lines})
    others = random.Random(len(users)).sample(users, len(users))
    other = dict(zip(users, others, strict=True))
    return [{**line, "user": other[line["user"]]} for line in a.lines]


def again(a: Around, times: int, **by: float) -> Lines:
    """Each line that stays within its day several times, by which it is moved."""
    later = [
        {**line, **moved(line, **{unit: n * amount for unit, amount in by.items()})}
        for line in a.lines
        for n in range(1, times)
    ]
    days = {line["time"][:10] for line in a.lines}
    return a.lines + [line for line in later if line["time"][:10] in days]


def to_minutes(line: Line, step: int = 1) -> Line:
    minute = int(line["time"][14:16]) // step * step
    return {"time": f"{line['time'][:14]}{minute:02}:00.000Z"}


def in_latin(text: str) -> str:
    return text.encode().decode("cp1252", errors="replace")


def rotated(text: str) -> str:
    """Another language in the same alphabet: each word becomes a word that nobody knows."""
    return codecs.encode(text, "rot13")


def on_date(lines: Lines, a: Around) -> Lines:
    return [on_day_of(line, a.lines) for line in lines]


# Kinds that no bound was chosen on before they were tried.
SIBLINGS: Mapping[str, Callable[[Around], Lines]] = {
    "a tenth of the users": lambda a: [x for x in a.lines if not number_of(x["user"], 10)],
    "the commonest host is gone": without_host,
    "the busiest hour is gone": lambda a: without_busiest_hours(a, 1),
    "the six busiest hours are gone": lambda a: without_busiest_hours(a, 6),
    "one user's views copied to many": copied_user,
    "the views of a week ago under today's date": lambda a: on_date(a.last_week, a),
    "yesterday's lines a minute later under today's date": lambda a: on_date(
        [{**line, **moved(line, minutes=1)} for line in a.yesterday], a
    ),
    "a third of the titles in a wrong encoding": changed(
        lambda x: {"title": in_latin(x["title"].replace("e", "é"))}, every=3
    ),
    "a fifth of the titles with question marks for letters": changed(
        lambda x: {"title": x["title"].replace("a", "?")}, every=5
    ),
    "titles cut to 12 characters": changed(lambda x: {"title": x["title"][:12]}),
    "titles cut to their first word": changed(lambda x: {"title": x["title"].split()[0]}),
    "titles in another language": changed(lambda x: {"title": rotated(x["title"])}),
    "half of the titles in another language": changed(
        lambda x: {"title": rotated(x["title"])}, every=2
    ),
    "a third of the titles n/a": changed(lambda x: {"title": "n/a"}, every=3),
    "addresses for titles": changed(
        lambda x: {"title": f"/{x['title'].lower().replace(' ', '-')}"}
    ),
    "ids cut by two characters": changed(lambda x: {"user": x["user"][:-2] or "1"}),
    "ids cut to 8 characters": changed(lambda x: {"user": x["user"][:8]}),
    "ids exchanged among the users": exchanged_ids,
    "hosts for ids": changed(lambda x: {"user": x["host"] or "none"}),
    "a tenth of the views by testers": changed(lambda x: {"user": "test-1"}, every=10),
    "each line twice, an hour apart": lambda a: again(a, 2, hours=1),
    "each line three times, half a minute apart": lambda a: again(a, 3, seconds=30),
    "two days in one, today's and tomorrow's": lambda a: a.lines + a.tomorrow,
    "two days in one, under one date": lambda a: a.lines + on_date(a.tomorrow, a),
    "bots with even gaps": even_bots,
    "times rounded to minutes": changed(to_minutes),
    "times rounded to five minutes": changed(lambda x: to_minutes(x, step=5)),
    "afternoons at the hours of the morning": changed(
        lambda x: {"time": f"{x['time'][:11]}{hour_of(x) % 12:02}{x['time'][13:]}"}
    ),
    "all times within one hour": changed(
        lambda x: {"time": f"{x['time'][:11]}09{x['time'][13:]}"}
    ),
    "times a year late": changed(lambda x: moved(x, days=365)),
    "times a day early": changed(lambda x: moved(x, days=-1)),
    "times ten hours late": changed(lambda x: moved(x, hours=10)),
    "times three hours early": changed(lambda x: moved(x, hours=-3)),
}  # fmt: skip
