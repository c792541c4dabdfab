"""A MIND data set (Microsoft News Dataset) as landing files.

userbert logs mind MINDsmall_train MINDsmall_dev

Each folder holds news.tsv and behaviors.tsv. A clicked impression becomes a view at its
impression's time, which is taken as UTC (MIND names no zone). A user's history has an order and no
times: it is placed before the user's first impression, `--spacing` hours apart (default 6), the
newest one spacing before it, so that its order is kept and no history view shares a session with
another (any spacing over the session gap of contracts/limits.py does that). These times are ours,
not MIND's; `--no-history` leaves the histories out. A user's history is read once, from the first
impression; ids that only later impressions name are counted as `history changed`. Of MIND's test
set, whose impressions say not what was clicked, the histories become views.

Nothing is lost on the way: a click on unknown news lands without a title, and a line of
behaviors.tsv that cannot be read lands whole, under the name `broken`, in the folder of the day
that was read last, so that the ingest refuses both and keeps them with the reason.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import IO, Annotated

import typer
from rich.progress import Progress

from contracts.errors import BadInput
from contracts.paths import Places
from contracts.storage.atomic_write import atomic_file
from contracts.terminal.options import LandingRoot
from contracts.terminal.progress_bar import progress_bar
from landing.landing_writer import day_folder, write_settings
from landing.summary import print_summary

_LANDING_COLUMNS = {"user_id": "user", "event_time": "time", "title": "title", "host": "category"}
_TIME_FORMAT = "%m/%d/%Y %I:%M:%S %p"  # 11/15/2019 10:22:32 AM


@dataclass(frozen=True)
class Impression:
    """A line of behaviors.tsv: what a user had clicked before, and what was clicked now."""

    user: str
    time: datetime
    history: tuple[str, ...]  # news ids, oldest first
    clicked: tuple[str, ...]
    not_clicked: int
    unlabelled: int = 0  # shown, and nobody says whether it was clicked


@dataclass(frozen=True)
class News:
    """A line of news.tsv."""

    title: str
    category: str


@dataclass
class _LandingFiles:
    """Files of many days that are written at the same time and appear together, or not at all.

    `name` is the file's name in each day's folder. One file a day is held open: MIND spans weeks,
    and its longest histories at six hours' spacing some months.
    """

    root: Path
    name: str
    open: dict[date, IO[str]] = field(default_factory=dict)
    unfinished: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> "_LandingFiles":
        return self

    def write(self, day: date, line: Mapping[str, object]) -> None:
        self._of(day).write(json.dumps(line, ensure_ascii=False) + "\n")

    def _of(self, day: date) -> IO[str]:
        if day not in self.open:
            path = day_folder(self.root, day) / self.name
            unfinished = self.unfinished.enter_context(atomic_file(path))
            self.open[day] = unfinished.open("w", encoding="utf-8")
        return self.open[day]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for file in self.open.values():
            file.close()
        self.unfinished.__exit__(kind, error, at)


def parse_impression(line: str, is_labelled: bool = True) -> Impression:
    """A line of behaviors.tsv; `ValueError` says what is wrong with it."""
    parts = line.split("\t")
    if len(parts) != 5:
        raise ValueError(f"{len(parts)} fields, not 5")
    _, user, time, history, shown = parts
    if not is_labelled:
        return Impression(user, _time(time), tuple(history.split()), (), 0, len(shown.split()))
    marks = [entry.rsplit("-", 1) for entry in shown.split()]
    if unknown := [entry for entry in marks if len(entry) != 2 or entry[1] not in ("0", "1")]:
        raise ValueError(f"impression {'-'.join(unknown[0])!r} ends in neither -0 nor -1")
    clicked = tuple(news for news, mark in marks if mark == "1")
    not_clicked = len(marks) - len(clicked)
    return Impression(user, _time(time), tuple(history.split()), clicked, not_clicked)


def _time(text: str) -> datetime:
    return datetime.strptime(text, _TIME_FORMAT).replace(tzinfo=UTC)


def has_labels(path: Path) -> bool:
    """Whether a behaviors.tsv says what was clicked; that of MIND's test set does not."""
    shown = (line.split("\t")[-1].split() for _, line in read_lines(path))
    return any(entry.endswith(("-0", "-1")) for entries in shown for entry in entries)


def read_news(path: Path) -> tuple[dict[str, News], int]:
    """News by id, and how many lines could not be read (clicks on those land without a title)."""
    news, broken = {}, 0
    for _, line in read_lines(path):
        parts = line.split("\t")
        if len(parts) < 4 or not parts[0]:
            broken += 1
        else:
            news[parts[0]] = News(title=parts[3], category=parts[1])
    return news, broken


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file from 1, without their ends; bytes that are not UTF-8 are escaped."""
    try:
        with path.open(encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                yield number, line.rstrip("\r\n")
    except FileNotFoundError:
        raise BadInput(
            f"{path} is missing: a MIND folder holds news.tsv and behaviors.tsv, as unpacked "
            "from the data set's archive"
        ) from None


def _first_impressions(folders: list[Path]) -> dict[str, Impression]:
    """Each user's earliest impression over all folders; of equal times, the first that is read."""
    first: dict[str, Impression] = {}
    for folder in folders:
        is_labelled = has_labels(folder / "behaviors.tsv")
        for _, line in read_lines(folder / "behaviors.tsv"):
            try:
                impression = parse_impression(line, is_labelled)
            except ValueError:
                continue  # `land` counts and keeps it
            known = first.get(impression.user)
            if known is None or impression.time < known.time:
                first[impression.user] = impression
    return first


def _history_views(impression: Impression, spacing: timedelta) -> Iterator[tuple[datetime, str]]:
    """The history before an impression, oldest first, the newest one `spacing` before it."""
    num = len(impression.history)
    for place, news in enumerate(impression.history):
        yield impression.time - (num - place) * spacing, news


@dataclass(frozen=True)
class _Conversion:
    """One run: what is known of the news, where lines go, and what was counted."""

    news: dict[str, News]
    first: dict[str, Impression]
    files: _LandingFiles
    counts: Counter[str]

    def land(self, what: str, user: str, time: datetime, clicked: str) -> None:
        """Write a view, and count it as `what`."""
        self.counts[what] += 1
        self.counts["views of unknown news"] += clicked not in self.news
        about = self.news.get(clicked)
        line = {
            "user": user,
            "time": f"{time:%Y-%m-%dT%H:%M:%SZ}",
            "title": about.title if about else None,
            "category": about.category if about else None,
            "news": clicked,
        }
        self.files.write(time.date(), line)

    def land_histories(self, spacing: timedelta, bar: Progress) -> None:
        for user, impression in bar.track(self.first.items(), description="histories"):
            for time, clicked in _history_views(impression, spacing):
                self.land("history views", user, time, clicked)

    def land_impressions(self, path: Path) -> None:
        """Every line of a behaviors.tsv: its clicks, or the line itself when it is broken."""
        day = min(impression.time for impression in self.first.values()).date()
        changed: set[tuple[str, str]] = set()
        is_labelled = has_labels(path)
        for number, line in read_lines(path):
            try:
                impression = parse_impression(line, is_labelled)
            except ValueError as error:
                broken = {"broken": line, "why": str(error), "file": path.name, "line": number}
                self.files.write(day, broken)
                self.counts["broken behavior lines"] += 1
                continue
            day = impression.time.date()
            unheard = set(impression.history).difference(self.first[impression.user].history)
            changed.update((impression.user, news) for news in unheard)
            self.counts["impressions"] += 1
            self.counts["shown and not clicked"] += impression.not_clicked
            if not is_labelled:
                self.counts["shown without a label"] += impression.unlabelled
            for clicked in impression.clicked:
                self.land("clicks", impression.user, impression.time, clicked)
        self.counts["history changed"] += len(changed)


def convert_folders(
    folders: list[Path], landing: Path, spacing: timedelta | None
) -> tuple[list[date], Counter[str]]:
    """Write landing files of all folders, for each day that has a line.

    Returns these days, in order, and counts of what was read and written. `spacing` None leaves the
    histories out. The same input gives the same bytes.
    """
    counts: Counter[str] = Counter()
    news: dict[str, News] = {}
    for folder in folders:
        news_of_folder, broken = read_news(folder / "news.tsv")
        news |= news_of_folder
        counts["broken news lines"] += broken
    first = _first_impressions(folders)
    if not first:
        raise BadInput(f"no line of {folders[0] / 'behaviors.tsv'} is as MIND describes it")
    write_settings(
        landing, about="MIND; its times taken as UTC", format="jsonl", columns=_LANDING_COLUMNS
    )
    with _LandingFiles(landing, "mind.jsonl") as files, progress_bar() as bar:
        conversion = _Conversion(news, first, files, counts)
        if spacing is not None:
            conversion.land_histories(spacing, bar)
        for folder in bar.track(folders, description="impressions"):
            conversion.land_impressions(folder / "behaviors.tsv")
    return sorted(files.open), counts


def main(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER", help="Folders with news.tsv and behaviors.tsv."),
    ],
    spacing: Annotated[
        float,
        typer.Option(
            "--spacing", metavar="HOURS", help="Hours between two views of a user's history."
        ),
    ] = 6.0,
    no_history: Annotated[
        bool, typer.Option("--no-history", help="Leave the users' histories out.")
    ] = False,
    out: LandingRoot = None,
) -> None:
    if spacing <= 0:
        raise BadInput(f"--spacing is {spacing}: say how many hours lie between two views")
    from landing.mind_impressions import write_mind_impressions

    root = out or Places.from_environment().root
    hours = None if no_history else timedelta(hours=spacing)
    days, counts = convert_folders(folders, root / "landing", hours)
    counts |= write_mind_impressions(folders, root / "impressions/mind.parquet", not no_history)
    facts: dict[str, object] = {"landing files": root / "landing", **counts}
    print_summary("MIND as landing files", facts, root, days[0], days[-1], "--allow-missing-days")
