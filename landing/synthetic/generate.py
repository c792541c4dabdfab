"""Browsing logs of any size, with the interests behind them.

userbert logs generate --users 2000 --days 30 --seed 7

writes landing files, a folder a day, and the planted truth next to the landing folder. The same
users and seed give the same bytes, and a day's bytes do not depend on how many days follow it.
"""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

from contracts.errors import BadInput
from contracts.paths import Places
from contracts.storage.atomic_write import atomic_file, write_json
from contracts.terminal.options import day_option
from contracts.terminal.progress_bar import progress_bar
from landing.landing_writer import day_folder, write_settings
from landing.summary import print_summary
from landing.synthetic import planted
from landing.synthetic.browsing import SESSIONS_A_DAY, SHARE_OF_DRIFTING, Users, World, day_number
from landing.synthetic.impressions import write_impressions
from landing.synthetic.lines import (
    BROKEN_KINDS,
    LANDING_COLUMNS,
    Lines,
    compose_lines,
    write_json_lines,
    write_parquet,
)
from landing.synthetic.titles import Catalogue, Ints

_FILE_FORMATS = ("jsonl", "parquet")
_FILE_WRITERS: dict[str, Callable[[Lines, Catalogue, Path], None]] = {
    "jsonl": write_json_lines,
    "parquet": write_parquet,
}
# Parquet has no bad JSON, and a time that cannot be read is a null there.
_BROKEN_KINDS_OF_FORMAT = {"jsonl": BROKEN_KINDS, "parquet": BROKEN_KINDS[1:]}
_MERGE_AT = 4_000_000  # title codes that are held before doubles among them are dropped
_MOST_SESSIONS_A_DAY = 50  # 225 views a day of the mean user
_FEWEST_USERS_WITH_BOTS = 1_000  # among fewer, a bot would outweigh them all


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is generated. Shares are of views."""

    users: int
    days: int
    seed: int
    from_day: date = date(2017, 1, 1)  # the first landing day, UTC
    format: str = "jsonl"
    late: float = 0.01  # sessions that land a day after they happened
    doubled: float = 0.003  # lines that stand twice in their file
    broken: float = 0.001  # lines that must be refused, in addition to the views
    bots: int | None = (
        None  # without a number: 1, and 1 for each 2,500 users, at most 10; none below 1,000 users
    )

    drifting_share: float = SHARE_OF_DRIFTING  # interested views on the interest of these weeks
    sessions_a_day: float = SESSIONS_A_DAY  # of the mean user

    def __post_init__(self) -> None:
        shares = {name: getattr(self, name) for name in ("late", "doubled", "broken")}
        wrong = [f"{name} is {n}" for name, n in shares.items() if not 0 <= n <= 0.5]
        wrong += [f"{n} is {getattr(self, n)}" for n in ("users", "days") if getattr(self, n) < 1]
        wrong += [
            f"{n} is {getattr(self, n)}" for n in ("seed", "num_bots") if getattr(self, n) < 0
        ]
        if not 0 <= self.drifting_share <= 1:
            wrong.append(f"drifting_share is {self.drifting_share}, and it must be from 0 to 1")
        if not 0 < self.sessions_a_day <= _MOST_SESSIONS_A_DAY:
            wrong.append(
                f"sessions_a_day is {self.sessions_a_day}, and it must be above 0 and at most "
                f"{_MOST_SESSIONS_A_DAY}"
            )
        if self.format not in _FILE_FORMATS:
            wrong.append(f"format is {self.format}")
        if wrong:
            raise BadInput(
                f"{', '.join(wrong)}: users and days start at 1, seed and bots at 0, "
                f"shares lie between 0 and 0.5, and format is one of {', '.join(_FILE_FORMATS)}"
            )

    @property
    def num_bots(self) -> int:
        if self.bots is not None:
            return self.bots
        return 0 if self.users < _FEWEST_USERS_WITH_BOTS else min(10, 1 + self.users // 2_500)

    @property
    def world(self) -> World:
        return World(
            self.seed,
            self.users,
            self.num_bots,
            self.late,
            self.drifting_share,
            self.sessions_a_day,
        )

    @property
    def recorded(self) -> dict[str, object]:
        """What stands beside the truth. A shape of users stands there where it is not the usual."""
        values = asdict(self) | {"from_day": self.from_day.isoformat(), "bots": self.num_bots}
        usual = {"drifting_share": SHARE_OF_DRIFTING, "sessions_a_day": SESSIONS_A_DAY}
        return {name: value for name, value in values.items() if usual.get(name) != value}

    @property
    def every_day(self) -> list[date]:
        return [self.from_day + timedelta(days=n) for n in range(self.days)]


@dataclass(frozen=True)
class _Generator:
    """Writes what `settings` ask for below `root`. Its users' habits take 40 bytes a user."""

    settings: Settings
    root: Path

    @cached_property
    def blocks(self) -> list[Users]:
        world = self.settings.world
        return [world.users(block) for block in range(world.num_blocks)]

    def write_day(self, place: tuple[date, int]) -> tuple[date, dict[str, int], Ints]:
        """Write a block's file of a day; returns the day, its counts and its distinct titles."""
        (day, block), settings = place, self.settings
        lines = compose_lines(
            settings.world,
            self.blocks[block],
            block=block,
            day=day_number(day),
            first_day=day_number(settings.from_day),
            doubled=settings.doubled,
            broken=settings.broken,
            kinds=_BROKEN_KINDS_OF_FORMAT[settings.format],
        )
        name = f"views-{block:04}.{settings.format}"
        with atomic_file(day_folder(self.root / "landing", day) / name) as hidden:
            _FILE_WRITERS[settings.format](lines, Catalogue(settings.seed), hidden)
        return day, lines.counts, np.unique(lines.views.title)

    def write_days(self, workers: int) -> Iterator[tuple[date, dict[str, int], Ints]]:
        """Every day and block, in order, `workers` at a time; which do not change the bytes."""
        blocks = range(self.settings.world.num_blocks)
        places = [(day, block) for day in self.settings.every_day for block in blocks]
        pool = ThreadPoolExecutor(workers)
        try:
            yield from pool.map(self.write_day, places)
        finally:
            pool.shutdown(cancel_futures=True)


def generate_logs(settings: Settings, root: Path, workers: int = 2) -> dict[str, object]:
    """Write landing files and the planted truth below `root`; returns planted/summary.json.

    A folder with generated logs of other settings, or with other logs, raises `BadInput`.
    """
    planted.reserve_folder(root / "planted", settings.recorded)
    write_settings(
        root / "landing",
        about="generated browsing logs",
        format=settings.format,
        columns=LANDING_COLUMNS,
    )
    generator = _Generator(settings, root)
    days = [day_number(day) for day in settings.every_day]
    num_interests = planted.write_interests(
        root / "planted/interests.parquet",
        settings.world,
        iter(generator.blocks),
        days[0],
        days[-1],
    )
    by_day, codes = _write_all(generator, workers)
    num_titles = planted.write_titles(
        root / "planted/titles.parquet", codes, Catalogue(settings.seed)
    )
    summary = planted.summarize_days(
        settings.recorded, settings.world, by_day, titles=num_titles, interests=num_interests
    )
    write_json(root / "planted/summary.json", summary)
    return summary


def _write_all(
    generator: _Generator, workers: int
) -> tuple[dict[date, list[dict[str, int]]], Ints]:
    """Write every day; returns the counts of each and all distinct titles, in order."""
    by_day: dict[date, list[dict[str, int]]] = {}
    seen: list[Ints] = []
    num_files = generator.settings.days * generator.settings.world.num_blocks
    with progress_bar() as bar:
        task = bar.add_task("landing files", total=num_files)
        for day, counts, codes in generator.write_days(workers):
            by_day.setdefault(day, []).append(counts)
            seen.append(codes)
            if sum(map(len, seen[1:])) > _MERGE_AT:
                seen = [np.unique(np.concatenate(seen))]
            bar.advance(task)
    return by_day, np.unique(np.concatenate(seen))


def main(
    users: Annotated[int, typer.Option("--users", help="The number of users, without the bots.")],
    days: Annotated[int, typer.Option("--days", help="The number of landing days.")],
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same bytes.")],
    from_day: Annotated[
        date, day_option("--from", help="The first landing day, UTC.")
    ] = Settings.from_day,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="The folder to write landing/ and planted/ below. [default: the data root]",
        ),
    ] = None,
    format: Annotated[
        Literal["jsonl", "parquet"], typer.Option("--format", help="The format of the files.")
    ] = "jsonl",
    late: Annotated[
        float, typer.Option("--late", help="The share of the sessions that land a day late.")
    ] = Settings.late,
    doubled: Annotated[
        float,
        typer.Option("--doubled", help="Lines that are repeated, as a share of the views."),
    ] = Settings.doubled,
    broken: Annotated[
        float,
        typer.Option("--broken", help="Lines that must be refused, as a share of the views."),
    ] = Settings.broken,
    bots: Annotated[
        int | None,
        typer.Option(
            "--bots",
            help="The number of bots. [default: 1, and 1 for each 2,500 users, at most 10]",
        ),
    ] = None,
    drifting: Annotated[
        float,
        typer.Option(
            "--drifting",
            help="Of the views that follow an interest, the share of the one that changes every "
            "30 to 75 days.",
        ),
    ] = Settings.drifting_share,
    sessions_a_day: Annotated[
        float, typer.Option("--sessions-a-day", help="Sessions of the mean user, 4.5 views each.")
    ] = Settings.sessions_a_day,
    impressions: Annotated[
        float,
        typer.Option(
            "--impressions",
            help="Impressions with clicks for each session, on average, into impressions/ below "
            "the folder. 0: none.",
        ),
    ] = 0.0,
    workers: Annotated[
        int, typer.Option("--workers", help="How many files are written at the same time.")
    ] = 2,
) -> None:
    root = out or Places.from_environment().root
    settings = Settings(
        users=users,
        days=days,
        seed=seed,
        from_day=from_day,
        format=format,
        late=late,
        doubled=doubled,
        broken=broken,
        bots=bots,
        drifting_share=drifting,
        sessions_a_day=sessions_a_day,
    )
    if not 0 <= impressions < math.inf:
        raise BadInput(f"--impressions is {impressions}; it must be a finite number, 0 or more")
    summary = generate_logs(settings, root, workers)
    if impressions:
        num = write_impressions(settings.world, settings.every_day, impressions, root)
        summary = {**summary, "impressions": num}
    facts: dict[str, object] = {"landing files": root / "landing", "truth": root / "planted"}
    counts = {name.replace("_", " "): n for name, n in summary.items() if isinstance(n, int)}
    every_day = settings.every_day
    print_summary("Generated browsing logs", facts | counts, root, every_day[0], every_day[-1])
