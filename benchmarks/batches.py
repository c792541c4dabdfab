"""Batches of pairs: mapped arrays against a Dataset of Python lists with a collate function.

    python -m benchmarks.batches [--rounds 3]

A batch is what a step starts from: the word ids of every view of A and B of 32 pairs, in an order
that is drawn anew each epoch. The plain variant is PyTorch's usual one: a Dataset that holds lists,
a DataLoader in this process, padding in the collate function. Ours is what the objective does:
pairs out of the batch order, sequences and the words of their distinct titles out of memory-mapped
files. The words of some batches must be the same. The last line is JSON.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.harness import benchmark_parser, print_result
from benchmarks.synthetic import synthetic_corpus
from model.data.batches import BatchOrder
from model.data.corpus import Corpus
from model.data.encoder_input import corpus_input
from model.data.ragged import Ragged

BATCH_SIZE = 32
Lists = list[list[int]]


class ListDataset(Dataset[tuple[Lists, Lists]]):
    """A pair is two lists of titles, a title a list of word ids."""

    def __init__(self, data: Corpus) -> None:
        titles = _lists(data.title_words)
        self.sequences = [[titles[title] for title in row] for row in _lists(data.sequences)]
        self.pairs = data.pairs.tolist()

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, row: int) -> tuple[Lists, Lists]:
        early, late = self.pairs[row]
        return self.sequences[early], self.sequences[late]


def _lists(rows: Ragged) -> Lists:
    return [row.tolist() for row in np.split(rows.values, rows.offsets[1:-1])]


def collate_pairs(pairs: list[tuple[Lists, Lists]]) -> torch.Tensor:
    """(2 B, L, W) word ids, padded to the longest of the batch."""
    sequences = [sequence for pair in pairs for sequence in pair]
    longest = max(map(len, sequences))
    widest = max(len(title) for sequence in sequences for title in sequence)
    nothing = [0] * widest
    padded = [
        [title + [0] * (widest - len(title)) for title in sequence]
        + [nothing] * (longest - len(sequence))
        for sequence in sequences
    ]
    return torch.tensor(padded)


def mapped_batches(
    data: Corpus, order: BatchOrder, steps: range
) -> Iterator[tuple[Ragged, Ragged]]:
    """Sequences as places among the batch's distinct titles, and those titles' words."""
    for step in steps:
        rows = data.pairs[order.share(step)].ravel()
        sequences = data.sequences.take(rows)
        titles, places = np.unique(sequences.values, return_inverse=True)
        yield Ragged(places, sequences.offsets), corpus_input(data, titles, reads_words=True)


def map_corpus(data: Corpus, folder: Path) -> Corpus:
    """The same corpus out of memory-mapped files."""

    def on_disk(name: str, array: np.ndarray) -> np.ndarray:
        np.save(folder / f"{name}.npy", array)
        loaded: np.ndarray = np.load(folder / f"{name}.npy", mmap_mode="r")
        return loaded

    arrays: dict[str, Any] = {}
    for name, value in vars(data).items():
        if isinstance(value, Ragged):
            parts = (on_disk(f"{name}.{part}", array) for part, array in vars(value).items())
            arrays[name] = Ragged(*parts)
        else:
            arrays[name] = on_disk(name, value)
    return Corpus(**arrays)


def same_words(batch: torch.Tensor, sequences: Ragged, words: Ragged) -> bool:
    """Whether both forms of a batch hold the same words in the same places."""
    titles = words.take(sequences.values)
    views = batch[torch.arange(batch.shape[1]) < torch.from_numpy(sequences.lengths())[:, None]]
    return bool(np.array_equal(views[views > 0].numpy(), titles.values))


def compare_rates(rounds: int, steps: int) -> dict[str, Any]:
    data = synthetic_corpus()
    lists = ListDataset(data)
    order = BatchOrder(np.arange(len(data.pairs)), BATCH_SIZE, seed=0)
    rates: dict[str, list[float]] = {"plain": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder:
        on_disk = map_corpus(data, Path(folder))
        for nth in range(rounds):
            batches = range(nth * steps, (nth + 1) * steps)
            sampler = [order.share(step).tolist() for step in batches]
            started = time.perf_counter()
            theirs = list(DataLoader(lists, batch_sampler=sampler, collate_fn=collate_pairs))
            rates["plain"].append(steps / (time.perf_counter() - started))
            started = time.perf_counter()
            mine = list(mapped_batches(on_disk, order, batches))
            rates["ours"].append(steps / (time.perf_counter() - started))
        agree = all(same_words(a, *b) for a, b in zip(theirs, mine, strict=True))
    return {
        "name": "batches",
        "ratio": round(statistics.median(np.divide(rates["ours"], rates["plain"])), 1),
        "agree": agree,
        "figures": {
            "batches_a_second": {name: round(statistics.median(r), 2) for name, r in rates.items()},
            "pairs": len(data.pairs),
            "views_a_batch": round(len(data.sequences.values) * BATCH_SIZE / len(data.pairs)),
        },
    }


def arg_parser() -> argparse.ArgumentParser:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20, help="a round; default: %(default)s")
    return parser


def main(rounds: int, steps: int) -> None:
    print_result(compare_rates(rounds, steps))


if __name__ == "__main__":
    main(**vars(arg_parser().parse_args()))
