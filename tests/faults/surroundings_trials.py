"""An ingest in hostile surroundings, then one in quiet ones: are the tables those of a quiet run?

    python -m tests.faults.surroundings_trials [--first-seed 0] [--trials 24]

A trial ingests two landing days under one of `SURROUNDINGS`: by its seed modulo their number, so
that the first trials are one of each. A command that fails must say so in one line. Then both days
are ingested once more without the fault, and every row of both tables is compared. What needs no
process of its own runs in this one.
"""

import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from contracts.paths import Places
from contracts.tables import BROWSING_LOGS, REJECTED_LOGS
from spark_jobs.spark.session import session
from tests.faults.bring_back_trials import SETTINGS
from tests.faults.processes import environment, finished, run_here, userbert_command
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
MIB = 1 << 20

Said = "subprocess.CompletedProcess[str]"
Surroundings = Callable[[Path, random.Random], "list[Any]"]


def write_landing(root: Path) -> None:
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
    return [limited(root, resource.RLIMIT_FSIZE, most)]


def limited(root: Path, limit: int, most: int, more: dict[str, str] | None = None) -> Any:
    def set_limit() -> None:
        resource.setrlimit(limit, (most, most))

    return finished(ingest(*DAYS), root, more, preexec_fn=set_limit)


def little_memory(root: Path, draw: random.Random) -> list[Any]:
    """The process and the JVM may each reserve little; by turns so little that Python does not
    import everything, that the JVM does not start, and that it starts and threads do not."""
    most = draw.choice([400, 900, 2_000, 4_000])
    return [limited(root, resource.RLIMIT_AS, most * MIB)]


def small_heap(root: Path, draw: random.Random) -> list[Any]:
    """Less than Spark takes for itself, or just so much."""
    heap = draw.choice(["100m", "300m", "480m"])
    more = {"PYSPARK_SUBMIT_ARGS": f"--master local[2] --driver-memory {heap} pyspark-shell"}
    return [finished(ingest(*DAYS), root, more)]


def lost_worker(root: Path, draw: random.Random) -> list[Any]:
    """Kill Spark's Python processes at random moments."""
    return [killing(root, is_worker, draw.randrange(1, 4), draw)]


def lost_jvm(root: Path, draw: random.Random) -> list[Any]:
    """The JVM is killed at a random moment, as by a kernel that has no more memory."""
    return [killing(root, is_jvm, 1, draw, draw.uniform(0, 12))]


def killing(
    root: Path,
    is_meant: Callable[[psutil.Process], bool],
    left: int,
    draw: random.Random,
    wait: float = 0,
) -> Any:
    """An ingest of which `left` child processes are killed, `wait` seconds after they are seen."""
    process = subprocess.Popen(
        ingest(*DAYS), env=environment(root), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, errors="replace", start_new_session=True,
    )  # fmt: skip
    while process.poll() is None and left:
        meant = [each for each in _children(process.pid) if _holds(is_meant, each)]
        if meant:
            time.sleep(wait)
            with suppress(psutil.NoSuchProcess):
                draw.choice(meant).kill()
            left -= 1
            time.sleep(draw.random())
        time.sleep(0.02)
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess([], process.returncode, out, err)


def _children(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def _holds(is_meant: Callable[[psutil.Process], bool], process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return is_meant(process)
    return False


def is_worker(process: psutil.Process) -> bool:
    return "pyspark.daemon" in " ".join(process.cmdline())


def is_jvm(process: psutil.Process) -> bool:
    return "org.apache.spark.deploy.SparkSubmit" in process.cmdline()


def clock_set_back(root: Path, draw: random.Random) -> list[Any]:
    """The first day was ingested when the clock was ahead: its files are of a time to come."""
    later = time.time() + AHEAD_S
    for path in root.rglob("*"):
        os.utime(path, (later, later))
    return [run_here(ingest(*DAYS), root)]


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
    """What killed processes leave: half a file, a commit's draft, locks, a copy in progress."""
    table = Path(Places(root).lake) / BROWSING_LOGS.name
    (table / "part-00000-half.snappy.parquet").write_bytes(b"PAR1half")
    (table / "_delta_log" / f".{1:020d}.json.half.tmp").write_bytes(b'{"commitInfo"')
    (Places(root).landing / str(DAYS[1]) / ".copying.jsonl").write_bytes(b"{half")
    for lock in (root / "backfill" / f"{DAYS[0]}.lock", root / "gates" / ".lock"):
        lock.parent.mkdir(exist_ok=True)
        lock.write_text("1")
    return [run_here(ingest(*DAYS), root)]


def read_only(root: Path, draw: random.Random) -> list[Any]:
    """A user who is not root, and may write nowhere in the lake."""
    with nobody_may_write(root):
        words = draw.choice([ingest(*DAYS), userbert_command("sql", "SELECT 1"),
                             userbert_command("summary")])  # fmt: skip
        return [as_nobody(words, root)]


@contextmanager
def nobody_may_write(root: Path) -> Iterator[None]:
    """In here everybody may read all of a folder, and nobody may write to it."""
    modes = {path: path.stat().st_mode for path in [root, *root.rglob("*")]}
    for path in modes:
        path.chmod(0o555)
    try:
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


def another_user(root: Path, draw: random.Random) -> list[Any]:
    """The data root belongs to somebody who is not root, has no home, and does all of it."""
    os.chown(root, NOBODY, NOBODY)
    for path in root.rglob("*"):
        os.chown(path, NOBODY, NOBODY)
    return [as_nobody(ingest(*DAYS), root)]


def as_nobody(words: list[str], root: Path) -> Any:
    home = {"HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": "/tmp"}
    root.parent.chmod(0o755)  # a temporary folder is its owner's alone
    return finished(words, root, home, preexec_fn=become_nobody)


def become_nobody() -> None:
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def odd_path(root: Path, draw: random.Random) -> list[Any]:
    """The lake is moved to a path with blanks, umlauts, quotes and signs, and back."""
    odd = root.parent / "\u00d6l\u00e7\u00fcm dizini's #1 %20 [x]"
    shutil.move(root, odd)
    said = [finished(ingest(*DAYS), odd)]
    shutil.move(odd, root)
    return said


# Each with the days that are ingested before.
SURROUNDINGS: dict[str, tuple[Surroundings, int]] = {
    "another time zone and a Turkish locale": (turkish, 0),
    "a full disk": (full_disk, 0),
    "little memory for each process": (little_memory, 0),
    "a small heap for Spark": (small_heap, 0),
    "a lost Spark Python worker": (lost_worker, 0),
    "a lost JVM": (lost_jvm, 0),
    "the clock set back": (clock_set_back, 1),
    "two ingests at once": (two_at_once, 0),
    "leftovers of killed processes": (leftovers, 1),
    "a read-only lake and another user": (read_only, 1),
    "another user than root, without a home": (another_user, 1),
    "a path with blanks and umlauts": (odd_path, 1),
}


def is_one_line(said: "subprocess.CompletedProcess[str]") -> bool:
    """No traceback, of Python or of Java; and where it failed, the last line says why."""
    is_traceback = "Traceback (most" in said.stderr or "\tat org.apache" in said.stderr
    last = (said.stderr.strip().splitlines() or [""])[-1]
    return not is_traceback and (said.returncode == 0 or last.startswith("userbert"))


def run_trial(lakes: dict[int, Path], kind: str, seed: int, root: Path) -> Ending:
    surroundings, num_days = SURROUNDINGS[kind]
    shutil.copytree(lakes[num_days], root)
    said = surroundings(root, random.Random(seed))
    again = run_here(ingest(*DAYS), root)
    if again.returncode:
        return Ending("wrong", detail=f"the retry failed: {again.stderr.strip()[-200:]}")
    last = [(each.stderr.strip().splitlines() or [""])[-1] for each in said if each.returncode]
    ending = compared(root, lakes[len(DAYS)], TABLES, 1, "; ".join(last)[:200])
    if ending.how == "clean" and not all(map(is_one_line, said)):
        pages = next(each.stderr for each in said if not is_one_line(each))
        return Ending("wrong", detail=f"a traceback: {' '.join(pages.split())[-300:]}")
    return ending


def surroundings_trials(seeds: range, scratch: Path) -> Iterator[Trial]:
    os.environ.setdefault("PYSPARK_SUBMIT_ARGS", "--master local[2] pyspark-shell")
    lakes = {num: scratch / str(num) for num in range(len(DAYS) + 1)}
    with session("surroundings", logged=False):
        for num, root in lakes.items():
            write_landing(root)
            if num:
                ended = run_here(ingest(*DAYS[:num]), root)
                assert ended.returncode == 0, ended.stderr
        kinds = list(SURROUNDINGS)
        for seed in seeds:
            kind = kinds[seed % len(kinds)]
            yield Trial(kind, seed, partial(run_trial, lakes, kind, seed))


if __name__ == "__main__":
    sys.exit(main_of_trials("surroundings", __doc__, surroundings_trials, 24))
