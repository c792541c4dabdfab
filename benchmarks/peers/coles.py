"""CoLES by pytorch-lifestream, trained on the judge's views; then every user's vector.

FOLDER/bin/python coles.py INPUT.npz NEWEST.npy ALL.npy SECONDS MAX_VIEWS SEED

NEWEST.npy gets the vectors of each user's newest MAX_VIEWS views, ALL.npy those of all views.

It runs in the environment of make_environment.sh, so it imports nothing of this project.
"""

import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytorch_lightning as lightning
import torch
from ptls.data_load.datasets import MemoryMapDataset
from ptls.data_load.iterable_processing import SeqLenFilter
from ptls.data_load.utils import collate_feature_dict
from ptls.frames.coles import ColesDataset, CoLESModule
from ptls.frames.coles.split_strategy import SampleSlices
from ptls.nn import RnnSeqEncoder, TrxEncoder
from torch.utils.data import DataLoader

_WIDTH = 256
DAY_MICROSECONDS = 86_400_000_000
_NUMBERS = ("gap", "hour_sin", "hour_cos", "weekend")


def _user_records(given: dict[str, np.ndarray]) -> list[dict[str, torch.Tensor]]:
    """One dictionary a user: titles and hosts from 1 on, the log gap in days, hour and weekend."""
    days = given["times"] / DAY_MICROSECONDS
    hours = (days % 1) * 2 * np.pi
    weekend = ((days.astype(int) + 3) % 7 >= 5).astype(np.float32)  # 1970-01-01 was a Thursday
    users = []
    for start, end in zip(given["offsets"], given["offsets"][1:], strict=False):
        part = slice(start, end)
        gaps = np.log1p(np.diff(days[part], prepend=days[start] if end > start else 0))
        numbers = gaps, np.sin(hours[part]), np.cos(hours[part]), weekend[part]
        users.append(
            {
                "event_time": torch.tensor(days[part]),
                "title": torch.tensor(given["titles"][part] + 1),
                "host": torch.tensor(given["hosts"][part] + 1),
                **{
                    name: torch.tensor(values.astype(np.float32))
                    for name, values in zip(_NUMBERS, numbers, strict=True)
                },
            }
        )
    return users


def _coles_model(num_titles: int, num_hosts: int) -> CoLESModule:
    """The library's own parts and defaults: embeddings, a GRU, the contrastive loss of CoLES."""
    views = TrxEncoder(
        embeddings={
            "title": {"in": num_titles + 1, "out": 64},
            "host": {"in": num_hosts + 1, "out": 8},
        },
        numeric_values=dict.fromkeys(_NUMBERS, "identity"),
        embeddings_noise=0.003,
    )
    return CoLESModule(
        seq_encoder=RnnSeqEncoder(trx_encoder=views, hidden_size=_WIDTH, type="gru"),
        optimizer_partial=partial(torch.optim.Adam, lr=1e-3),
        lr_scheduler_partial=partial(torch.optim.lr_scheduler.StepLR, step_size=30, gamma=0.9),
    )


def main(given: str, newest: str, every: str, seconds: str, max_views: str, seed: str) -> None:
    lightning.seed_everything(int(seed))
    arrays = dict(np.load(given))
    users = _user_records(arrays)
    coles = _coles_model(int(arrays["titles"].max()) + 1, int(arrays["hosts"].max()) + 1)
    long_enough = MemoryMapDataset(data=users, i_filters=[SeqLenFilter(min_seq_len=15)])
    slices = SampleSlices(split_count=5, cnt_min=10, cnt_max=100)
    data = ColesDataset(long_enough, splitter=slices)
    batches = DataLoader(data, 64, shuffle=True, collate_fn=data.collate_fn, drop_last=True)
    trainer = lightning.Trainer(
        max_time={"seconds": int(seconds)},
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        gradient_clip_val=0.5,
    )
    started = time.monotonic()
    trainer.fit(coles, batches)
    sys.stderr.write(f"{trainer.global_step} steps in {time.monotonic() - started:.0f} s\n")
    np.save(every, _embed_users(coles, users, max(len(user["title"]) for user in users)))
    np.save(newest, _embed_users(coles, users, int(max_views)))


def _embed_users(coles: CoLESModule, users: list[dict[str, torch.Tensor]], most: int) -> np.ndarray:
    """(N, 256); a user without views gets zeros."""
    coles.eval()
    vectors = np.zeros((len(users), _WIDTH), np.float32)
    rows = [row for row, user in enumerate(users) if len(user["title"])]
    with torch.no_grad():
        for start in range(0, len(rows), 128):
            chosen = rows[start : start + 128]
            newest = [{k: v[-most:] for k, v in users[row].items()} for row in chosen]
            vectors[chosen] = coles(collate_feature_dict(newest)).numpy()
    return vectors


if __name__ == "__main__":
    if len(sys.argv) != 7 or not Path(sys.argv[1]).exists():
        sys.exit("usage: coles.py INPUT.npz NEWEST.npy ALL.npy SECONDS MAX_VIEWS SEED")
    main(*sys.argv[1:])
