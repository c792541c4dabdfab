"""A file of the feature store is damaged at random: is that named, and does a refresh mend it?

    python -m tests.faults.feature_store_trials [--first-seed 0] [--trials 40]

A trial cuts, empties, removes or overwrites Feast's registry or the online store, or flips a bit
of it, and fetches users. It ends right with the answer of before or in one line with the file's
name. Then the night's refresh runs, and must leave what readers had.
"""

import os
import random
import shutil
import sys
from collections.abc import Iterator
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from contracts.paths import Places
from tests.faults.damage_trials import DAMAGES, answer, damaged_file
from tests.faults.trials import Ending, Trial, main_of_trials

FILES = ("registry.db", "online.db")
DAYS = {26: ["u1", "u2"], 27: ["u1"], 28: ["u3"]}  # of June, with who is published
AS_OF = date(2017, 6, 28)
READ = ("features", "get", "u1", "u2", "u3")
REFRESH = ("features", "refresh", "--as-of", str(AS_OF))


def make_store(root: Path) -> None:
    """Three published days, registered and brought online."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import small_features  # type: ignore[import-not-found]

    from feature_store.store import Store

    small_features.publish(Store(Places(root)), "m1", DAYS)
    refreshed = answer(root, REFRESH)
    assert refreshed[0] == 0, refreshed


def run_trial(before: Path, expected: Any, seed: int, root: Path) -> Ending:
    draw = random.Random(seed)
    shutil.copytree(before, root)
    path = Places(root).feature_store / draw.choice(FILES)
    what, before_it = draw.choice(sorted(DAMAGES)), path.stat()
    damaged_file(path, DAMAGES[what], draw)
    if path.exists():  # a disk that flips a bit notes no time of it
        os.utime(path, ns=(before_it.st_atime_ns, before_it.st_mtime_ns))
    code, printed, complaint = answer(root, READ)
    detail = f"{what}: {path.name}: {code} {complaint[:200]}"
    is_same = (code, printed) == expected[:2]
    mended = answer(root, REFRESH)
    again = answer(root, READ)
    if again[:2] != expected[:2]:
        return Ending("wrong", detail=f"{detail}; refreshed: {mended}, then {again}"[:900])
    if is_same:
        return Ending("clean", detail=detail)
    if not code:
        return Ending("wrong", unchecked_reads=1, detail=detail)
    names_it = path.name in complaint and complaint.count("\n") == 1 and not printed
    return Ending("one line" if names_it else "wrong", detail=detail)


def feature_store_trials(seeds: range, scratch: Path) -> Iterator[Trial]:
    before = scratch / "before"
    make_store(before)
    expected = answer(before, READ)
    assert expected[0] == 0, expected
    for seed in seeds:
        yield Trial("a damaged file of the feature store", seed,
                    partial(run_trial, before, expected, seed))  # fmt: skip


if __name__ == "__main__":
    sys.exit(main_of_trials("feature store trials", __doc__, feature_store_trials, 40))
