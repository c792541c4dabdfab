"""What medium-hard sampling costs: a step's time by refresh interval, and with random negatives.

    python -m benchmarks.negatives [--base-model naml] [--rounds 3] [--device cpu]

The paper's Fig. 10b: the time of a pre-training step, and of the sampling in it, at refresh
intervals 1, 10, 20, 50, 100 and 200. A refresh ranks the targets of all steps until the next one,
so its time is measured for each interval and shared out over these steps. "sequences" is what the
interval is about: drawing, encoding and ranking the sequence pool and its targets; "sampling" is
that and the behavior pool of each step. Pools are ranked as they are by default, in bfloat16 where
the device has it and else in float32; both are measured again at 50 in the other of the two
(ranking_dtype), with the share of negatives that are chosen all the same. Steps of all intervals
and of random negatives take turns in one process. The last line is JSON.
"""

import argparse
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from benchmarks.harness import add_model_options, benchmark_parser, print_result
from benchmarks.pretrain_step import paper_objective, synchronize_device
from benchmarks.synthetic import synthetic_corpus
from model.config import BASE_MODELS
from model.objective.negatives import with_ranking_dtype
from model.objective.objective import Objective
from model.training.memory import keep_freed_memory

REFRESH_INTERVALS = (1, 10, 20, 50, 100, 200)
PAPER_INTERVAL = 50  # the paper's
CLAIM_TARGETS = {"sampling_share": (0.10, "most")}  # of a step's time, at that interval
OTHER_DTYPE = {"float32": "bfloat16", "bfloat16": "float32"}
MAX_SEQUENCES_SHARE = 0.10  # of it, at most, for the sequence pool alone
MIN_EQUAL_SHARE = 0.9  # of the negatives, at least, are chosen in both


@dataclass
class StepSeconds:
    """What was measured of one objective, a number a round."""

    refresh: list[float] = field(default_factory=list)
    behaviors: list[float] = field(default_factory=list)  # drawing and ranking the pool of a step
    step: list[float] = field(default_factory=list)  # the whole step, without a refresh


def measure_step(
    objective: Objective, seconds: StepSeconds, step: int, refresh: bool, device: str
) -> None:
    """One step, with the refresh before it timed by itself where `refresh`."""
    if refresh:
        started = time.perf_counter()
        objective.sequences.refresh(0)
        synchronize_device(device)
        seconds.refresh.append(time.perf_counter() - started)
    objective.model.zero_grad(set_to_none=True)
    started = time.perf_counter()
    result = objective.loss(step, objective.batches.share(step))
    result.loss.backward()  # type: ignore[no-untyped-call]
    synchronize_device(device)
    seconds.step.append(time.perf_counter() - started)
    seconds.behaviors.append(result.sampling_seconds)


def measure_intervals(base_model: str, rounds: int, device: str, threads: int) -> dict[str, Any]:
    torch.set_num_threads(threads)
    config, data = BASE_MODELS[base_model], synthetic_corpus()
    objectives = {
        str(interval): paper_objective(config, data, device, refresh_interval=interval)
        for interval in REFRESH_INTERVALS
    }
    usual = with_ranking_dtype(
        objectives[str(PAPER_INTERVAL)].config, torch.device(device)
    ).ranking_dtype
    other = OTHER_DTYPE[usual]
    objectives[other] = paper_objective(
        config, data, device, refresh_interval=PAPER_INTERVAL, ranking_dtype=other
    )
    objectives["random"] = paper_objective(config, data, device, negatives="random")
    for name in objectives:  # all train the same weights
        objectives[name].model = objectives["random"].model
        objectives[name].behaviors.model = objectives["random"].model
        objectives[name].sequences.model = objectives["random"].model
    seconds = {name: StepSeconds() for name in objectives}
    for round_ in range(rounds + 1):
        for name, objective in objectives.items():
            measure_step(objective, seconds[name], 0, True, device)
        if round_ == 0:  # a warm-up
            seconds = {name: StepSeconds() for name in objectives}
    same = equal_choices(objectives[str(PAPER_INTERVAL)], objectives[other])
    return _report(base_model, seconds, usual, same)


def equal_choices(one: Objective, other: Objective) -> dict[str, float]:
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
    base_model: str, seconds: dict[str, StepSeconds], usual: str, same: dict[str, float]
) -> dict[str, Any]:
    median = {
        name: {part: statistics.median(values) for part, values in vars(each).items()}
        for name, each in seconds.items()
    }
    # Without its refresh a step is the same at every interval: the median over all of them.
    step, behaviors = (
        statistics.median(median[str(interval)][part] for interval in REFRESH_INTERVALS)
        for part in ("step", "behaviors")
    )
    rows = {
        str(interval): _row(step, behaviors, median[str(interval)]["refresh"] / interval)
        for interval in REFRESH_INTERVALS
    }
    other = median[OTHER_DTYPE[usual]]
    rows[f"{PAPER_INTERVAL} {OTHER_DTYPE[usual]}"] = _row(
        other["step"], other["behaviors"], other["refresh"] / PAPER_INTERVAL
    )
    chosen = rows[str(PAPER_INTERVAL)]
    random_step = median["random"]["step"] + median["random"]["refresh"] / PAPER_INTERVAL
    return {
        "name": f"negatives {base_model}",
        "ratio": round(rows["1"]["step_ms"] / chosen["step_ms"], 2),
        "agree": chosen["sequences_share"] <= MAX_SEQUENCES_SHARE
        and min(same.values()) > MIN_EQUAL_SHARE,
        "sampling_share": chosen["sampling_share"],
        "targets": CLAIM_TARGETS,
        "figures": {
            "ranking_dtype": usual,
            "by_interval": rows,
            "same_in_float32_and_bfloat16": same,
            "random_step_ms": round(1e3 * random_step, 1),
            "medium_over_random": round(chosen["step_ms"] / (1e3 * random_step), 3),
        },
    }


def arg_parser() -> argparse.ArgumentParser:
    parser = benchmark_parser(__doc__)
    add_model_options(parser, rounds=3)
    return parser


def main(base_model: str, rounds: int, device: str, threads: int) -> None:
    keep_freed_memory()
    report = measure_intervals(base_model, rounds, device, threads)
    for interval, row in report["figures"]["by_interval"].items():
        print(f"{interval:>11}  {row}")  # noqa: T201
    print_result(report)


if __name__ == "__main__":
    main(**vars(arg_parser().parse_args()))
