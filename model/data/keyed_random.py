"""Random draws that depend on what they are for and on nothing drawn before.

Each is a function of the seed, a purpose, a step and the rows it concerns. So a resumed run, a run
of more processes and a run that draws in another order all draw the same.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from model.data.row_hashes import mix_bits


def _seed_of(seed: int, purpose: str, *counters: int) -> int:
    name = "/".join(map(str, (seed, purpose, *counters)))
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


def keyed_generator(seed: int, purpose: str, *counters: int) -> np.random.Generator:
    """A generator of its own for this purpose and these counters."""
    return np.random.Generator(np.random.Philox(key=_seed_of(seed, purpose, *counters)))


def keyed_bits(seed: int, purpose: str, step: int, *columns: ArrayLike) -> NDArray[np.uint64]:
    """A random 64-bit number for each row of `columns` (integers, broadcast)."""
    key = np.array([_seed_of(seed, purpose, step)], np.uint64)
    for column in columns:
        key = mix_bits(key ^ mix_bits(np.asarray(column).astype(np.uint64)))
    return key


@contextmanager
def torch_seeded(device: torch.device, seed: int, purpose: str, *counters: int) -> Iterator[None]:
    """Inside, torch's own generators start from this purpose; afterwards they are as before."""
    devices = [device] if device.type != "cpu" else []
    with torch.random.fork_rng(devices, device_type=device.type if devices else "cuda"):
        torch.manual_seed(_seed_of(seed, purpose, *counters))
        yield
