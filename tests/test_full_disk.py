"""A full disk ends in one line. /dev/full is Linux's own: every write to it finds no space left."""

import resource
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import save_file

from contracts.storage.mapped_arrays import new_mapped_array
from contracts.terminal.command_line import build_command, run_command
from contracts.terminal.full_disk import DiskFull, full_disk_named, is_of_full_disk
from spark_jobs.spark.event_log import logging_settings

FULL = Path("/dev/full")


def by_python():
    FULL.write_text("x")


def by_arrow():
    with pa.OSFile(str(FULL), "wb") as file:
        file.write(b"x" * 100)


def by_a_cause():
    try:
        by_python()
    except OSError as error:
        raise RuntimeError("the checkpoint was not written") from error


@pytest.mark.parametrize("write", [by_python, by_arrow, by_a_cause])
def test_a_full_disk_is_named_whoever_writes(write, places, monkeypatch):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    line = r"^the disk is full: /\S+ \([\d.,]+ of [\d,]+ MiB free\)"
    with pytest.raises(DiskFull, match=line), full_disk_named():
        write()


def test_a_full_disk_under_spark_is_named(spark, places, monkeypatch):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    with pytest.raises(DiskFull, match="run the same command again"), full_disk_named():
        spark._jvm.java.io.FileOutputStream(str(FULL)).write(1)


@contextmanager
def limited_file_size(most=1000):
    """No file may grow beyond `most` bytes."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_a_limit_on_the_size_of_files_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("USERBERT_DATA", str(tmp_path))
    with limited_file_size():
        with pytest.raises(DiskFull, match=str(tmp_path)), full_disk_named():
            (tmp_path / "log.jsonl").write_bytes(b"x" * 2000)
        with pytest.raises(DiskFull), full_disk_named():
            save_file({"weights": np.zeros(1000)}, tmp_path / "weights.safetensors")
        with pytest.raises(DiskFull, match=str(tmp_path / "logs")), full_disk_named():
            logging_settings(tmp_path / "logs")  # before Spark starts
        assert list((tmp_path / "logs").iterdir()) == []


def test_other_errors_are_not_taken_for_a_full_disk():
    with pytest.raises(FileNotFoundError), full_disk_named():
        Path("/no/such/file").read_text()
    with pytest.raises(ValueError, match="full"), full_disk_named():
        raise ValueError("the day is full")


def test_a_command_that_fills_the_disk_ends_in_one_line_and_code_1(places, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    assert run_command(build_command(by_python, doc=None), [], "userbert") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("userbert: the disk is full: /")


def test_a_mapped_array_takes_its_place_before_it_is_written(tmp_path):
    array = new_mapped_array(tmp_path / "times.npy", (3, 2), np.int64)
    array[2] = 7
    array.flush()
    assert np.load(tmp_path / "times.npy").tolist() == [[0, 0], [0, 0], [7, 7]]
    # Sparse, the file would be made, and a page without room would end the process by SIGBUS.
    assert (tmp_path / "times.npy").stat().st_blocks > 0
    with limited_file_size(), pytest.raises(OSError, match=r"large\.npy") as refused:
        new_mapped_array(tmp_path / "large.npy", (100_000,), np.int64)
    assert is_of_full_disk(refused.value)
