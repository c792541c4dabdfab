"""Retraining again and again: what a head loses that was fitted once, under each way of going on.

python -m benchmarks.alignment.months --root data --last 2017-07-01 --every 21 --retrainings 6

Model 0 is trained before the first day and a head is fitted on its vectors and the 28 days after
it. Then the model is trained again on each later day, with another seed, and the head is asked of
the new vectors as of that day, about the 28 days after it. No model saw the days of its labels. A
tenth of a score is what another draw of the test users makes, so look at the differences in a row:

    retrained   a head that is fitted on the new model's vectors
    founder     the old head; the new model aligned with model 0
    previous    the old head; aligned with the model before, as that was with the one before it
    none        the old head; not aligned
    warm        the old head; training began from the model before, not aligned
    warm_founder   the same, and aligned with model 0
    kept        the old head on model 0's own vectors: nobody retrains anything

It runs below `--root`, whose lake is read; pairs are made where they are missing. A JSON line a
retraining and task goes to standard output.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from analyst import open_lake
from analyst.lake_access.open_lake import OpenLake
from contracts.commands import USERBERT_COMMAND
from contracts.paths import Places
from contracts.vectors import vector_blocks
from downstream.data.views import Views, read_views
from downstream.judging.cells import best_setting, task_score
from downstream.judging.heads import LINEAR_HEAD, Features
from downstream.rivals.encoders import model_vectors
from downstream.tasks.from_logs import LOG_TASKS, Periods
from downstream.tasks.task import Task
from model.config import PRESETS, PretrainConfig
from model.data.build_corpus import training_input_for
from model.data.ready_vectors import ReadyVectors
from model.inference.alignment import fit_rotation, measure_agreement, turn_vectors
from model.one_thread import one_thread
from model.storage.checkpoint import load_model
from model.training.distributed import Processes
from model.training.pretrain import pretrain_model
from model.training.warm_start import read_earlier_weights

HORIZON_DAYS = 28
TASKS = ("propensity", "churn", "activity", "return_time")
TEST_PER_CENT = 30  # of the users, by a hash of their ids
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Day:
    """The users as of one day of training, and what came after it."""

    day: date
    views: Views

    @cached_property
    def is_test(self) -> NDArray[np.bool_]:
        """(N,) the same users on every day: neither maps nor heads are fitted to them."""
        hashes = [crc32(user.encode()) % 100 for user in self.views.user_ids.tolist()]
        return np.array(hashes) < TEST_PER_CENT

    @cached_property
    def tasks(self) -> dict[str, Task]:
        periods = Periods.cut(self.views, self.day, HORIZON_DAYS)
        return {name: LOG_TASKS[name](periods) for name in TASKS}

    def vectors(self, folder: Path) -> Vectors:
        return model_vectors(load_model(folder), self.views.before(self.day), self.day)

    def rotation(
        self, new: Vectors, old: Vectors, blocks: Mapping[str, slice]
    ) -> NDArray[np.float64]:
        fit = ~self.is_test & new.any(axis=1) & old.any(axis=1)
        return fit_rotation(new[fit], old[fit], blocks)


@dataclass(frozen=True, eq=False)
class OldHead:
    """What was fitted once: training users' vectors of model 0, with their labels."""

    vectors: Vectors
    task: Task  # of the training users alone

    def score(self, asked: Vectors, task: Task, columns: tuple[str, ...]) -> float:
        """On test users: asked (m, D), and their task."""
        own = [self.task.columns.index(name) for name in columns]
        fitted = replace(self.task, labels=self.task.labels[:, own], columns=columns)
        features = Features(np.concatenate([self.vectors, asked]).astype(np.float64))
        train = np.arange(len(self.vectors))
        rows = np.arange(len(train), len(features.values))
        setting = best_setting(LINEAR_HEAD, fitted, features, train, 0)
        predicted = LINEAR_HEAD.fit(
            setting, task.is_number, features, train, fitted.labels, rows, 0
        )
        labels = task.labels[:, [task.columns.index(name) for name in columns]]
        return task_score(task, labels, predicted)


def head_of(day: Day, vectors: Vectors, task: Task) -> OldHead:
    chosen = ~day.is_test[task.users]
    users = task.users[chosen]
    kept = replace(task, users=np.arange(len(users)), labels=task.labels[chosen])
    return OldHead(vectors[users], kept)


def rows_of(
    month: int, day: Day, heads: Mapping[str, OldHead], ways: Mapping[str, Vectors], new: Vectors
) -> Iterator[dict[str, object]]:
    """A row a task: the score of each way, on the columns that both days' tasks have."""
    for name, task in day.tasks.items():
        chosen = day.is_test[task.users]
        users = task.users[chosen]
        asked = replace(task, users=users, labels=task.labels[chosen])
        columns = tuple(each for each in task.columns if each in heads[name].task.columns)
        retrained = head_of(day, new, task).score(new[users], asked, columns)
        scores = {way: heads[name].score(each[users], asked, columns) for way, each in ways.items()}
        yield {
            "retraining": month, "day": str(day.day), "task": name, "columns": len(columns),
            "retrained": round(retrained, 4), **{w: round(s, 4) for w, s in scores.items()},
        }  # fmt: skip


def make_pairs(places: Places, day: date) -> None:
    if not (Path(places.lake) / "sequence_pairs" / f"as_of={day}").exists():
        command = [sys.executable, USERBERT_COMMAND, "sequence-pairs", "--as-of", str(day)]
        subprocess.run(command, check=True, capture_output=True)


def train_model(places: Places, day: date, config: PretrainConfig, ready: ReadyVectors) -> Path:
    make_pairs(places, day)
    given = training_input_for(config, places, day)
    return pretrain_model(given, config, places.models, Processes(), threads=1, ready=ready)


def warm_settings(config: PretrainConfig, folder: Path) -> tuple[PretrainConfig, ReadyVectors]:
    earlier = read_earlier_weights(folder)
    named = replace(config, warm_start=f"{earlier.model_id} sha256:{earlier.sha256}")
    return named, ReadyVectors(weights=earlier)


def day_of(lake: OpenLake, day: date) -> Day:
    return Day(day, read_views(lake, day, HORIZON_DAYS, 20_000))


def play_months(
    places: Places, days: list[date], config: PretrainConfig
) -> Iterator[dict[str, object]]:
    founder = train_model(places, days[0], config, ReadyVectors())
    blocks = vector_blocks(config.to_json())
    first = day_of(open_lake(places), days[0])
    vectors = first.vectors(founder)
    heads = {name: head_of(first, vectors, task) for name, task in first.tasks.items()}
    yield from rows_of(0, first, heads, {"kept": vectors}, vectors)
    before, warm_before, turned_before = founder, founder, np.eye(config.model.width)
    for month, as_of in enumerate(days[1:], 1):
        seeded = replace(config, seed=month)
        new = train_model(places, as_of, seeded, ReadyVectors())
        begun = train_model(places, as_of, *warm_settings(seeded, warm_before))
        day = day_of(open_lake(places), as_of)
        own, of_warm, kept = (day.vectors(folder) for folder in (new, begun, founder))
        previous = turn_vectors(day.vectors(before), turned_before)
        to_founder = day.rotation(own, kept, blocks)
        turned_before = day.rotation(own, previous, blocks)
        warm_to_founder = day.rotation(of_warm, kept, blocks)
        ways = {
            "founder": turn_vectors(own, to_founder),
            "previous": turn_vectors(own, turned_before),
            "none": own,
            "warm": of_warm,
            "warm_founder": turn_vectors(of_warm, warm_to_founder),
            "kept": kept,
        }
        held_out = day.is_test & own.any(axis=1) & kept.any(axis=1)
        found = {
            way: measure_agreement(each[held_out], kept[held_out], np.eye(own.shape[1]), blocks)
            for way, each in ways.items()
        }
        yield {
            "retraining": month, "day": str(as_of), "task": "agreement",
            **{way: round(each.cosine, 4) for way, each in found.items()},
            "neighbors_kept": round(found["founder"].neighbors_kept, 4),
            "neighbors_kept_warm": round(found["warm"].neighbors_kept, 4),
        }  # fmt: skip
        yield from rows_of(month, day, heads, ways, own)
        before, warm_before = new, begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--last", type=date.fromisoformat, required=True)
    parser.add_argument("--every", type=int, default=28)
    parser.add_argument("--retrainings", type=int, default=6)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=128)
    chosen = parser.parse_args()
    config = replace(
        PRESETS["memory"],
        steps=chosen.steps,
        cooldown_steps=chosen.steps,
        batch_size=chosen.batch_size,
        validation_interval=0,
        checkpoint_interval=0,
    )
    days = [
        chosen.last - timedelta(days=chosen.every * back)
        for back in range(chosen.retrainings, -1, -1)
    ]
    with one_thread():
        for row in play_months(Places(chosen.root), days, config):
            sys.stdout.write(f"{json.dumps(row)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
