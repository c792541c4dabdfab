"""A lake on an object store, looked through as the files of a disk are: one object at a time."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from contracts.storage.object_store import arrow_folder
from erasure.scan import Finding, scan_files
from erasure.user_patterns import Users


def scan_objects(address: str, users: Users) -> tuple[list[Finding], int, int]:
    """All findings below `address`, and how many objects and bytes were looked through."""
    found: list[Finding] = []
    objects = size = 0
    for name, folder in _copied_objects(address):
        inside, number, num_bytes = scan_files([folder], users)
        objects, size = objects + number, size + num_bytes
        found += [Finding(Path(name), f"{e.where}, in {address}", e.page) for e in inside]
    return found, objects, size


def _copied_objects(address: str) -> Iterator[tuple[str, Path]]:
    """Each object's name below `address`, and a folder that holds a copy of it and nothing else."""
    import pyarrow.fs as pafs

    store = arrow_folder(address)
    listed = store.get_file_info(pafs.FileSelector("", recursive=True))
    for info in sorted(listed, key=lambda info: info.path):
        if info.type != pafs.FileType.File:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            with store.open_input_stream(info.path) as source:
                copy = Path(scratch) / Path(info.path).name
                with copy.open("wb") as target:
                    while part := source.read(16 << 20):
                        target.write(part)
            yield info.path, Path(scratch)
