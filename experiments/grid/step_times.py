"""What a step of pre-training takes, and how much of it chooses negatives (Fig. 10 b)."""

import time
from dataclasses import dataclass

import numpy as np

from model.training.trainer import Training

_USUAL_STEPS = 2


@dataclass(frozen=True)
class StepTimes:
    """Seconds of a step, the mean over a refresh interval of the pool of sequences."""

    seconds: float
    sampling_seconds: float  # of them: negatives are ranked and chosen
    cpu_seconds: float  # of the process


def measure_step_times(training: Training) -> StepTimes:
    """Time a step with a refresh and some without; the first step, which warms up, is not counted.

    Gradients are made, and weights are not changed. With an interval of 1 each step refreshes.
    """
    interval = training.config.refresh_interval
    _timed_step(training, 0)
    refresh = np.array(_timed_step(training, interval))  # (3,) seconds, of sampling, of the CPU
    usual = np.mean(
        [_timed_step(training, interval + nth) for nth in range(1, 1 + _USUAL_STEPS)], axis=0
    )
    seconds, sampling, cpu = usual + np.maximum(0, refresh - usual) / interval
    return StepTimes(float(seconds), float(sampling), float(cpu))


def _timed_step(training: Training, step: int) -> tuple[float, float, float]:
    began, cpu_began = time.perf_counter(), time.process_time()
    training.model.zero_grad(set_to_none=True)
    result = training.objective.loss(step, training.objective.batches.share(step))
    result.loss.backward()  # type: ignore[no-untyped-call]
    return (
        time.perf_counter() - began,
        result.sampling_seconds,
        time.process_time() - cpu_began,
    )
