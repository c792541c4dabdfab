"""What medium-hard sampling costs: a step's time by refresh interval, and beside random negatives.

    python -m benchmarks.negatives [--base-model naml] [--rounds 3] [--device cpu]

The paper's Fig. 10b: the time of a pre-training step, and of the sampling in it, at refresh
intervals 1, 10, 20, 50, 100 and 200. A refresh ranks the targets of all steps until the next one,
so its time is measured for each interval and shared out over these steps. "sequences" is what the
interval is about: drawing, encoding and ranking the sequence pool and its targets; "sampling" is
that and the behavior pool of each step. Pools are ranked as they are by default, in bfloat16 where
the device has it and else in float32; both are measured again at 50 in the other of the two
(ranking_dtype), with the share of negatives that are chosen all the same. Steps of all intervals
and of random negatives run by turns in one process. The last line is JSON.
"""

import argparse
import json
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from benchmarks.device import device
from benchmarks.pretrain_step import objective_of, synchronize
from benchmarks.synthetic import corpus
from contracts.provenance import code_version
from model.config import BASE_MODELS
from model.objective.negatives import with_ranking_dtype
from model.objective.objective import Objective
from model.training.memory import keep_freed_memory

INTERVALS = (1, 10, 20, 50, 100, 200)
INTERVAL = 50  # the paper's
TARGETS = {"sampling_share": (0.10, "most")}  # of a step's time, at that interval
OTHERWISE = {"float32": "bfloat16", "bfloat16": "float32"}
SHARE_AIM = 0.10  # of it, at most, for the sequence pool alone
SAME = 0.9  # of the negatives, at least, are chosen in both


@dataclass
class Seconds:
    """What was measured of one objective, a number a round."""

    refresh: list[float] = field(default_factory=list)
    behaviors: list[float] = field(default_factory=list)  # drawing and ranking the pool of a step
    step: list[float] = field(default_factory=list)  # the whole step, without a refresh


def measure(objective: Objective, seconds: Seconds, step: int, refresh: bool, device: str) -> None:
    """One step, with the refresh before it timed by itself where `refresh`."""
    if refresh:
        started = time.perf_counter()
        objective.sequences.refresh(0)
        synchronize(device)
        seconds.refresh.append(time.perf_counter() - started)
    objective.model.zero_grad(set_to_none=True)
    started = time.perf_counter()
    result = objective.loss(step, objective.batches.share(step))
    result.loss.backward()  # type: ignore[no-untyped-call]
    synchronize(device)
    seconds.step.append(time.perf_counter() - started)
    seconds.behaviors.append(result.sampling_seconds)


def run(base_model: str, rounds: int, device: str, threads: int) -> dict[str, Any]:
    torch.set_num_threads(threads)
    config, data = BASE_MODELS[base_model], corpus()
    objectives = {
        str(interval): objective_of(config, data, device, refresh_interval=interval)
        for interval in INTERVALS
    }
    usual = with_ranking_dtype(objectives[str(INTERVAL)].config, torch.device(device)).ranking_dtype
    other = OTHERWISE[usual]
    objectives[other] = objective_of(
        config, data, device, refresh_interval=INTERVAL, ranking_dtype=other
    )
    objectives["random"] = objective_of(config, data, device, negatives="random")
    for name in objectives:  # all train the same weights
        objectives[name].model = objectives["random"].model
        objectives[name].behaviors.model = objectives["random"].model
        objectives[name].sequences.model = objectives["random"].model
    seconds = {name: Seconds() for name in objectives}
    for round_ in range(rounds + 1):
        for name, objective in objectives.items():
            measure(objective, seconds[name], 0, True, device)
        if round_ == 0:  # a warm-up
            seconds = {name: Seconds() for name in objectives}
    same = same_choices(objectives[str(INTERVAL)], objectives[other])
    return _report(base_model, seconds, usual, same)


def same_choices(one: Objective, other: Objective) -> dict[str, float]:
    """The share of negatives of `one`, at one step, that are negatives of `other` too."""
    targets = one.corpus.sequences.take(one.corpus.pairs[one.batches.share(0), 0]).values
    order = np.zeros(len(targets), np.uint64)
    chosen = {
        "behaviors": [each.behaviors.choose(0, targets, order)[1].index for each in (one, other)],
        "sequences": [each.sequences.chosen.index for each in (one, other)],
    }
    return {
        name: round(float((a[:, :, None] == b[:, None]).any(2)[a >= 0].mean()), 4)
        for name, (a, b) in chosen.items()
    }


def _row(step: float, behaviors: float, refresh: float) -> dict[str, float]:
    """Of seconds a step; `step` is without the refresh."""
    return {
        "step_ms": round(1e3 * (step + refresh), 1),
        "sequences_ms": round(1e3 * refresh, 1),
        "sampling_ms": round(1e3 * (behaviors + refresh), 1),
        "sampling_share": round((behaviors + refresh) / (step + refresh), 3),
        "sequences_share": round(refresh / (step + refresh), 3),
    }


def _report(
    base_model: str, seconds: dict[str, Seconds], usual: str, same: dict[str, float]
) -> dict[str, Any]:
    median = {
        name: {part: statistics.median(values) for part, values in vars(each).items()}
        for name, each in seconds.items()
    }
    # Without its refresh a step is the same at every interval: the median over all of them.
    step, behaviors = (
        statistics.median(median[str(interval)][part] for interval in INTERVALS)
        for part in ("step", "behaviors")
    )
    rows = {
        str(interval): _row(step, behaviors, median[str(interval)]["refresh"] / interval)
        for interval in INTERVALS
    }
    other = median[OTHERWISE[usual]]
    rows[f"{INTERVAL} {OTHERWISE[usual]}"] = _row(
        other["step"], other["behaviors"], other["refresh"] / INTERVAL
    )
    chosen = rows[str(INTERVAL)]
    random_step = median["random"]["step"] + median["random"]["refresh"] / INTERVAL
    return {
        "name": f"negatives {base_model}",
        "ratio": round(rows["1"]["step_ms"] / chosen["step_ms"], 2),
        "agree": chosen["sequences_share"] <= SHARE_AIM and min(same.values()) > SAME,
        "sampling_share": chosen["sampling_share"],
        "targets": TARGETS,
        "figures": {
            "ranking_dtype": usual,
            "by_interval": rows,
            "same_in_float32_and_bfloat16": same,
            "random_step_ms": round(1e3 * random_step, 1),
            "medium_over_random": round(chosen["step_ms"] / (1e3 * random_step), 3),
        },
        "commit": code_version(),
    }


def arg_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base-model", choices=BASE_MODELS, default="naml")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", type=device, default="cpu", help="or cuda")
    parser.add_argument("--threads", type=int, default=2)
    return parser


def main(base_model: str, rounds: int, device: str, threads: int) -> None:
    keep_freed_memory()
    report = run(base_model, rounds, device, threads)
    for interval, row in report["figures"]["by_interval"].items():
        print(f"{interval:>11}  {row}")  # noqa: T201
    print(json.dumps(report))  # noqa: T201


if __name__ == "__main__":
    main(**vars(arg_parser().parse_args()))
