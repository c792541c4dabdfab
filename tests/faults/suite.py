"""At least 200 faults over all jobs, with fixed seeds: `make test-faults`.

    python -m tests.faults.suite [--minutes 40] [--part 1.0] [--only WORD]

The last lines are a table by kind and a line of JSON: how many were tried, how many ended clean or
in one readable line, rows lost and doubled, reads of damage that nobody noticed. Exit code 1 if a
trial ended otherwise. docs/results/faults.md has what came out.
"""

import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.harness import benchmark_parser
from tests.faults.backfill_trials import backfill_trials
from tests.faults.bring_back_trials import bring_back_trials
from tests.faults.damage_trials import damage_trials
from tests.faults.feature_store_trials import feature_store_trials
from tests.faults.hostile_files import HostileFile, hostile_files, is_right, look_at
from tests.faults.kill_trials import kill_trials
from tests.faults.scheduler_trials import scheduler_trials
from tests.faults.step_trials import step_trials
from tests.faults.surroundings_trials import surroundings_trials
from tests.faults.training_trials import training_trials
from tests.faults.trials import Ending, Kind, Trial, chained, run_trials


def read_hostile_file(file: HostileFile, root: Path) -> Ending:
    root.mkdir()
    ended, counted, given = look_at(file, root)
    words = f"{file.format}, {file.kind}: {ended}"
    if not is_right(ended, counted, given):
        return Ending("wrong", rows_lost=max(counted - given, 0), detail=words)
    return Ending("one line" if ended.startswith("damaged") else "clean", detail=words)


def hostile_trials(seeds: range, scratch: Path) -> Iterator[Trial]:
    """The first files, as many as there are seeds."""
    for seed, file in zip(seeds, hostile_files(), strict=False):
        yield Trial("a hostile landing file", seed, partial(read_hostile_file, file))


# A kill trial makes nine faults, a step trial six, a backfill trial two. Quick kinds come first.
NUM_TRIALS: dict[Kind, int] = {
    hostile_trials: len(hostile_files()),
    damage_trials: 200,
    feature_store_trials: 40,
    training_trials: 30,
    surroundings_trials: 24,
    bring_back_trials: 10,
    backfill_trials: 6,
    kill_trials: 1,
    step_trials: 2,
    scheduler_trials: 1,
}


def main() -> int:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--minutes", type=float, default=40, help="no trial begins later")
    parser.add_argument("--part", type=float, default=1.0, help="of each kind's trials")
    parser.add_argument("--only", default="", metavar="WORD", help="kinds whose name holds it")
    arguments = parser.parse_args()
    kinds = [
        (kind, range(max(1, round(arguments.part * number))))
        for kind, number in NUM_TRIALS.items()
        if arguments.only in getattr(kind, "__name__", "")
    ]
    with tempfile.TemporaryDirectory() as scratch:
        return run_trials("faults", chained(kinds, Path(scratch)), arguments.minutes)


if __name__ == "__main__":
    sys.exit(main())
