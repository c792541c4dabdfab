"""The training and the embedding on one GPU: are they right, how quick are they, do they resume?

    python -m benchmarks.gpu [--out report.json]
    python -m benchmarks.gpu --device cpu --quick

Needs torch, numpy and safetensors, and no lake: it makes its own arrays (benchmarks/synthetic.py).
It compares losses and gradients with the CPU's, times steps and embedding beside the plain, padded
way and the device's measured matrix peak, with torch.compile and without, kills a training and
goes on with it, also under torchrun (NCCL on a GPU). Under eight minutes on one card. Sections
that fail are named, and the others still run. The last line is JSON; --out keeps it, section by
section, so that a run which is cut short leaves what it found.
"""

import argparse
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.agreement import compare_all_models, same_negatives
from benchmarks.gpu.report import Report
from benchmarks.gpu.resume import train_and_kill
from benchmarks.gpu.speed import time_compiled, time_embedding, time_steps
from benchmarks.harness import benchmark_parser, device_name
from benchmarks.synthetic import synthetic_corpus
from model.config import BASE_MODELS

LIMIT_SECONDS = 420.0  # no section begins later, so that all of it ends within eight minutes
BATCH_SIZES = (32, 256, 2048)
TIMED_MODELS = ("naml", "nrms", "gru4rec")  # a CNN, a Transformer and ids


def run_sections(device: str, quick: bool, out: Path | None) -> Report:
    """Every section in an order that leaves the most where time runs out."""
    torch.backends.cuda.matmul.allow_tf32 = False  # float32 must mean float32
    report = Report(out, torch.device(device), LIMIT_SECONDS)
    models = ["naml"] if quick else list(BASE_MODELS)
    corpus = synthetic_corpus(num_users=400)
    target = torch.device(device)
    report.add_section("agreement", lambda: compare_all_models(corpus, target, models))
    report.add_section("negatives", lambda: same_negatives("naml", corpus, target))
    if not quick:
        report.add_section("resume", lambda: train_and_kill("naml", device, with_torchrun=False))
    report.add_section("torchrun", lambda: train_and_kill("naml", device, with_torchrun=True))
    users = 64 if quick else 500_000
    report.add_section("embedding naml", lambda: time_embedding("naml", device, users))
    for base_model in ("naml",) if quick else TIMED_MODELS:
        for batch_size in (8,) if quick else BATCH_SIZES:
            _add_steps(report, base_model, device, batch_size, quick)
    if not quick:
        report.add_section("compile", lambda: time_compiled("naml", device, 256, 10))
    return report


def _add_steps(report: Report, base_model: str, device: str, batch_size: int, quick: bool) -> None:
    def section() -> dict[str, Any]:
        steps = 1 if quick else 10
        found: dict[str, Any] = {
            f"ours {dtype}": time_steps(base_model, "ours", device, dtype, batch_size, steps, 2)
            for dtype in (("float32",) if quick else ("bfloat16", "float32"))
        }
        if batch_size <= 256:  # padded, 2,048 pairs ask for more memory than a card has
            found["padded float32"] = time_steps(
                base_model, "plain", device, "float32", batch_size, max(1, steps // 5), 2
            )
        return found

    report.add_section(f"steps {base_model} {batch_size}", section)


def arg_parser() -> argparse.ArgumentParser:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--device", type=device_name, default="cuda", help="cuda or cpu")
    parser.add_argument("--quick", action="store_true", help="small sizes, one model: a minute")
    parser.add_argument("--out", type=Path, help="the file of the report")
    return parser


def main(device: str, quick: bool, out: Path | None) -> None:
    run_sections(device, quick, out).print_last_line()


if __name__ == "__main__":
    main(**vars(arg_parser().parse_args()))
