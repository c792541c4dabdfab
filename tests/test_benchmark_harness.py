import argparse

import pytest
import torch

from benchmarks.harness import device_name


def test_a_gpu_that_is_not_there_is_refused_with_what_it_needs(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_name("cpu") == "cpu"
    with pytest.raises(argparse.ArgumentTypeError, match=r"NVIDIA GPU, its driver.*--device cpu"):
        device_name("cuda")
    with pytest.raises(argparse.ArgumentTypeError, match="'tpu' is neither cpu nor cuda"):
        device_name("tpu")
