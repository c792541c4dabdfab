"""One pre-training step, as a reader of the paper would write it, and as this repository does.

    python -m benchmarks.pretrain_step [--base-model nrms] [--rounds 5]
    python -m benchmarks.pretrain_step --device cuda --dtype bfloat16 --batch-size 256

Both take the same batch of 32 pairs, the same pools and the same weights; one forward and backward
pass with medium-hard negatives, dropout drawn. They take turns, each in a process of its own, so
that other work on the machine affects both alike. Before that, without dropout, their losses must
agree and they must choose the same negatives. The last line is JSON.

The plain step pads titles to 30 words and users to 100 behaviors and encodes every occurrence of a
title, though not A twice. "useful share" is the multiplications that ours cannot do without,
divided by what the same cores do of plain matrix multiplication in the same process.
"""

import argparse
import multiprocessing as mp
import resource
import statistics
import time
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.harness import add_model_options, benchmark_parser, print_result
from benchmarks.synthetic import NUM_WORDS, synthetic_corpus
from model.config import BASE_MODELS, ModelConfig, PretrainConfig
from model.data.batches import BatchOrder
from model.data.corpus import Corpus
from model.layers.encoders import reads_words
from model.layers.user_model import UserModel
from model.objective.objective import Objective
from model.objective.tasks.task import task_named
from model.training.memory import keep_freed_memory
from tests.reference_model import PlainUserModel, cross_entropies

MEASURED_STEP = 3  # of the batch; its sequence negatives were chosen at step 0
VARIANTS = ("plain", "plain, memory kept", "ours")
LOSS_TOLERANCES = {
    "float32": 1e-5,
    "bfloat16": 0.05,
}  # relative; bfloat16 may rank near ties otherwise


class PaddedStep:
    """Padded arrays of one batch and the step on them."""

    def __init__(self, objective: Objective, pairs: np.ndarray) -> None:
        config, self.corpus = objective.config, objective.corpus
        model = objective.model
        self.model = PlainUserModel(model.config, NUM_WORDS + 2, len(self.corpus.title_ids))
        self.model.copy(model).to(model.device)
        batch = objective._batch(MEASURED_STEP, pairs)
        chosen = objective.sequences.of(pairs).index
        hidden = task_named("mbp").plan(batch, config).sequences["masked"]
        width = model.config.max_views
        self.early = _pad(batch.early.values, batch.early.lengths(), width, -1)
        self.hidden = _pad(hidden.values < 0, hidden.lengths(), width, False)
        self.late = _pad(batch.late.values, batch.late.lengths(), width, -1)
        others = objective.sequences.pool.take(chosen.ravel()).titles(self.corpus)
        self.others = _pad(others.values, others.lengths(), width, -1)
        self.missing = torch.from_numpy(chosen < 0)
        self.pool = torch.from_numpy(objective.behaviors.pool(MEASURED_STEP))
        self.K = config.K
        words = self.corpus.title_words
        table = _pad(words.values, words.lengths(), model.config.max_words, 0).long()
        self.words = torch.cat([table, torch.zeros_like(table[:1])])  # -1: no title
        for name in ("early", "hidden", "late", "others", "missing", "pool", "words"):
            setattr(self, name, getattr(self, name).to(model.device))

    def titles(self, titles: Tensor) -> Tensor:
        if not reads_words(self.model.config):
            return self.model.encode_titles(titles[..., None].flatten(0, -2) + 1).view(
                *titles.shape, -1
            )
        words = self.words[titles]
        return self.model.encode_titles(words.flatten(0, -2)).view(*titles.shape, -1)

    def users(self, titles: Tensor) -> Tensor:
        return self.model.encode_users(self.titles(titles), titles >= 0)[1]

    def loss(self) -> Tensor:
        early = self.titles(self.early)
        real = self.early >= 0
        masked = torch.where(self.hidden[..., None], self.model.mask, early)
        states = self.model.encode_users(masked, real)[0][self.hidden]
        targets, pool = early[self.hidden], self.titles(self.pool)
        with torch.no_grad():
            similar = F.normalize(targets, dim=-1) @ F.normalize(pool, dim=-1).T
            same = self.early[self.hidden][:, None] == self.pool
            self.chosen = similar.masked_fill(same, -2).topk(self.K).indices
        candidates = torch.cat([targets[:, None], pool[self.chosen]], 1)
        none = torch.zeros_like(self.chosen, dtype=torch.bool)
        mbp = cross_entropies(states, candidates, none).mean()
        user = self.model.encode_users(early, real)[1]
        others = self.users(self.others).view(*self.missing.shape, -1)
        candidates = torch.cat([self.users(self.late)[:, None], others], 1)
        bsm = cross_entropies(user, candidates, self.missing).mean()
        return mbp + bsm


def _pad(values: np.ndarray, lengths: np.ndarray, width: int, fill: Any) -> Tensor:
    padded = np.full((len(lengths), width), fill, dtype=values.dtype)
    padded[np.arange(width) < lengths[:, None]] = values
    return torch.from_numpy(padded)


def paper_objective(
    model_config: ModelConfig, data: Corpus, device: str, trace: Any = None, **settings: Any
) -> Objective:
    """The paper's run on this corpus, its first refresh done."""
    config = PretrainConfig(model=model_config, **settings)
    torch.manual_seed(0)
    model = UserModel(model_config, NUM_WORDS + 2, len(data.title_ids)).to(device)
    order = BatchOrder(np.arange(len(data.pairs)), config.batch_size, seed=0)
    return Objective(model, data, config, order, trace)


def synchronize_device(device: str) -> None:
    if device != "cpu":
        torch.accelerator.synchronize()


class Contestant:
    """One variant, in a process of its own, that answers questions."""

    def __init__(
        self, way: str, base_model: str, device: str, threads: int, dtype: str, batch_size: int
    ) -> None:
        if way != "plain":
            keep_freed_memory()
        torch.set_num_threads(threads)
        self.device, self.dtype, data = device, dtype, synthetic_corpus()
        self.traced: list[dict[str, Any]] = []
        self.objective = paper_objective(
            BASE_MODELS[base_model],
            data,
            device,
            self.traced.append,
            refresh_interval=MEASURED_STEP
            + 1,  # no more targets of the sequence pool than are needed
            batch_size=batch_size,
            ranking_dtype=dtype,  # as the plain step ranks
        )
        self.objective.sequences.refresh(0)
        self.pairs = self.objective.batches.share(MEASURED_STEP)
        self.plain = PaddedStep(self.objective, self.pairs) if way != "ours" else None

    def step(self) -> Tensor:
        module = self.objective.model if self.plain is None else self.plain.model
        module.zero_grad(set_to_none=True)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.dtype == "bfloat16"):
            if self.plain is None:
                loss = self.objective.loss(MEASURED_STEP, self.pairs).loss
            else:
                loss = self.plain.loss()
        loss.backward()  # type: ignore[no-untyped-call]
        synchronize_device(self.device)
        return loss.detach()

    def check(self) -> tuple[float, list[list[int]]]:
        """The loss without dropout, and the chosen behaviors."""
        modules = [self.objective.model] + ([self.plain.model] if self.plain else [])
        for module in modules:
            module.eval()
        loss = float(self.step())
        for module in modules:
            module.train()
        if self.plain is not None:
            return loss, self.plain.chosen.tolist()
        behaviors = [event for event in self.traced if event["event"] == "behaviors"]
        return loss, behaviors[-1]["chosen"]

    def timed(self) -> tuple[float, float]:
        """Seconds of a step by the wall, and of all its threads together."""
        started, busy = time.perf_counter(), time.process_time()
        self.step()
        return time.perf_counter() - started, time.process_time() - busy

    def peak(self) -> tuple[float, float]:
        """FLOP of plain matrix multiplication a second by the wall, and a second of all threads."""
        dtype = getattr(torch, self.dtype)
        left = torch.randn(4096, 768, device=self.device, dtype=dtype)
        right = torch.randn(768, 768, device=self.device, dtype=dtype)
        left @ right
        synchronize_device(self.device)
        started, busy = time.perf_counter(), time.process_time()
        for _ in range(8):
            left @ right
        synchronize_device(self.device)
        flop = 8 * 2 * 4096 * 768 * 768
        return flop / (time.perf_counter() - started), flop / (time.process_time() - busy)

    def memory(self) -> float:
        """GiB at the highest, of the process on a CPU, of tensors on another device."""
        if self.device != "cpu":
            return torch.cuda.max_memory_allocated() / 2**30
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

    def flops(self) -> float:
        """Multiplications and additions of one forward and backward pass, by torch's own count.

        On a CPU it leaves out what is within the attention's softmax.
        """
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter:
            self.step()
        return float(counter.get_total_flops())


def answer_questions(pipe: Connection, *arguments: Any) -> None:
    contestant = Contestant(*arguments)
    for question in iter(pipe.recv, "end"):
        pipe.send(getattr(contestant, question)())


def compare_steps(base_model: str, rounds: int, *settings: Any) -> dict[str, Any]:
    """`settings` are those of a `Contestant`, after its base model."""
    context = mp.get_context("spawn")
    pipes, processes = {}, []
    for way in VARIANTS:
        pipes[way], theirs = context.Pipe()
        arguments = (theirs, way, base_model, *settings)
        processes.append(context.Process(target=answer_questions, args=arguments, daemon=True))
        processes[-1].start()

    def ask(way: str, question: str) -> Any:
        pipes[way].send(question)
        return pipes[way].recv()

    checks = {way: ask(way, "check") for way in VARIANTS}
    times: dict[str, list[Any]] = {way: [] for way in VARIANTS}  # by the wall, and of all threads
    peaks = []
    for _ in range(rounds):
        for way in VARIANTS:
            repeats = 1 if way != "ours" else 3
            asked = [ask(way, "timed") for _ in range(repeats)]
            times[way].append(np.median(asked, axis=0))
        peaks.append(ask("ours", "peak"))
    memory = {way: ask(way, "memory") for way in VARIANTS}
    flops = ask("ours", "flops")
    for way, process in zip(VARIANTS, processes, strict=True):
        pipes[way].send("end")
        process.join()
    wall = {way: [float(each[0]) for each in times[way]] for way in VARIANTS}
    busy = {way: [float(each[1]) for each in times[way]] for way in VARIANTS}
    dtype = settings[2]
    report = _report(base_model, checks, wall, memory, flops, [each[0] for each in peaks], dtype)
    names = ("device", "threads", "dtype", "batch_size")
    report["figures"] |= dict(zip(names, settings, strict=True))
    # Where others use the cores too, this says more than the wall; threads that wait count as busy.
    report["figures"]["by_cpu_seconds"] = _speeds(busy, flops, [each[1] for each in peaks])
    return report


def _speeds(times: dict[str, list[float]], flops: float, peaks: list[float]) -> dict[str, Any]:
    """Paired by round: the ratios, and ours as a share of the peak."""
    plain, kept, ours = VARIANTS
    shares = [flops / each / best for each, best in zip(times[ours], peaks, strict=True)]
    ratios = [statistics.median(np.divide(times[way], times[ours])) for way in (plain, kept)]
    return {
        "ratio": round(ratios[0], 2),
        "ratio_memory_kept": round(ratios[1], 2),
        "seconds": {way: round(statistics.median(each), 4) for way, each in times.items()},
        "peak_gflop_a_second": round(statistics.median(peaks) / 1e9, 1),
        "useful_share": round(statistics.median(shares), 3),
    }


def _report(
    base_model: str,
    checks: dict[str, Any],
    times: dict[str, list[float]],
    memory: dict[str, float],
    flops: float,
    peaks: list[float],
    dtype: str,
) -> dict[str, Any]:
    plain, _, ours = VARIANTS
    (loss, chosen), (our_loss, our_chosen) = checks[plain], checks[ours]
    speeds = _speeds(times, flops, peaks)
    difference = abs(loss - our_loss) / loss
    same = float(np.mean(np.array(chosen) == np.array(our_chosen)))
    return {
        "name": f"pretrain_step {base_model}",
        "ratio": speeds.pop("ratio"),
        "agree": bool(difference < LOSS_TOLERANCES[dtype] and (same > 0.99 or dtype == "bfloat16")),
        "figures": speeds
        | {
            "loss_relative_difference": difference,
            "same_negatives": round(same, 4),
            "gflop": round(flops / 1e9, 1),
            "memory_gib": {way: round(each, 2) for way, each in memory.items()},
            "memory_share": round(memory[ours] / memory[plain], 3),
        },
    }


def arg_parser() -> argparse.ArgumentParser:
    parser = benchmark_parser(__doc__)
    add_model_options(parser, rounds=5)
    parser.add_argument(
        "--dtype", choices=LOSS_TOLERANCES, default="float32", help="of the multiplications"
    )
    parser.add_argument("--batch-size", type=int, default=32, help="pairs (default: %(default)s)")
    return parser


def main(
    base_model: str, rounds: int, device: str, threads: int, dtype: str, batch_size: int
) -> None:
    print_result(compare_steps(base_model, rounds, device, threads, dtype, batch_size))


if __name__ == "__main__":
    main(**vars(arg_parser().parse_args()))
