"""A full disk ends in one line. /dev/full is Linux's own: every write to it finds no space left."""

import io
import resource
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import save_file

from contracts.storage.mapped_arrays import new_mapped_array
from contracts.tables import TITLES
from contracts.terminal.command_line import build_command, run_command
from contracts.terminal.full_disk import DiskFull, full_disk_named, is_of_full_disk
from spark_jobs.spark.event_log import logging_settings
from spark_jobs.spark.session import _progress_settings

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
    assert line.startswith("userbert: UB-901: the disk is full: /")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_line_stands_alone_behind_a_progress_bar(monkeypatch):
    """In a file there is no bar; on a terminal the line takes its place."""
    assert _progress_settings() == {"spark.ui.showConsoleProgress": "false"}
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    assert _progress_settings() == {}
    terminal.write("[Stage 3:>            (0 + 2) / 2]")
    assert run_command(build_command(by_python, doc=None), [], "userbert") == 1
    *_, line = terminal.getvalue().removesuffix("\n").split("\r\x1b[K")
    assert line.startswith("userbert: UB-901: the disk is full: /")
    assert "\n" not in line


def test_the_line_says_how_much_room_is_enough(places, monkeypatch):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    for name, size in (("titles", 5 << 20), ("sessions", 1 << 20)):
        folder = Path(places.lake) / name / "_delta_log"
        folder.mkdir(parents=True)
        (folder.parent / "part.parquet").write_bytes(bytes(size))
    line = r"Make room there, 5\.\d MiB to write the largest table"
    with pytest.raises(DiskFull, match=line), full_disk_named():
        by_python()


def test_a_checkpoint_that_could_not_be_written_leaves_the_older_log(spark, lake):
    """Delta warns of it alone; without log and checkpoint the table would be lost."""
    lake.create(TITLES)
    lake.set_properties(TITLES, {"delta.enableChangeDataFeed": "true"})
    log = Path(lake.path(TITLES)) / "_delta_log"
    newest = lake.version(TITLES)
    in_its_way = log / f"{newest:020d}.checkpoint.parquet" / "file"
    in_its_way.parent.mkdir()
    in_its_way.write_bytes(b"x")
    with pytest.raises(Exception, match="checkpoint"):
        lake.log(TITLES).remove_history()
    assert len(list(log.glob("*.json"))) == newest + 1
    shutil.rmtree(in_its_way.parent)
    lake.log(TITLES).remove_history()
    assert [path.stem for path in log.glob("0*.json")] == [f"{newest:020d}"]
    assert lake.read(TITLES).count() == 0


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
