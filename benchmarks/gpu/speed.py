"""How quick a device is: pairs and users a second, beside what its products alone could do."""

import time
from typing import Any

import numpy as np
import torch

from benchmarks.pretrain_step import Contestant, synchronize_device
from benchmarks.synthetic import NUM_WORDS, synthetic_corpus
from model.config import BASE_MODELS
from model.data.encoder_input import corpus_input
from model.data.ragged import Ragged
from model.inference.vectors import title_vectors, to_numpy, user_vectors
from model.layers.encoders import reads_words
from model.layers.user_model import UserModel

WARM_UP_STEPS = 3  # in which a GPU chooses its kernels and memory is taken


def time_steps(
    base_model: str, way: str, device: str, dtype: str, batch_size: int, steps: int, threads: int
) -> dict[str, Any]:
    """Training steps of one way (`ours` or `plain`): pairs a second, share of the peak, memory."""
    contestant = Contestant(way, base_model, device, threads, dtype, batch_size)
    for _ in range(WARM_UP_STEPS):
        contestant.step()
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    for _ in range(steps):
        contestant.step()
    seconds = (time.perf_counter() - started) / steps
    peak, _ = contestant.peak()
    flops = contestant.flops()
    return {
        "pairs_a_second": round(batch_size / seconds, 1),
        "milliseconds": round(seconds * 1e3, 2),
        "share_of_peak": round(flops / seconds / peak, 4),
        "peak_tflop_a_second": round(peak / 1e12, 2),
        "memory_gib": round(contestant.memory(), 2),
    }


def time_compiled(base_model: str, device: str, batch_size: int, steps: int) -> dict[str, Any]:
    """Our step with torch.compile and without; the seconds of compiling are counted apart."""
    found: dict[str, Any] = {}
    for name in ("as_it_is", "compiled"):
        contestant = Contestant("ours", base_model, device, 2, "bfloat16", batch_size)
        if name == "compiled":
            model = contestant.objective.model
            for part in model.compiled_methods:
                setattr(model, part, torch.compile(getattr(model, part), dynamic=True))
        started = time.perf_counter()
        for _ in range(WARM_UP_STEPS):
            contestant.step()
        warm_up = time.perf_counter() - started
        started = time.perf_counter()
        for _ in range(steps):
            contestant.step()
        seconds = (time.perf_counter() - started) / steps
        found[name] = {
            "milliseconds": round(seconds * 1e3, 2),
            "warm_up_seconds": round(warm_up, 1),
        }
    return found


def time_embedding(base_model: str, device: str, users: int) -> dict[str, Any]:
    """Users embedded a second, their titles included, by the code of the nightly job."""
    config, corpus = BASE_MODELS[base_model], synthetic_corpus()
    newest = corpus.sequences.take(corpus.pairs[:, 1])
    used, places = np.unique(newest.values, return_inverse=True)
    titles = corpus_input(corpus, used, reads_words=reads_words(config))
    rows = np.arange(users) % len(newest)
    sequences = Ragged(places, newest.offsets).take(rows)
    torch.manual_seed(0)
    model = UserModel(config, NUM_WORDS + 2, len(corpus.title_ids)).to(device).eval()
    user_vectors(model, title_vectors(model, titles), sequences.take(rows[:512]))  # to warm up
    synchronize_device(device)
    started = time.perf_counter()
    vectors = to_numpy(user_vectors(model, title_vectors(model, titles), sequences))
    seconds = time.perf_counter() - started
    return {
        "users": users,
        "users_a_second": round(users / seconds, 1),
        "users_a_minute": round(60 * users / seconds),
        "agree": bool(np.isfinite(vectors).all()),
    }
