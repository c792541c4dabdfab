"""An ingest in hostile surroundings, then one in quiet ones: are the tables those of a quiet run?

    python -m tests.faults.surroundings_trials [--first-seed 0] [--trials 16]

A trial ingests two landing days under one of `SURROUNDINGS`: by its seed modulo their number, so
that the first trials are one of each. A command that fails must say so in one line. Then both days
are ingested once more without the fault, and every row of both tables is compared.
"""

import os
import random
import resource
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from contracts.paths import Places
from contracts.tables import BROWSING_LOGS, REJECTED_LOGS
from tests.faults.bring_back_trials import SETTINGS
from tests.faults.processes import environment, finished, userbert_command
from tests.faults.trials import Ending, Trial, compared, main_of_trials

FIRST_DAY = date(2026, 1, 29)
DAYS = [FIRST_DAY + timedelta(days=n) for n in range(2)]
TABLES = (BROWSING_LOGS, REJECTED_LOGS)
NOBODY = 65_534  # the user id of `nobody`
TURKISH = {
    "LC_ALL": "tr_TR.UTF-8",
    "TZ": "Asia/Kathmandu",
    "JAVA_TOOL_OPTIONS": "-Duser.language=tr -Duser.country=TR -Duser.timezone=Asia/Kathmandu",
}
AHEAD_S = 3 * 86_400  # how far the clock was ahead when the files were written

Said = "subprocess.CompletedProcess[str]"
Surroundings = Callable[[Path, random.Random], "list[Any]"]


def write_landing(root: Path) -> None:
    import json

    landing = Places(root).landing
    for number, day in enumerate(DAYS):
        lines = [
            json.dumps({"user": f"u{n}", "time": f"{day}T10:00:{n % 60:02}Z", "title": title})
            for n in range(300)
            for title in ("\u0130stanbul \u0131\u015f\u0131k", f"TITLE {n}")
        ]
        lines += ["{half", lines[0]]
        folder = landing / str(day)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.jsonl").write_text("\n".join(lines) + "\n")
    (landing / "settings.toml").write_text(SETTINGS)


def ingest(*days: date) -> list[str]:
    first, last = str(days[0]), str(days[-1])
    return userbert_command("browsing-logs", "--from-day", first, "--to-day", last)


def turkish(root: Path, draw: random.Random) -> list[Any]:
    return [finished(ingest(*DAYS), root, TURKISH)]


def full_disk(root: Path, draw: random.Random) -> list[Any]:
    """No file may grow beyond some kilobytes, as on a disk that has no more room."""
    most = draw.choice([500, 2_000, 10_000, 40_000])

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    return [finished(ingest(*DAYS), root, preexec_fn=limit)]


def lost_worker(root: Path, draw: random.Random) -> list[Any]:
    """Kill one of Spark's Python processes at a random moment."""
    process = subprocess.Popen(
        ingest(*DAYS), env=environment(root), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, errors="replace", start_new_session=True,
    )  # fmt: skip
    left = draw.randrange(1, 4)  # workers that are killed
    while process.poll() is None and left:
        workers = [each for each in _children(process.pid) if _is_worker(each)]
        if workers:
            with suppress(psutil.NoSuchProcess):
                draw.choice(workers).kill()
            left -= 1
            time.sleep(draw.random())
        time.sleep(0.02)
    out, err = process.communicate(timeout=300)
    return [subprocess.CompletedProcess([], process.returncode, out, err)]


def _children(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def _is_worker(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return "pyspark.daemon" in " ".join(process.cmdline())
    return False


def clock_set_back(root: Path, draw: random.Random) -> list[Any]:
    """Ingest, and let every file be of a time to come."""
    said = [finished(ingest(DAYS[0]), root)]
    later = time.time() + AHEAD_S
    for path in root.rglob("*"):
        os.utime(path, (later, later))
    return [*said, finished(ingest(*DAYS), root)]


def two_at_once(root: Path, draw: random.Random) -> list[Any]:
    """Two commands of overlapping days."""
    commands = [ingest(*DAYS), ingest(DAYS[draw.randrange(2)])]
    processes = [
        subprocess.Popen(
            words, env=environment(root), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, errors="replace",
        )
        for words in commands
    ]  # fmt: skip
    said = [each.communicate(timeout=600) for each in processes]
    return [
        subprocess.CompletedProcess([], process.returncode, *texts)
        for process, texts in zip(processes, said, strict=True)
    ]


def leftovers(root: Path, draw: random.Random) -> list[Any]:
    """What killed processes leave: half a file, a commit's draft, a lock, a copy in progress."""
    said = [finished(ingest(DAYS[0]), root)]
    table = Path(Places(root).lake) / BROWSING_LOGS.name
    (table / "part-00000-half.snappy.parquet").write_bytes(b"PAR1half")
    (table / "_delta_log" / f".{1:020d}.json.half.tmp").write_bytes(b'{"commitInfo"')
    (Places(root).landing / str(DAYS[1]) / ".copying.jsonl").write_bytes(b"{half")
    (root / "backfill").mkdir(exist_ok=True)
    (root / "backfill" / f"{DAYS[0]}.lock").write_text("1")
    return [*said, finished(ingest(*DAYS), root)]


def read_only(root: Path, draw: random.Random) -> list[Any]:
    """A user who is not root, and may write nowhere in the lake."""
    said = [finished(ingest(DAYS[0]), root)]
    modes = {path: path.stat().st_mode for path in [root, *root.rglob("*")]}
    for path, mode in modes.items():
        path.chmod(mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) | 0o555)
    try:
        words = draw.choice([ingest(*DAYS), userbert_command("sql", "SELECT 1"),
                             userbert_command("summary")])  # fmt: skip
        home = {"HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"}
        said.append(finished(words, root, home, preexec_fn=become_nobody))
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
    return said


def become_nobody() -> None:
    if os.getuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def odd_path(root: Path, draw: random.Random) -> list[Any]:
    """The lake is moved to a path with blanks, umlauts, quotes and signs, and back."""
    odd = root.parent / "\u00d6l\u00e7\u00fcm dizini's #1 %20 [x]"
    shutil.move(root, odd)
    said = [finished(ingest(*DAYS), odd)]
    shutil.move(odd, root)
    return said


SURROUNDINGS: dict[str, Surroundings] = {
    "another time zone and a Turkish locale": turkish,
    "a full disk": full_disk,
    "a lost Spark Python worker": lost_worker,
    "the clock set back": clock_set_back,
    "two ingests at once": two_at_once,
    "leftovers of killed processes": leftovers,
    "a read-only lake and another user": read_only,
    "a path with blanks and umlauts": odd_path,
}


def is_one_line(said: "subprocess.CompletedProcess[str]") -> bool:
    """No traceback, of Python or of Java; and where it failed, the last line says why."""
    is_traceback = "Traceback (most" in said.stderr or "\tat org.apache" in said.stderr
    last = (said.stderr.strip().splitlines() or [""])[-1]
    return not is_traceback and (said.returncode == 0 or last.startswith("userbert"))


def run_trial(quiet: Path, surroundings: Surroundings, seed: int, root: Path) -> Ending:
    write_landing(root)
    said = surroundings(root, random.Random(seed))
    again = finished(ingest(*DAYS), root)
    if again.returncode:
        return Ending("wrong", detail=f"the retry failed: {again.stderr.strip()[-200:]}")
    last = [(each.stderr.strip().splitlines() or [""])[-1] for each in said if each.returncode]
    ending = compared(root, quiet, TABLES, 1, "; ".join(last)[:200])
    if ending.how == "clean" and not all(map(is_one_line, said)):
        pages = next(each.stderr for each in said if not is_one_line(each))
        return Ending("wrong", detail=f"a traceback: {' '.join(pages.split())[-300:]}")
    return ending


def surroundings_trials(seeds: range, scratch: Path) -> Iterator[Trial]:
    write_landing(scratch)
    ended = finished(ingest(*DAYS), scratch)
    assert ended.returncode == 0, ended.stderr
    kinds = list(SURROUNDINGS.items())
    for seed in seeds:
        kind, surroundings = kinds[seed % len(kinds)]
        yield Trial(kind, seed, partial(run_trial, scratch, surroundings, seed))


if __name__ == "__main__":
    sys.exit(main_of_trials("surroundings", __doc__, surroundings_trials, 16))
