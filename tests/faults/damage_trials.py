"""A file of the lake is damaged at random, and a command reads it: is the damage named or harmless?

    python -m tests.faults.damage_trials [--first-seed 0] [--trials 100]

The lake is a small one with the checksums that Spark and Hadoop write: in each page, and next to
each file. A trial cuts, empties, removes or overwrites a data file or a commit, or flips a bit of
it, and runs one command that reads the table. It ends right in one line with the file's name and
exit code 2, or with the answer that the undamaged lake gives.
"""

import io
import os
import random
import re
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from datetime import date
from functools import cache, partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from contracts.paths import Places
from tests.faults.trials import Ending, Trial, main_of_trials

MONDAY, TUESDAY = date(2026, 1, 5), date(2026, 1, 6)
USERS = ("ann", "bob", "cat", "dan")
CHECKSUM_BYTES = 512  # of a file that each of Hadoop's checksums is of
_TIMES = re.compile(r"\d+(\.\d+)? (ms|s|KiB|MiB)\b")

READERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "published_embeddings": (
        ("sql", "SELECT user_id, as_of, embedding FROM published_embeddings ORDER BY ALL"),
        ("sql", "SELECT user_id FROM published_embeddings WHERE num_views < 2 ORDER BY ALL"),
        ("neighbors", "ann", "-k", "2"),
        ("coverage",),
        ("audit",),
    ),
    "browsing_logs": (("sql", "SELECT * FROM browsing_logs ORDER BY ALL"), ("audit",)),
    "titles": (("sql", "SELECT * FROM titles ORDER BY ALL"),),
    "sessions": (("sql", "SELECT * FROM sessions ORDER BY ALL"),),
    "user_sequences": (("sql", "SELECT * FROM user_sequences ORDER BY ALL"),),
    "models": (("models", "list"), ("models", "show", "m1")),
}  # fmt: skip


def cut(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(1, len(content))]


def zeros(content: bytes, draw: random.Random) -> bytes:
    at, size = draw.randrange(len(content)), 64
    return content[:at] + bytes(len(content[at : at + size])) + content[at + size :]


def flipped(content: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(content))
    return content[:at] + bytes([content[at] ^ (1 << draw.randrange(8))]) + content[at + 1 :]


def noise(content: bytes, draw: random.Random) -> bytes:
    at, size = draw.randrange(len(content)), 32
    return content[:at] + draw.randbytes(len(content[at : at + size])) + content[at + size :]


Damage = Callable[[bytes, random.Random], bytes | None]
DAMAGES: dict[str, Damage] = {
    "cut off": cut,
    "a bit flipped": flipped,
    "a block of zeros": zeros,
    "a block of noise": noise,
    "0 bytes": lambda content, draw: b"",
    "gone": lambda content, draw: None,
}


def damaged_file(path: Path, damage: Damage, draw: random.Random) -> bool:
    """Damage a file; whether that changed it."""
    whole = path.read_bytes()
    content = damage(whole, draw)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    return content != whole


@cache
def builders() -> Any:
    """The tests' own makers of small lakes."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import small_lake  # type: ignore[import-not-found]

    return small_lake


def make_lake(root: Path) -> None:
    """Two days of vectors, and a few rows of the tables before them, as Spark leaves them."""
    lake, places = builders(), Places(root)
    for number, day in enumerate((MONDAY, TUESDAY)):
        rows = [
            lake.embedding(user, day, [n + 1, 2 + number, n * n], num_views=n)
            for n, user in enumerate(USERS)
        ]
        lake.publish(places, rows)
        texts = dict.fromkeys(("settings", "inputs", "measures"), "{}")
        for name in ("browsing_logs", "titles", "sessions", "user_sequences", "models"):
            ids = {"user_id": USERS[number], "title": USERS[number], "title_id": number}
            lake.write(places, name, [ids | texts | {"model_id": f"m{number + 1}"}])
    for path in Path(places.lake).rglob("*.parquet"):
        pq.write_table(pq.read_table(path, partitioning=None), path, write_page_checksum=True)
    resize_in_logs(Path(places.lake))
    for path in [*Path(places.lake).rglob("*.parquet"), *Path(places.lake).rglob("0*.json")]:
        path.with_name(f".{path.name}.crc").write_bytes(hadoops_checksums(path.read_bytes()))


def resize_in_logs(lake: Path) -> None:
    """Let the commits name the sizes of the files that were written anew."""
    import json

    for commit in lake.rglob("_delta_log/0*.json"):
        actions = [json.loads(line) for line in commit.read_text().splitlines()]
        for action in actions:
            if added := action.get("add"):
                added["size"] = (commit.parents[1] / added["path"]).stat().st_size
        commit.write_text("".join(f"{json.dumps(action)}\n" for action in actions))


def hadoops_checksums(content: bytes) -> bytes:
    starts = range(0, len(content), CHECKSUM_BYTES)
    sums = (zlib.crc32(content[at : at + CHECKSUM_BYTES]) for at in starts)
    head = b"crc\0" + CHECKSUM_BYTES.to_bytes(4, "big")
    return head + b"".join(each.to_bytes(4, "big") for each in sums)


def answer(root: Path, words: tuple[str, ...]) -> tuple[int, str, str]:
    """Exit code and both streams of a command on `root`, without what differs from run to run."""
    from userbert.cli import main as command_line

    os.environ["USERBERT_DATA"] = str(root)
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = command_line(list(words))
    texts = (text.getvalue().replace(str(root), "ROOT") for text in (out, err))
    printed, complaint = (_TIMES.sub("TIME", text) for text in texts)
    return code, printed, complaint


def run_trial(lake: Path, expected: dict[tuple[str, ...], Any], seed: int, root: Path) -> Ending:
    draw = random.Random(seed)
    shutil.copytree(lake, root)
    table = draw.choice(sorted(READERS))
    words = draw.choice(READERS[table])
    folder = Path(Places(root).lake) / table
    files = sorted(folder.rglob("*.parquet" if draw.random() < 0.6 else "_delta_log/0*.json"))
    path, what = draw.choice(files), draw.choice(sorted(DAMAGES))
    is_changed = damaged_file(path, DAMAGES[what], draw)
    code, printed, complaint = answer(root, words)
    kind = "commit" if path.suffix == ".json" else "data file"
    detail = f"{what}: {kind} of {table}, {' '.join(words)[:50]}: {code} {complaint[:160]}"
    if (code, printed) == expected[words][:2]:
        return Ending("clean", detail=detail)
    if code in (0, expected[words][0]):
        return Ending("wrong", unchecked_reads=1, detail=detail)
    names_it = path.name in complaint and complaint.count("\n") == 1 and not printed
    return Ending("one line" if names_it and is_changed else "wrong", detail=detail)


def damage_trials(seeds: range, scratch: Path) -> Iterator[Trial]:
    lake = scratch / "lake"
    make_lake(lake)
    commands = sorted({words for each in READERS.values() for words in each})
    expected = {words: answer(lake, words) for words in commands}
    shutil.rmtree(lake / "neighbours", ignore_errors=True)
    for seed in seeds:
        yield Trial("a damaged file of the lake", seed, partial(run_trial, lake, expected, seed))


if __name__ == "__main__":
    sys.exit(main_of_trials("damage trials", __doc__, damage_trials, 100))
