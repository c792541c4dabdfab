"""Landing files as streams of bytes, unpacked where they are packed.

What a file is packed by is read from its first bytes, not from its name: files are renamed, and
plain text is often called .gz.
"""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import zstandard

from contracts.errors import on_one_line

_CHUNK_BYTES = 1 << 16


class DamagedFile(Exception):
    """A landing file that cannot be read: which one, and why."""

    def __init__(self, path: Path, cause: str) -> None:
        super().__init__(on_one_line(f"{path}: {cause}"))
        self.cause = cause


class _ZstandardStream(io.RawIOBase):
    """The frames of a file, one after the other; a torn one raises EOFError, as gzip does."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._packed = self._unpacked = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._unpacked and self._fill():
            pass
        size = min(len(buffer), len(self._unpacked))
        buffer[:size], self._unpacked = self._unpacked[:size], self._unpacked[size:]
        return size

    def _fill(self) -> bool:
        """Unpack the next chunk; False at the end of the file."""
        if not self._packed:
            self._packed = self._file.read(_CHUNK_BYTES)
        if not self._packed:
            if not self._frame.eof:
                raise EOFError("the last frame is torn")
            return False
        if self._frame.eof:
            self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._unpacked = self._frame.decompress(self._packed)
        self._packed = self._frame.unused_data
        return True

    def close(self) -> None:
        self._file.close()
        super().close()


def _open_zstandard(path: Path, mode: str) -> IO[bytes]:
    if mode == "wb":
        return zstandard.open(path, "wb")  # type: ignore[no-any-return]
    return io.BufferedReader(_ZstandardStream(path.open("rb")), _CHUNK_BYTES)


_Opener = Callable[..., Any]
_OPENERS: dict[bytes, _Opener] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": _open_zstandard,
}
_UNREAD = {  # by their first bytes, so that nobody reads them as text
    b"PK\x03\x04": "zip",
    b"\x04\x22\x4d\x18": "lz4",
    b"\xff\x06\x00\x00sNaPpY": "snappy",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"\x1f\x9d": "compress (.Z)",
    b"Rar!": "rar",
    b"\x5d\x00\x00": "lzma",
    b"LZIP": "lzip",
    b"\x89LZO": "lzop",
}
_NO_TEXT = {b"PAR1": "Parquet", b"Obj\x01": "Avro", b"ORC": "ORC"}
_LONGEST_MARK = 10  # bytes


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LONGEST_MARK)


def _opener(start: bytes) -> _Opener | None:
    return next((opener for mark, opener in _OPENERS.items() if start.startswith(mark)), None)


def is_packed(path: Path) -> bool:
    """Whether the file is unpacked as it is read, so that no byte of it can be sought."""
    return _opener(_first_bytes(path)) is not None


def open_unpacked(path: Path) -> IO[bytes]:
    """The bytes of a text file; `DamagedFile` where it is packed by what is not read here."""
    start = _first_bytes(path)
    for mark, packing in _UNREAD.items():
        if start.startswith(mark):
            raise DamagedFile(path, f"packed by {packing}, and not by gz, bz2, xz or zst")
    for mark, form in _NO_TEXT.items():
        if start.startswith(mark):
            raise DamagedFile(path, f"holds {form}, and no text")
    opener = _opener(start)
    return path.open("rb") if opener is None else opener(path, "rb")


def create_packed_like(path: Path, out: Path) -> IO[bytes]:
    """A stream into `out` that is packed as `path` is."""
    opener = _opener(_first_bytes(path))
    return out.open("wb") if opener is None else opener(out, "wb")


@contextmanager
def reading_file(path: Path) -> Iterator[None]:
    """Turn each error of reading `path` into `DamagedFile`."""
    try:
        yield
    except OSError as error:  # gzip.BadGzipFile and what Arrow says of a file are such errors too
        raise DamagedFile(path, _first_line(error.strerror or error)) from None
    except (EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, pa.ArrowException) as error:
        raise DamagedFile(path, _first_line(error)) from None


def _first_line(error: object) -> str:
    first = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return first.rstrip(".")
