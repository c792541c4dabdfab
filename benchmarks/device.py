"""The flag --device of the benchmarks."""

import argparse

import torch


def device(name: str) -> str:
    """`cpu`, or a GPU that is there; argparse tells what is wrong and exits with 2."""
    kind = name.partition(":")[0]
    if kind not in ("cpu", "cuda"):
        raise argparse.ArgumentTypeError(f"{name!r} is neither cpu nor cuda")
    if kind == "cuda" and not torch.cuda.is_available():
        raise argparse.ArgumentTypeError(
            "cuda needs an NVIDIA GPU, its driver, and a torch built for CUDA, and torch "
            f"{torch.__version__} finds no GPU here; --device cpu runs the same on the processor"
        )
    return name
