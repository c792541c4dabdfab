import subprocess
import sys

import pytest

from contracts.storage.atomic_write import atomic_file, atomic_folder, write_bytes, write_text


class Stopped(Exception):
    """What ends a block half way."""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write_half(path):
    with atomic_file(path) as unfinished:
        unfinished.write_text("half")
        assert not path.exists() or path.read_text() == "old"
        raise Stopped


def fill_half(folder):
    with atomic_folder(folder) as unfinished:
        (unfinished / "weights").write_text("half")
        raise Stopped


def fill(folder):
    with atomic_folder(folder) as unfinished:
        (unfinished / "inner").mkdir()
        (unfinished / "inner" / "weights").write_text("whole")


def test_a_file_is_replaced_when_it_is_whole_and_its_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b.json"
    write_text(path, "old ü")
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["b.json"]


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "kept.txt"
    write_text(path, "old")
    with pytest.raises(Stopped):
        write_half(path)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["kept.txt"]


def test_a_folder_appears_with_all_its_files_or_not_at_all(tmp_path):
    folder = tmp_path / "models" / "m1"
    with pytest.raises(Stopped):
        fill_half(folder)
    assert names(folder.parent) == []
    fill(folder)
    assert (folder / "inner" / "weights").read_text() == "whole"
    assert folder.stat().st_mode & 0o777 == 0o755
    with pytest.raises(OSError, match="not empty"):  # another process was first
        fill(folder)
    assert names(folder.parent) == ["m1"]


def test_a_kill_in_the_middle_leaves_the_old_file(tmp_path):
    path = tmp_path / "kept.txt"
    write_text(path, "old")
    program = (
        "import os, sys; from pathlib import Path\n"
        "from contracts.storage.atomic_write import atomic_file\n"
        "with atomic_file(Path(sys.argv[1])) as unfinished:\n"
        "    unfinished.write_text('half'); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert done.returncode == -9
    assert path.read_text() == "old"
    assert [name for name in names(tmp_path) if not name.startswith(".")] == ["kept.txt"]
