"""A lake on an object store, looked through as the files of a disk are: one object at a time."""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.storage.object_store import arrow_folder
from erasure.scan import Finding, scan_files
from erasure.user_patterns import Users

if TYPE_CHECKING:
    from erasure.object_versions import ObjectVersions


Scanned = tuple[list[Finding], int, int]  # findings, objects, bytes


def scan_objects(address: str, users: Users) -> Scanned:
    """All findings below `address`, and how many objects and bytes were looked through."""
    return _scan_copies(_copied_objects(address), address, users)


def scan_old_versions(versions: "ObjectVersions", users: Users) -> Scanned:
    """The same of the old versions of objects that the bucket has."""
    return _scan_copies(_copied_versions(versions), versions.address, users)


def _scan_copies(copies: Iterable[tuple[str, Path]], address: str, users: Users) -> Scanned:
    found: list[Finding] = []
    objects = size = 0
    for name, folder in copies:
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
            with store.open_input_stream(info.path, compression=None) as source:
                copy = Path(scratch) / Path(info.path).name
                with copy.open("wb") as target:
                    while part := source.read(16 << 20):
                        target.write(part)
            yield info.path, Path(scratch)


def _copied_versions(versions: "ObjectVersions") -> Iterator[tuple[str, Path]]:
    """The same of each old version that has a content."""
    for version in versions.old_versions():
        if version.has_content:
            with tempfile.TemporaryDirectory() as scratch:
                versions.copy(version, Path(scratch) / Path(version.key).name)
                yield f"{version.key} (old version {version.version_id})", Path(scratch)
