"""Embedding many users: this repository's code against titles padded and encoded for each view.

    python -m benchmarks.embed_users [--base-model naml] [--users 8000] [--rounds 3] [--device cpu]

Both have the same weights and take newest sequences of the same users. The plain variant takes 32
users at a time, padded to 30 words and 100 behaviors, and is timed on as many of them as a round
allows; ours embeds all of them, its table of title vectors included. They take turns. Time on a CPU
is the process's own, over all its threads, so that other work on the machine counts little. The
vectors must agree to 1e-6. The last line is JSON.
"""

import argparse
import statistics
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import add_model_options, benchmark_parser, print_result
from benchmarks.synthetic import NUM_WORDS, synthetic_corpus
from model.config import BASE_MODELS
from model.data.encoder_input import corpus_input
from model.data.ragged import Ragged
from model.inference.embed_users import embed_sequences
from model.layers.encoders import reads_words
from model.layers.user_model import UserModel
from model.training.memory import keep_freed_memory
from tests.reference_model import PlainUserModel

PLAIN_BATCH = 32  # users
untyped_model: Any = PlainUserModel  # tests have no annotations


def pad_rows(rows: Ragged, width: int, fill: int) -> Tensor:
    """(N, width) int64."""
    table = np.full((len(rows), width), fill, np.int64)
    table[np.arange(width) < rows.lengths()[:, None]] = rows.values
    return torch.from_numpy(table)


@torch.no_grad()
def embed_padded(model: Any, words: Tensor, sequences: Tensor) -> Tensor:
    """(N, D): the words of each view, (B x 100 x 30) of them, through the title encoder."""
    vectors = []
    for batch in torch.split(sequences, PLAIN_BATCH):
        titles = words[batch]  # (B, L, W); -1 takes the last row, which has no words
        encoded = model.encode_titles(titles.flatten(0, 1)).view(*batch.shape, -1)
        vectors.append(model.encode_users(encoded, batch >= 0)[1])
    return torch.cat(vectors)


def compare_rates(base_model: str, users: int, rounds: int, device: str) -> dict[str, Any]:
    config = BASE_MODELS[base_model]
    data = synthetic_corpus()
    newest = data.sequences.take(data.pairs[:users, 1])
    used, places = np.unique(newest.values, return_inverse=True)
    titles = corpus_input(data, used, reads_words=reads_words(config))
    sequences = Ragged(places, newest.offsets)
    torch.manual_seed(0)
    model = UserModel(config, NUM_WORDS + 2, len(data.title_ids)).to(device).eval()
    reference = untyped_model(config, NUM_WORDS + 2, len(data.title_ids))
    reference.copy(model).to(device).eval()
    words = pad_rows(titles, config.max_words if reads_words(config) else 1, 0)
    words = torch.cat([words, torch.zeros_like(words[:1])]).to(device)
    few = sequences.take(np.linspace(0, len(sequences) - 1, PLAIN_BATCH * 2).astype(int))
    few_padded = pad_rows(few, config.max_views, -1).to(device)
    rates: dict[str, list[float]] = {"plain": [], "ours": []}
    clock = time.process_time if device == "cpu" else time.perf_counter
    for _ in range(rounds):
        started = clock()
        theirs = embed_padded(reference, words, few_padded).cpu().numpy()
        rates["plain"].append(len(few) / (clock() - started))
        started = clock()
        embed_sequences(model, titles, sequences)
        rates["ours"].append(len(sequences) / (clock() - started))
    difference = float(np.abs(embed_sequences(model, titles, few) - theirs).max())
    ratios = np.divide(rates["ours"], rates["plain"])
    return {
        "name": f"embed_users {base_model}",
        "ratio": round(statistics.median(ratios), 1),
        "agree": difference <= 1e-6,
        "figures": {
            "users_a_second_of_processor" if device == "cpu" else "users_a_second": {
                name: round(statistics.median(r), 1) for name, r in rates.items()
            },
            "largest_difference": difference,
            "users": len(sequences),
            "views": len(sequences.values),
            "distinct_titles": len(titles),
        },
    }


def arg_parser() -> argparse.ArgumentParser:
    parser = benchmark_parser(__doc__)
    add_model_options(parser, rounds=3)
    parser.add_argument("--users", type=int, default=8000)
    return parser


def main(base_model: str, users: int, rounds: int, device: str, threads: int) -> None:
    keep_freed_memory()
    torch.set_num_threads(threads)
    print_result(compare_rates(base_model, users, rounds, device))


if __name__ == "__main__":
    main(**vars(arg_parser().parse_args()))
