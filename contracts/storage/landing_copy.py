"""Landing files on S3 (`USERBERT_LANDING=s3a://bucket/landing`), copied to the landing folder.

Whatever reads landing files reads the copy: formats, packed files, line numbers, refused lines and
forgetting are as on a disk. The copy of a day holds the objects that the store has now: one that
was replaced is copied again, which its etag shows, and one that was removed goes.
"""

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from contracts.errors import BadInput
from contracts.instants import day_named
from contracts.paths import Places
from contracts.storage.atomic_write import atomic_file, read_json, write_json
from contracts.storage.file_checksum import file_checksum
from contracts.storage.object_store import arrow_folder, is_on_s3

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

_VARIABLE = "USERBERT_LANDING"
_COPIED_FILE = ".copied.json"  # in the landing folder
_CHUNK_BYTES = 16 << 20
_MAX_TRIES = 5  # at an object that is replaced while it is copied
# By the object's name: its etag, and the SHA-256 of the content that was copied.
_Copied = dict[str, tuple[str, str]]


@dataclass(frozen=True)
class LandingCopy:
    """The landing folder, and the address on S3 of which it is a copy."""

    folder: Path
    address: str
    _store: list["FileSystem"] = field(default_factory=list)

    @property
    def store(self) -> "FileSystem":
        if not self._store:
            self._store.append(arrow_folder(self.address))
        return self._store[0]

    def fetch(self, days: Collection[date]) -> None:
        """Bring the folders of `days`, and the settings beside them, to what the store has."""
        copied, names = self._copied(), {name for name in self._names("") if _is_settings(name)}
        for day in map(str, days):
            names.update(self._names(day))
            for name in [name for name in copied if name.startswith(f"{day}/")]:
                if name not in names:
                    (self.folder / name).unlink(missing_ok=True)
                    del copied[name]
        for name in sorted(names):
            copied[name] = self._fetch_object(name, copied.get(name, ("", "")))
        write_json(self.folder / _COPIED_FILE, copied)

    def fetch_all_days(self) -> None:
        """The same of every day that the store or the copy has."""
        import pyarrow.fs as pafs

        found = self.store.get_file_info(pafs.FileSelector("", allow_not_found=True))
        names = {PurePosixPath(name).parts[0] for name in self._copied()}
        names.update(info.base_name for info in found if info.type == pafs.FileType.Directory)
        self.fetch([day for name in sorted(names) if (day := day_named(name))])

    def changed_names(self) -> list[str]:
        """The objects whose copies were changed here, and not sent back yet."""
        copied = self._copied().items()
        return [name for name, (_, digest) in copied if file_checksum(self.folder / name) != digest]

    def send_back(self) -> int:
        """Replace the objects whose copies were changed here; how many there were."""
        copied, changed = self._copied(), self.changed_names()
        for name in changed:
            path = self.folder / name
            with (
                path.open("rb") as source,
                self.store.open_output_stream(name, compression=None) as target,
            ):
                _write_all(source, target)
            copied[name] = self._etag(name), file_checksum(path)
        write_json(self.folder / _COPIED_FILE, copied)
        return len(changed)

    def _copied(self) -> _Copied:
        """Of the copies that are there."""
        found = read_json(self.folder / _COPIED_FILE)
        return {name: tuple(of) for name, of in found.items() if (self.folder / name).exists()}

    def _names(self, day: str) -> Iterator[str]:
        """The objects of a day, or without one those beside the days. An empty object whose name
        ends with a slash is a folder: it tells of a day without views."""
        import pyarrow.fs as pafs

        wanted = pafs.FileSelector(day, allow_not_found=True, recursive=bool(day))
        for info in self.store.get_file_info(wanted):
            if info.type == pafs.FileType.File:
                yield self._checked(info.path)
            elif day:
                (self.folder / self._checked(info.path)).mkdir(parents=True, exist_ok=True)
        if day and self.store.get_file_info(day).type == pafs.FileType.Directory:
            (self.folder / day).mkdir(parents=True, exist_ok=True)

    def _checked(self, name: str) -> str:
        """The name, which a store may give any form, if it can be a file's below the folder."""
        if any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name:
            raise BadInput(f"{self.address}/{name} cannot be a file's name: give it another one")
        return name

    def _etag(self, name: str) -> str:
        with self.store.open_input_stream(name, compression=None) as stream:
            return str(stream.metadata()["ETag"].decode())

    def _fetch_object(self, name: str, copied: tuple[str, str]) -> tuple[str, str]:
        """The object's etag and content's hash; it is copied if it is another one by now."""
        path = self.folder / name
        for _ in range(_MAX_TRIES):
            etag = self._etag(name)
            if etag == copied[0]:
                return copied
            try:
                with atomic_file(path) as unfinished:
                    with (
                        self.store.open_input_stream(name, compression=None) as source,
                        unfinished.open("wb") as out,
                    ):
                        _write_all(source, out)
                    digest = file_checksum(unfinished)
            except (IsADirectoryError, NotADirectoryError, FileExistsError) as error:
                raise BadInput(
                    f"{self.address}/{name} cannot be copied to {path}: another object has a part "
                    f"of its name ({error})"
                ) from None
            copied = etag, digest  # the next look says whether it was replaced meanwhile
        raise BadInput(f"{self.address}/{name} is replaced again and again: wait until it is whole")


def landing_copy(places: Places) -> LandingCopy | None:
    """None where the landing files lie on the disk alone."""
    address = os.environ.get(_VARIABLE, "").rstrip("/")
    if not address:
        return None
    if not is_on_s3(address):
        raise BadInput(f"{_VARIABLE} is {address!r}: say s3a://bucket/folder, or leave it out")
    return LandingCopy(places.landing, address)


def fetch_landing(places: Places, days: Collection[date]) -> None:
    """Bring the landing folder to what the store has of `days`, where there is a store."""
    if copy := landing_copy(places):
        copy.fetch(days)


def store_addresses(places: Places) -> list[str]:
    """What of the lake and the landing files is on S3."""
    copy = landing_copy(places)
    lake = [places.lake] if is_on_s3(places.lake) else []
    return [*lake, *([copy.address] if copy else [])]


def _is_settings(name: str) -> bool:
    return name.endswith(".toml")


def _write_all(source: Any, target: Any) -> None:
    while part := source.read(_CHUNK_BYTES):
        target.write(part)
