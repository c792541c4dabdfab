"""What sequences longer than 100 cost: CPU seconds and peak memory of a step of the user encoder.

    python -m benchmarks.encoder.long_sequences [--views 16384] [--context-encoder self_attention]

Each length is measured in a process of its own: 100, 512 and 2,048 views a sequence, as many
sequences as make up `--views`, forward and backward, one thread.
"""

import json
import multiprocessing
import resource
import sys
import time
from typing import Annotated

import torch
import typer

from contracts.terminal.command_line import build_command, run_command
from model.config import ContextEncoderName, ModelConfig
from model.layers.user_model import UserModel

_LENGTHS = (100, 512, 2048)
_REPEATS = 3


def _measure(context_encoder: ContextEncoderName, length: int, views: int) -> tuple[float, float]:
    """CPU seconds of a step, the least of three, and the peak of the process's memory in GB."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = ModelConfig(context_encoder=context_encoder, max_views=length)
    model = UserModel(config, num_words=3)
    lengths = torch.full((max(1, views // length),), length)
    behaviors = torch.randn(int(lengths.sum()), config.width, requires_grad=True)
    spent = []
    for _ in range(_REPEATS):
        before = time.process_time()
        states, users = model.encode_users(behaviors, lengths)
        (states.sum() + users.sum()).backward()  # type: ignore[no-untyped-call]
        spent.append(time.process_time() - before)
    return min(spent), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main(
    views: Annotated[int, typer.Option("--views", help="Views of a step.")] = 16_384,
    context_encoder: Annotated[
        ContextEncoderName, typer.Option("--context-encoder", help="The context encoder.")
    ] = "self_attention",
) -> None:
    found: dict[str, dict[str, float]] = {}
    spawned = multiprocessing.get_context("spawn")
    for length in _LENGTHS:
        with spawned.Pool(1) as pool:
            seconds, memory = pool.apply(_measure, (context_encoder, length, views))
        found[str(length)] = {"cpu_seconds": round(seconds, 3), "peak_gb": round(memory, 3)}
        sys.stdout.write(
            f"{length:>5} views: {seconds:.2f} CPU s a step of {views // length * length:,} views, "
            f"peak {memory:.2f} GB\n"
        )
    sys.stdout.write(json.dumps({"context_encoder": context_encoder, "lengths": found}) + "\n")


if __name__ == "__main__":
    sys.exit(run_command(build_command(main, __doc__), sys.argv[1:], "long_sequences"))
