"""What every benchmark shares: its options, its clock, the cost of its processes, its last line."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from contracts.provenance import code_version

T = TypeVar("T")


def benchmark_parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the module's docstring."""
    return argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_model_options(parser: argparse.ArgumentParser, rounds: int) -> None:
    """The options of every benchmark of the model."""
    from model.config import BASE_MODELS

    parser.add_argument("--base-model", choices=BASE_MODELS, default="naml")
    parser.add_argument("--rounds", type=int, default=rounds, help="default: %(default)s")
    parser.add_argument("--device", type=device_name, default="cpu", help="or cuda")
    parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")


def device_name(name: str) -> str:
    """`cpu`, or a GPU that is there; argparse prints what is wrong and exits with 2."""
    import torch

    kind = name.partition(":")[0]
    if kind not in ("cpu", "cuda"):
        raise argparse.ArgumentTypeError(f"{name!r} is neither cpu nor cuda")
    if kind == "cuda" and not torch.cuda.is_available():
        raise argparse.ArgumentTypeError(
            "cuda needs an NVIDIA GPU, its driver, and a torch built for CUDA, and torch "
            f"{torch.__version__} finds no GPU here; --device cpu runs the same on the processor"
        )
    return name


def run_timed(
    work: Callable[[], T], clock: Callable[[], float] = time.perf_counter
) -> tuple[float, T]:
    """The seconds that `work` took, and its result."""
    started = clock()
    result = work()
    return clock() - started, result


def print_line(facts: dict[str, Any]) -> None:
    """One line of JSON, at once, so that a reader of a long run sees it."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def print_result(facts: dict[str, Any]) -> None:
    """The last line of a benchmark: its `name`, its facts, and where they were measured.

    `ratio` is the claim as one number, `agree` whether all outputs that should be equal are, and
    `figures` holds the rest.
    """
    print_line({**facts, "cores": os.cpu_count(), "commit": code_version()})
